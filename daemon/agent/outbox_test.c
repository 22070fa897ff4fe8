/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test events: sent once, not remembered, and somebody waits for what comes of each. */
#include "common/clock.h"
#include "daemon/agent/outbox_internal.h"

#include <errno.h>
#include <string.h>

struct trial_sink {
	struct outbox_outcome outcome;
	char name[CONF_NAME_MAX_LEN + 1], text[128];
	bool over;
};

struct outbox_trial {
	LIST_ENTRY(outbox_trial) link;
	uint64_t seq;
	int64_t since_ms;
	struct event *deadline;
	outbox_test_done *done;
	void *arg;
	size_t n_sinks, n_over;
	struct trial_sink sinks[];
};

static void free_trial(struct outbox_trial *trial)
{
	event_free(trial->deadline);
	free(trial);
}

/* Tells whoever waits; the rest has failed for the reason given. */
static void end_trial(struct outbox_trial *trial, const char *why)
{
	struct outbox_outcome outcomes[CONF_MAX_ALERTS];

	LIST_REMOVE(trial, link);
	for (size_t i = 0; i < trial->n_sinks; i++) {
		struct trial_sink *sink = &trial->sinks[i];

		outcomes[i] = sink->outcome;
		outcomes[i].sink = sink->name;
		outcomes[i].text = sink->over ? sink->text : why;
		if (!sink->over)
			outcomes[i].took_ms = clock_monotonic_ms() - trial->since_ms;
	}
	trial->done(outcomes, trial->n_sinks, trial->arg);
	free_trial(trial);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	end_trial(arg, "no answer in time");
}

void outbox_fail_tests(struct outbox *box)
{
	struct outbox_trial *trial;

	while ((trial = LIST_FIRST(&box->trials)))
		end_trial(trial, "the sender process has ended");
}

bool outbox_take_test_result(struct outbox *box, uint64_t seq, const struct ipc_send_result *result)
{
	struct outbox_trial *trial;

	LIST_FOREACH (trial, &box->trials, link) {
		if (trial->seq == seq)
			break;
	}
	if (!trial)
		return false;
	for (size_t i = 0; i < trial->n_sinks; i++) {
		struct trial_sink *sink = &trial->sinks[i];

		if (sink->over || strcmp(sink->name, result->sink) != 0)
			continue;
		sink->over = true;
		memcpy(sink->text, result->text, sizeof(sink->text));
		sink->outcome.delivered = result->outcome == IPC_SEND_DELIVERED;
		sink->outcome.status = result->status;
		sink->outcome.took_ms = clock_monotonic_ms() - trial->since_ms;
		trial->n_over++;
	}
	if (trial->n_over == trial->n_sinks)
		end_trial(trial, "");
	return true;
}

static struct outbox_trial *new_trial(struct outbox *box, const unsigned *sinks, size_t n_sinks,
                                      int64_t within_ms)
{
	const struct timeval within = {.tv_sec = (time_t)(within_ms / 1000),
	                               .tv_usec = within_ms % 1000 * 1000};
	struct outbox_trial *trial = calloc(1, sizeof(*trial) + n_sinks * sizeof(trial->sinks[0]));

	if (!trial)
		return NULL;
	trial->deadline = evtimer_new(box->base, on_deadline, trial);
	if (!trial->deadline || event_add(trial->deadline, &within) < 0) {
		if (trial->deadline)
			event_free(trial->deadline);
		free(trial);
		return NULL;
	}
	trial->seq = box->next_seq++;
	trial->since_ms = clock_monotonic_ms();
	trial->n_sinks = n_sinks;
	for (size_t i = 0; i < n_sinks; i++)
		memcpy(trial->sinks[i].name, box->sinks[sinks[i]]->public.name,
		       sizeof(trial->sinks[i].name));
	return trial;
}

int outbox_test(struct outbox *box, json_t *event, const unsigned *sinks, size_t n_sinks,
                int64_t within_ms, outbox_test_done *done, void *arg)
{
	struct sink_queue *chosen[CONF_MAX_ALERTS] = {0};
	auto_free char *text = event ? json_dumps(event, JSON_COMPACT) : NULL;
	struct outbox_trial *trial = text ? new_trial(box, sinks, n_sinks, within_ms) : NULL;
	int err;

	json_decref(event);
	if (!trial)
		return -ENOMEM;
	trial->done = done;
	trial->arg = arg;
	for (size_t i = 0; i < n_sinks; i++)
		chosen[i] = box->sinks[sinks[i]];
	err = outbox_send_frame(box, trial->seq, chosen, n_sinks, clock_wall_ms(), "test", text);
	if (err < 0)
		free_trial(trial);
	else
		LIST_INSERT_HEAD(&box->trials, trial, link);
	return err;
}
