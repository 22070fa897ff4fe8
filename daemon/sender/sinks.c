/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/sinks.h"

#include "common/clock.h"
#include "daemon/sender/sink.h"
#include "daemon/sender/sink_conf.h"

#include <errno.h>
#include <string.h>

struct sinks {
	struct drivers drivers;
	struct sinks_handlers handlers;
	struct sink_env env;
	struct sink *list[CONF_MAX_ALERTS]; /* in the configuration's order */
	size_t count;
};

static void on_settled(void *arg)
{
	struct sinks *s = arg;

	if (!s->env.flushing)
		return;
	for (size_t i = 0; i < s->count; i++)
		if (sink_is_busy(s->list[i]))
			return;
	s->handlers.idle(s->handlers.arg);
}

static void on_result(uint64_t seq, const struct ipc_send_result *result, void *arg)
{
	struct sinks *s = arg;

	s->handlers.result(seq, result, s->handlers.arg);
}

static void on_done(uint64_t seq, void *arg)
{
	struct sinks *s = arg;

	s->handlers.done(seq, s->handlers.arg);
}

/* NULL: none has this name. */
static struct sink **find(struct sinks *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i] && !strcmp(sink_name(s->list[i]), name))
			return &s->list[i];
	return NULL;
}

static void add_to_named(struct sinks *s, struct parcel *p)
{
	const json_t *name;
	size_t i;

	json_array_foreach (p->sinks, i, name) {
		const char *text = json_string_value(name);
		struct sink **sink = text ? find(s, text) : NULL;

		if (sink)
			sink_add(*sink, p);
		else
			sink_report_missing(&s->env, text ? text : "", p->seq);
	}
}

int sinks_send(struct sinks *s, uint64_t seq, const char *body, size_t length)
{
	int error;
	struct parcel *p =
	    parcel_read(seq, body, length, clock_monotonic_ms(), clock_wall_ms(), &error);

	if (!p)
		return error;
	if (p->sinks)
		add_to_named(s, p);
	for (size_t i = 0; i < s->count; i++) {
		if (!p->sinks)
			sink_add(s->list[i], p);
		sink_run(s->list[i]);
	}
	/* Our own hold, since a sink may end it at once. */
	sink_env_release(&s->env, p);
	return 0;
}

void sinks_flush(struct sinks *s)
{
	s->env.flushing = true;
	for (size_t i = 0; i < s->count; i++)
		sink_run(s->list[i]);
	on_settled(s);
}

static void free_all(struct sink **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sink_free(list[i]);
}

int sinks_configure(struct sinks *s, struct conf_alert *alerts, size_t n_alerts)
{
	struct sink *fresh[CONF_MAX_ALERTS] = {0};

	/* All memory first, so that there is nothing to undo. */
	for (size_t i = 0; i < n_alerts; i++) {
		fresh[i] = sink_new(&s->env, &alerts[i]);
		if (!fresh[i]) {
			free_all(fresh, i);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < n_alerts; i++) {
		struct sink **old = find(s, sink_name(fresh[i]));

		if (!old)
			continue;
		sink_replace_conf(*old, fresh[i]);
		fresh[i] = *old;
		*old = NULL;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (s->list[i]) {
			sink_give_up(s->list[i], "no longer configured");
			json_object_del(s->env.drivers->firing, sink_name(s->list[i]));
		}
		sink_free(s->list[i]);
	}
	memcpy(s->list, fresh, n_alerts * sizeof(*fresh));
	s->count = n_alerts;
	return 0;
}

int sinks_new(const struct drivers *drivers, const struct sinks_handlers *handlers,
              struct sinks **out)
{
	struct sinks *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->drivers = *drivers;
	s->handlers = *handlers;
	s->env = (struct sink_env){.drivers = &s->drivers,
	                           .result = on_result,
	                           .done = on_done,
	                           .settled = on_settled,
	                           .arg = s};
	*out = s;
	return 0;
}

void sinks_free(struct sinks *s)
{
	if (!s)
		return;
	free_all(s->list, s->count);
	free(s);
}
