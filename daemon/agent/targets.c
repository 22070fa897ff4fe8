/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/targets.h"

#include "scanner/target.h"

#include <errno.h>
#include <string.h>

struct target_entry {
	struct target target;
	/* names only */
	struct endpoint addresses[IPC_MAX_ADDRESSES];
	size_t n_addresses;
	int64_t ask_at_ms;
	char error[128];
};

struct targets {
	struct target_entry *entries;
	size_t count;
	struct port_list ports;
	uint64_t epoch;
	uint64_t
	    generation; /* upper half of the tokens: answers to an older list are passed over */
};

struct targets *targets_new(void)
{
	return calloc(1, sizeof(struct targets));
}

static void forget(struct targets *t)
{
	free(t->entries);
	port_list_free(&t->ports);
	t->entries = NULL;
	t->count = 0;
}

void targets_free(struct targets *t)
{
	if (!t)
		return;
	forget(t);
	free(t);
}

/* "6060,top10,8000-8010" from the list of the configuration. */
static int join_ports(const struct conf *conf, struct port_list *out)
{
	char why[TARGET_ERROR_LEN];
	size_t length = 1;
	char *text;
	int err;

	for (size_t i = 0; i < conf->scan.ports.count; i++)
		length += strlen(conf->scan.ports.items[i]) + 1;
	text = calloc(1, length);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < conf->scan.ports.count; i++) {
		if (i > 0)
			strcat(text, ",");
		strcat(text, conf->scan.ports.items[i]);
	}
	err = port_list_parse(text, out, why);
	free(text);
	return err;
}

/* What a name resolved to under the configuration before is good until it is asked for again. */
static void inherit(struct target_entry *e, const struct targets *old)
{
	for (size_t i = 0; i < old->count; i++) {
		const struct target_entry *o = &old->entries[i];

		if (strcmp(o->target.host, e->target.host) == 0) {
			memcpy(e->addresses, o->addresses, sizeof(e->addresses));
			e->n_addresses = o->n_addresses;
		}
	}
}

int targets_configure(struct targets *t, const struct conf *conf)
{
	struct targets next = {.epoch = t->epoch, .generation = t->generation + 1};
	char why[TARGET_ERROR_LEN];
	int err = join_ports(conf, &next.ports);

	if (err < 0)
		return err;
	next.entries = calloc(conf->scan.targets.count + 1, sizeof(*next.entries));
	if (!next.entries) {
		port_list_free(&next.ports);
		return -ENOMEM;
	}
	for (size_t i = 0; i < conf->scan.targets.count; i++) {
		struct target_entry *e = &next.entries[next.count];

		if (target_parse(conf->scan.targets.items[i], &e->target, why) < 0)
			continue; /* not reached: the loader has parsed it */
		if (e->target.host[0])
			inherit(e, t);
		next.count++;
	}
	forget(t);
	*t = next;
	return 0;
}

struct applying {
	struct targets *t;
	struct watch_set *set;
	void (*added)(struct watch *w, void *arg);
	void *arg;
};

/* Out of memory, the default is asked for: less is seen, nothing wrong. */
static void replace_text(char **slot, const char *text)
{
	free(*slot);
	*slot = text[0] ? strdup(text) : NULL;
}

void targets_forget_manner(struct watch *w)
{
	replace_text(&w->host, "");
	replace_text(&w->prefix, "");
	w->tls_only = w->plain_only = false;
}

static void apply_endpoint(const struct applying *a, const struct target *target,
                           const struct endpoint *e)
{
	struct watch *w = watch_set_find(a->set, e);
	bool fresh;

	/* The loader has counted addresses and prefixes; what names resolve to, others decide. */
	if (!w && watch_set_count(a->set) < CONF_MAX_TARGETS)
		w = watch_set_get(a->set, e);
	if (!w || w->epoch == a->t->epoch)
		return; /* the first target that names an endpoint says how it is asked */
	fresh = !w->targeted;
	w->epoch = a->t->epoch;
	w->configured = w->targeted = true;
	replace_text(&w->host, target->host);
	replace_text(&w->prefix, target->path);
	w->tls_only = target->scheme == TARGET_HTTPS;
	w->plain_only = target->scheme == TARGET_HTTP;
	if (fresh)
		a->added(w, a->arg);
}

static void apply_name(const struct applying *a, const struct target_entry *entry)
{
	for (size_t i = 0; i < entry->n_addresses; i++) {
		struct endpoint e = entry->addresses[i];

		for (size_t p = 0; p < (entry->target.port ? 1 : a->t->ports.count); p++) {
			e.port = entry->target.port ? entry->target.port : a->t->ports.ports[p];
			apply_endpoint(a, &entry->target, &e);
		}
	}
}

uint64_t targets_apply(struct targets *t, struct watch_set *set,
                       void (*added)(struct watch *w, void *arg), void *arg)
{
	const struct applying a = {.t = t, .set = set, .added = added, .arg = arg};

	t->epoch++;
	for (size_t i = 0; i < t->count; i++) {
		const struct target_entry *entry = &t->entries[i];
		uint64_t n;

		if (entry->target.host[0]) {
			apply_name(&a, entry);
			continue;
		}
		n = target_count(&entry->target, &t->ports);
		for (uint64_t at = 0; at < n && at < CONF_MAX_TARGETS; at++) {
			struct endpoint e;

			target_at(&entry->target, &t->ports, at, &e);
			apply_endpoint(&a, &entry->target, &e);
		}
	}
	return t->epoch;
}

void targets_ask_due(struct targets *t, int64_t now_ms,
                     int (*ask)(const char *name, uint64_t token, void *arg), void *arg)
{
	for (size_t i = 0; i < t->count; i++) {
		struct target_entry *e = &t->entries[i];

		if (!e->target.host[0] || e->ask_at_ms > now_ms)
			continue;
		/* A sender that dies with the question is asked again by this date. */
		e->ask_at_ms = now_ms + TARGETS_RESOLVE_EVERY_MS;
		if (ask(e->target.host, t->generation << 32 | i, arg) < 0)
			e->ask_at_ms = now_ms + TARGETS_RESOLVE_RETRY_MS;
	}
}

bool targets_take_answer(struct targets *t, uint64_t token, const struct ipc_addresses *answer,
                         int64_t now_ms)
{
	size_t i = (size_t)(token & UINT32_MAX);
	struct target_entry *e;
	bool changed;

	if (token >> 32 != t->generation || i >= t->count)
		return false;
	e = &t->entries[i];
	if (answer->error || answer->count == 0) {
		snprintf(e->error, sizeof(e->error), "%s",
		         answer->text[0] ? answer->text : "no address");
		e->ask_at_ms = now_ms + TARGETS_RESOLVE_RETRY_MS;
		return false;
	}
	e->error[0] = '\0';
	changed = e->n_addresses != answer->count;
	for (size_t n = 0; n < answer->count && !changed; n++)
		changed = endpoint_compare(&e->addresses[n], &answer->addresses[n]) != 0;
	memcpy(e->addresses, answer->addresses, answer->count * sizeof(e->addresses[0]));
	e->n_addresses = answer->count;
	return changed;
}

const char *targets_unresolved(const struct targets *t, size_t i, const char **why)
{
	for (size_t at = 0; at < t->count; at++) {
		const struct target_entry *e = &t->entries[at];

		if (!e->target.host[0] || e->n_addresses > 0 || i-- > 0)
			continue;
		*why = e->error;
		return e->target.host;
	}
	return NULL;
}
