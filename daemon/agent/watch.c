/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/watch.h"

#include "common/bisect.h"
#include "conf/conf.h"
#include "daemon/agent/listeners.h"
#include "daemon/agent/story.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <string.h>

/* Sorted by key: lookups by bisection; inserts move pointers, which 65,536 of them bear. */
struct watch_set {
	struct watch **items;
	size_t count, room;
};

struct watch_set *watch_set_new(void)
{
	return calloc(1, sizeof(struct watch_set));
}

struct watch *watch_new(const struct watch_key *key)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->endpoint = key->endpoint;
	w->netns = key->netns;
	breaker_init(&w->breaker);
	return w;
}

void watch_free(struct watch *w)
{
	if (w->verify.probe)
		watch_free(w->verify.probe);
	if (w->slot.timer)
		event_free(w->slot.timer);
	if (w->renew_timer)
		event_free(w->renew_timer);
	if (w->manual_timer)
		event_free(w->manual_timer);
	if (w->follow_timer)
		event_free(w->follow_timer);
	watch_forget_finding(w);
	free(w->record.evidence);
	story_free(w->story);
	free(w->decision);
	free(w->ack);
	free(w->host);
	free(w->prefix);
	free(w);
}

void watch_set_free(struct watch_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->count; i++)
		watch_free(set->items[i]);
	free(set->items);
	free(set);
}

int watch_compare_key(const struct watch *w, const struct watch_key *key)
{
	int order = endpoint_compare(&w->endpoint, &key->endpoint);

	if (order)
		return order;
	return (w->netns > key->netns) - (w->netns < key->netns);
}

static int compare_item(const void *items, size_t i, const void *key)
{
	return watch_compare_key(((struct watch *const *)items)[i], key);
}

/* The place of the key, or where it would go. */
static size_t place(const struct watch_set *set, const struct watch_key *key, bool *found)
{
	return bisect_find(set->items, set->count, compare_item, key, found);
}

struct watch *watch_set_find(const struct watch_set *set, const struct endpoint *e)
{
	return watch_set_find_key(set, &(struct watch_key){.endpoint = *e});
}

struct watch *watch_set_find_key(const struct watch_set *set, const struct watch_key *key)
{
	bool found;
	size_t i = place(set, key, &found);

	return found ? set->items[i] : NULL;
}

struct watch *watch_set_get(struct watch_set *set, const struct endpoint *e)
{
	return watch_set_get_key(set, &(struct watch_key){.endpoint = *e});
}

/* Those of a state come in order. */
static bool comes_last(const struct watch_set *set, const struct watch_key *key)
{
	return set->count && watch_compare_key(set->items[set->count - 1], key) < 0;
}

struct watch *watch_set_get_key(struct watch_set *set, const struct watch_key *key)
{
	bool found = false;
	size_t i = comes_last(set, key) ? set->count : place(set, key, &found);
	struct watch *w;

	if (found)
		return set->items[i];
	if (set->count == set->room) {
		size_t room = set->room ? set->room * 2 : 64;
		struct watch **items = realloc(set->items, room * sizeof(*items));

		if (!items)
			return NULL;
		set->items = items;
		set->room = room;
	}
	w = watch_new(key);
	if (!w)
		return NULL;
	memmove(set->items + i + 1, set->items + i, (set->count - i) * sizeof(*set->items));
	set->items[i] = w;
	set->count++;
	return w;
}

void watch_set_remove(struct watch_set *set, struct watch *w)
{
	const struct watch_key key = {.endpoint = w->endpoint, .netns = w->netns};
	bool found;
	size_t i = place(set, &key, &found);

	if (!found)
		return;
	set->count--;
	memmove(set->items + i, set->items + i + 1, (set->count - i) * sizeof(*set->items));
	watch_free(w);
}

size_t watch_set_count(const struct watch_set *set)
{
	return set->count;
}

struct watch *watch_set_at(const struct watch_set *set, size_t i)
{
	return set->items[i];
}

static const char netns_infix[] = "@netns:";

const char *watch_name(const struct watch *w, char text[static WATCH_NAME_LEN])
{
	size_t used = strlen(endpoint_format(&w->endpoint, text));

	if (w->netns)
		snprintf(text + used, WATCH_NAME_LEN - used, "%s%" PRIu64, netns_infix, w->netns);
	return text;
}

int watch_parse_name(const char *name, struct watch_key *out)
{
	const char *infix = strstr(name, netns_infix);
	size_t length = infix ? (size_t)(infix - name) : strlen(name);
	struct watch_key key = {0};
	char endpoint[ENDPOINT_TEXT_LEN];

	if (length >= sizeof(endpoint))
		return -EINVAL;
	memcpy(endpoint, name, length);
	endpoint[length] = '\0';
	if (infix && (conf_parse_number(infix + strlen(netns_infix), UINT64_MAX, &key.netns) != 0 ||
	              key.netns == 0))
		return -EINVAL;
	if (endpoint_parse(endpoint, &key.endpoint) < 0)
		return -EINVAL;
	*out = key;
	return 0;
}

void watch_forget_finding(struct watch *w)
{
	if (!w->last)
		return;
	finding_fini(w->last);
	free(w->last);
	w->last = NULL;
}

void watch_keep_finding(struct watch *w, struct finding *finding)
{
	struct finding *kept = w->last ? w->last : malloc(sizeof(*kept));
	struct finding before;

	if (!kept)
		return;
	if (!w->last)
		finding_init(kept);
	before = *kept;
	*kept = *finding;
	*finding = before;
	w->last = kept;
}

const char *watch_program(const struct watch *w, char text[static 128])
{
	const char *name = "", *slash;
	size_t length;

	if (w->last && w->last->command.count > 0)
		name = w->last->command.items[0];
	else if (w->last && w->last->module)
		name = w->last->module;
	else if (w->listener)
		name = w->listener->owner->command;
	slash = strrchr(name, '/');
	name = slash ? slash + 1 : name;
	length = strlen(name);
	if (length > 127)
		length = 127;
	/* A character cut in two would make the whole event no JSON: the name is the server's. */
	while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)
		length--;
	memcpy(text, name, length);
	text[length] = '\0';
	return text;
}
