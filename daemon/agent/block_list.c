/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/block_list.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"
#include "common/log.h"
#include "daemon/firewall/policy.h"

#include <string.h>

enum {
	/* Asked of the helper at once. Each answer has a deadline of its own, a change of the rules
	 * waits for all processors of the kernel (50 ms under load), and breakers wait in line. */
	WINDOW = 8,
	COUNT_MS = WALL_ANSWER_MS,
	LIST_MS = 10 * 1000,
	ITEM_MS = 50,
};

enum phase { COUNTING, BLOCKING, TAKING_BACK };

struct block_item {
	struct endpoint endpoint;
	struct watch *watch;           /* from when it was asked for; has our item as in_list */
	struct state_manual *previous; /* owned: what to go back to; NULL for none */
	const char *refused;           /* static text */
	bool already;                  /* a person's block that lasts at least as long */
	bool is_new;                   /* a further element in the kernel */
	bool settled;
};

struct block_list {
	struct agent *agent;
	struct control_request *request;
	struct state_manual terms; /* but for the endpoint */
	struct event *step;
	enum phase phase;
	bool dry_run;
	int64_t since_ms, took_back_ms;
	char error[256];   /* "" while all is well */
	size_t next, open; /* items not asked for yet; asked for, without an answer */
	size_t n_items;
	struct block_item items[];
};

__attribute__((format(printf, 2, 3))) static void fail(struct block_list *list, const char *format,
                                                       ...)
{
	va_list args;

	if (list->error[0]) /* the first says why */
		return;
	va_start(args, format);
	vsnprintf(list->error, sizeof(list->error), format, args);
	va_end(args);
}

/* The answer */

static json_t *name_of(const struct block_item *item)
{
	char text[ENDPOINT_TEXT_LEN];

	return json_string(endpoint_format(&item->endpoint, text));
}

static json_t *describe(const struct block_list *list)
{
	json_t *blocked = json_array(), *already = json_array(), *refused = json_array();
	const bool whole = !list->error[0] || list->dry_run;

	for (size_t i = 0; i < list->n_items; i++) {
		const struct block_item *item = &list->items[i];

		if (item->refused)
			json_array_append_new(refused,
			                      json_pack("{s:o, s:s}", "endpoint", name_of(item),
			                                "error", item->refused));
		else if (item->already)
			json_array_append_new(already, name_of(item));
		else if (whole)
			json_array_append_new(blocked, name_of(item));
	}
	return json_pack("{s:b, s:b, s:o, s:o, s:o, s:I}", "ok", !list->error[0], "dry_run",
	                 list->dry_run, "blocked", blocked, "already", already, "refused", refused,
	                 "expires_ms", (json_int_t)(list->terms.until_ms - clock_wall_ms()));
}

static void free_list(struct block_list *list)
{
	if (list->step)
		event_free(list->step);
	for (size_t i = 0; i < list->n_items; i++)
		free(list->items[i].previous);
	free(list);
}

/* Lets go of the watches; the list ends. */
static void finish(struct block_list *list)
{
	struct agent *a = list->agent;
	json_t *answer = describe(list);

	if (list->error[0])
		json_object_set_new(answer, "error", json_string(list->error));
	a->block_list = NULL;
	for (size_t i = 0; i < list->n_items; i++) {
		struct watch *w = list->items[i].watch;

		if (!w)
			continue;
		w->in_list = NULL;
		if (!list->error[0])
			enforce_announce(a, w);
		enforce_drop_unused(a, w);
	}
	if (list->error[0] && !list->dry_run)
		log_warning("a list of %zu blocks by %s: %s", list->n_items, list->terms.who,
		            list->error);
	control_answer(list->request, answer);
	free_list(list);
}

/* Asking, in steps */

static void ask(struct block_list *list, struct block_item *item)
{
	struct agent *a = list->agent;
	struct watch *w = watch_set_get(a->watches, &item->endpoint);
	struct state_manual decision = list->terms;

	if (!w) {
		fail(list, "out of memory");
		return;
	}
	if (w->decision) {
		item->previous = malloc(sizeof(*item->previous));
		if (!item->previous) {
			fail(list, "out of memory");
			return;
		}
		*item->previous = *w->decision;
	}
	decision.endpoint = item->endpoint;
	item->watch = w;
	w->in_list = item;
	list->open++;
	enforce_decide(a, w, &decision);
}

static void take_back(struct block_list *list, struct block_item *item)
{
	if (!item->watch)
		return;
	if (item->settled) {
		item->settled = false;
		list->open++;
	}
	enforce_take_back(list->agent, item->watch, item->previous);
}

static void start_taking_back(struct block_list *list)
{
	list->phase = TAKING_BACK;
	list->took_back_ms = clock_monotonic_ms();
	list->next = 0;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct block_list *list = arg;

	(void)fd;
	(void)what;
	if (list->phase == BLOCKING && list->error[0])
		start_taking_back(list);
	while (list->next < list->n_items && list->open < WINDOW) {
		struct block_item *item = &list->items[list->next++];

		if (list->phase == TAKING_BACK)
			take_back(list, item);
		else if (!item->already)
			ask(list, item);
		if (list->phase == BLOCKING && list->error[0])
			start_taking_back(list);
	}
	if (list->next == list->n_items && list->open == 0)
		finish(list);
}

void block_list_settled(struct agent *a, struct watch *w)
{
	struct block_list *list = a->block_list;
	struct block_item *item = w->in_list;
	char text[ENDPOINT_TEXT_LEN];

	if (list->phase == BLOCKING && (!w->wall.in_kernel || w->wall.error))
		fail(list, "%s: %s; what was made of the list is taken back",
		     endpoint_format(&w->endpoint, text),
		     w->wall.error ? w->wall.error
		     : a->panic    ? "overtaken by panic"
		                   : "overtaken by another decision");
	if (!item->settled) {
		item->settled = true;
		list->open--;
	}
	/* Not from here: the caller still works on the watch. */
	event_active(list->step, EV_TIMEOUT, 0);
}

static int64_t time_for(const struct block_list *list)
{
	return list->phase == COUNTING ? COUNT_MS : LIST_MS + (int64_t)list->n_items * ITEM_MS;
}

void block_list_check_deadline(struct agent *a)
{
	struct block_list *list = a->block_list;
	int64_t now = clock_monotonic_ms();

	if (!list)
		return;
	if (list->phase == TAKING_BACK) {
		/* The wall still does what was asked of it, when it can. */
		if (now - list->took_back_ms >= time_for(list))
			finish(list);
	} else if (now - list->since_ms >= time_for(list)) {
		fail(list, "the firewall process does not answer in time");
		if (list->phase == COUNTING)
			finish(list);
		else
			event_active(list->step, EV_TIMEOUT, 0);
	}
}

void block_list_free(struct agent *a)
{
	struct block_list *list = a->block_list;

	if (!list)
		return;
	a->block_list = NULL;
	control_answer_error(list->request, "the agent ends");
	free_list(list);
}

/* What can be told beforehand */

static uint64_t room_in(uint64_t cap, uint64_t used)
{
	return used < cap ? cap - used : 0;
}

static void check_caps(struct block_list *list, const struct firewall_reply *reply)
{
	const struct conf *conf = list->agent->conf;
	uint64_t at_once = room_in(conf->firewall.max_blocks, reply->blocks);
	uint64_t a_minute = room_in(conf->firewall.max_blocks_per_minute, reply->recent);
	uint64_t wanted = 0;

	for (size_t i = 0; i < list->n_items; i++)
		wanted += list->items[i].is_new;
	if (wanted > at_once)
		fail(list,
		     "%llu new blocks, and %llu would fit: firewall.max_blocks is %u, with %u in "
		     "force",
		     (unsigned long long)wanted, (unsigned long long)at_once,
		     conf->firewall.max_blocks, reply->blocks);
	else if (wanted > a_minute)
		fail(list,
		     "%llu new blocks, and %llu would fit now: firewall.max_blocks_per_minute is "
		     "%u, with %u made in the last minute",
		     (unsigned long long)wanted, (unsigned long long)a_minute,
		     conf->firewall.max_blocks_per_minute, reply->recent);
}

void block_list_take_status(struct agent *a, const struct firewall_reply *reply)
{
	struct block_list *list = a->block_list;

	if (!list || list->phase != COUNTING)
		return;
	check_caps(list, reply);
	if (list->error[0] || list->dry_run) {
		finish(list);
		return;
	}
	log_warning("block of %zu endpoints by %s: %s", list->n_items, list->terms.who,
	            list->terms.reason);
	list->phase = BLOCKING;
	event_active(list->step, EV_TIMEOUT, 0);
}

static void judge(struct block_list *list, struct block_item *item)
{
	struct agent *a = list->agent;
	const struct watch *w = watch_set_find(a->watches, &item->endpoint);
	enum firewall_result result =
	    policy_check_endpoint(a->conf, &item->endpoint, FIREWALL_RULE_MANUAL);

	if (result != FIREWALL_OK) {
		item->refused = firewall_result_text(result);
		return;
	}
	if (logins_has(a->logins, item->endpoint.port)) {
		item->refused = logins_reason();
		return;
	}
	item->is_new = !w || !w->wall.in_kernel;
	item->already = !item->is_new && w->decision && w->decision->block &&
	                w->decision->until_ms >= list->terms.until_ms;
}

static int compare_items(const void *a, const void *b)
{
	const struct block_item *x = a, *y = b;

	return endpoint_compare(&x->endpoint, &y->endpoint);
}

/* Sorts, and drops what is named twice. */
static void simplify(struct block_list *list)
{
	size_t n = 0;

	qsort(list->items, list->n_items, sizeof(list->items[0]), compare_items);
	for (size_t i = 0; i < list->n_items; i++) {
		if (n == 0 || compare_items(&list->items[n - 1], &list->items[i]) != 0)
			list->items[n++] = list->items[i];
	}
	list->n_items = n;
}

static bool read_endpoints(struct block_list *list, const json_t *endpoints)
{
	const json_t *value;
	size_t i;

	json_array_foreach (endpoints, i, value) {
		const char *text = json_string_value(value);

		if (!text || endpoint_parse(text, &list->items[i].endpoint) < 0) {
			control_answer_error(list->request,
			                     "endpoints[%zu]: expected ADDRESS:PORT or "
			                     "[ADDRESS]:PORT",
			                     i);
			return false;
		}
		list->n_items++;
	}
	return true;
}

static struct block_list *new_list(struct agent *a, struct control_request *cr, size_t n)
{
	struct block_list *list = calloc(1, sizeof(*list) + n * sizeof(list->items[0]));

	if (!list)
		return NULL;
	list->agent = a;
	list->request = cr;
	list->since_ms = clock_monotonic_ms();
	list->step = evtimer_new(a->base, on_step, list);
	if (!list->step) {
		free_list(list);
		return NULL;
	}
	return list;
}

static void begin(struct block_list *list)
{
	struct agent *a = list->agent;
	size_t refused = 0;

	a->block_list = list;
	(void)logins_is_fresh(a->logins, clock_monotonic_ms()); /* when the first goes in it is */
	simplify(list);
	for (size_t i = 0; i < list->n_items; i++) {
		judge(list, &list->items[i]);
		refused += list->items[i].refused != NULL;
	}
	if (a->panic)
		fail(list, "panic is on: nothing is enforced until `pprofwall resume`");
	if (refused)
		fail(list, "%zu of %zu endpoints cannot be blocked; none is", refused,
		     list->n_items);
	if (!list->error[0] && wall_ask_status(a->wall) < 0)
		fail(list, "the firewall process is not there");
	if (list->error[0])
		finish(list);
}

void block_list_start(struct agent *a, struct control_request *cr, const json_t *request,
                      const struct state_manual *terms)
{
	const json_t *endpoints = json_object_get(request, "endpoints");
	const json_t *dry_run = json_object_get(request, "dry_run");
	size_t n = json_array_size(endpoints);
	struct block_list *list;

	if (n == 0 || n > CONTROL_LIST_MAX) {
		control_answer_error(cr, "endpoints: expected an array of 1 to %d",
		                     CONTROL_LIST_MAX);
		return;
	}
	if (dry_run && !json_is_boolean(dry_run)) {
		control_answer_error(cr, "dry_run: expected true or false");
		return;
	}
	if (a->block_list) {
		control_answer_error(cr, "another list is being blocked; try again");
		return;
	}
	list = new_list(a, cr, n);
	if (!list) {
		control_answer_error(cr, "out of memory");
		return;
	}
	list->terms = *terms;
	list->terms.block = true;
	list->dry_run = json_is_true(dry_run);
	if (read_endpoints(list, endpoints))
		begin(list);
	else
		free_list(list);
}
