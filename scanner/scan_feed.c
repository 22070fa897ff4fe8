/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_feed.h"

#include "common/cleanup.h"
#include "common/resolve.h"
#include "scanner/scan_batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct lookup {
	struct scan_feed *feed;
	struct target target;
	uint32_t token;
	TAILQ_ENTRY(lookup) link;
};

struct scan_feed {
	struct scan_feed_conf conf;
	struct resolver *resolver;
	struct event *on_input, *later;
	TAILQ_HEAD(, lookup) lookups; /* for the batch that is being filled */
	unsigned n_lookups;
	struct scan_draft *draft;
	uint64_t taken; /* targets, those of other shards included */
	bool ended;
};

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct scan_feed *feed = arg;

	(void)fd;
	(void)what;
	feed->conf.changed(feed->conf.arg);
}

static void on_resolved(const struct resolve_answer *answer, uint64_t token, void *arg)
{
	struct lookup *lookup = arg;
	struct scan_feed *feed = lookup->feed;
	const struct scan_options *o = feed->conf.options;
	size_t n = o->first_address && answer->count > 1 ? 1 : answer->count;
	char why[SCAN_FEED_ERROR_LEN];
	int err = 0;

	(void)token;
	TAILQ_REMOVE(&feed->lookups, lookup, link);
	feed->n_lookups--;
	if (answer->error) {
		snprintf(why, sizeof(why), "%s: %s", lookup->target.host,
		         resolve_strerror(answer->error));
		feed->conf.complain(why, true, feed->conf.arg);
		n = 0;
	}
	for (size_t i = 0; i < n && !err; i++)
		err = scan_draft_add_address(feed->draft, &answer->addresses[i],
		                             lookup->target.port, lookup->token);
	if (err)
		feed->conf.complain("out of memory", true, feed->conf.arg);
	free(lookup);
	feed->conf.changed(feed->conf.arg);
}

/* Where the user has said that it is; returns true when that answers for every port. */
static bool add_told(struct scan_feed *feed, const struct target *target, uint32_t token, int *err)
{
	const struct port_list *ports = &feed->conf.options->ports;
	size_t n = target->port ? 1 : ports->count;
	bool all = true;

	*err = 0;
	if (feed->conf.options->route.n_resolves == 0)
		return false;
	for (size_t i = 0; i < n && !*err; i++) {
		uint16_t port = target->port ? target->port : ports->ports[i];
		const struct endpoint *told =
		    scan_route_find(&feed->conf.options->route, target->host, port);

		if (told)
			*err = scan_draft_add_address(feed->draft, told, port, token);
		else
			all = false;
	}
	return all;
}

static int add_name(struct scan_feed *feed, const struct target *target, uint32_t token)
{
	auto_free struct lookup *lookup = NULL;
	struct resolve_question *unused;
	int err;

	if (add_told(feed, target, token, &err) || err)
		return err;
	lookup = calloc(1, sizeof(*lookup));
	if (!lookup)
		return -ENOMEM;
	lookup->feed = feed;
	lookup->target = *target;
	lookup->token = token;
	err = resolver_ask(feed->resolver, target->host, on_resolved, 0, lookup, &unused);
	if (err)
		return err;
	TAILQ_INSERT_TAIL(&feed->lookups, lookup, link);
	steal_ptr(&lookup);
	feed->n_lookups++;
	return 0;
}

static int add_target(struct scan_feed *feed, const struct target *target)
{
	const struct sweep_shard *shard = &feed->conf.shard;
	bool particular = target->host[0] || target->scheme != TARGET_ANY || target->path[0];
	uint64_t ordinal = feed->taken++;
	uint32_t token;
	int err;

	if (!feed->draft) {
		err = scan_draft_new(ordinal, &feed->draft);
		if (err)
			return err;
	}
	scan_draft_count(feed->draft);
	if (particular && shard->count > 1 && ordinal % shard->count != shard->index)
		return 0;
	err = scan_ledger_add_target(feed->conf.ledger, target, &feed->conf.options->ports);
	if (!err)
		err = scan_draft_add_target(feed->draft, target, &token);
	if (err)
		return err;
	if (target->host[0])
		return add_name(feed, target, token);
	return scan_draft_add_network(feed->draft, target, particular, token);
}

/* The batch that an earlier run was in is made of the same targets. */
static bool is_continued(const struct scan_feed *feed)
{
	const struct scan_mark *mark = feed->conf.mark;

	return mark && mark->n_taken > 0 && scan_draft_first(feed->draft) == mark->first_target;
}

static uint64_t batch_limit(const struct scan_feed *feed)
{
	return is_continued(feed) ? feed->conf.mark->n_taken : SCAN_BATCH_TARGETS;
}

/* A pipe's targets are not kept waiting for more; but all shards, and runs of one, cut alike. */
static bool may_cut(const struct scan_feed *feed)
{
	return feed->conf.shard.count == 1 && !is_continued(feed);
}

static bool is_full(const struct scan_feed *feed)
{
	return feed->draft && scan_draft_taken(feed->draft) >= batch_limit(feed);
}

static int wait_for_input(struct scan_feed *feed)
{
	int fd = scan_source_descriptor(feed->conf.source);

	if (feed->on_input && event_get_fd(feed->on_input) != fd) {
		event_free(feed->on_input);
		feed->on_input = NULL;
	}
	if (!feed->on_input)
		feed->on_input = event_new(feed->conf.base, fd, EV_READ, on_event, feed);
	return feed->on_input && event_add(feed->on_input, NULL) == 0 ? 0 : -ENOMEM;
}

/* Input without an end and without a target must not keep a signal waiting. */
static int go_on_later(struct scan_feed *feed)
{
	const struct timeval now = {0};

	return evtimer_add(feed->later, &now) < 0 ? -ENOMEM : 0;
}

/* An input that has become shorter is another one. */
static void end_input(struct scan_feed *feed)
{
	const struct scan_mark *mark = feed->conf.mark;
	char why[SCAN_FEED_ERROR_LEN];

	feed->ended = true;
	if (!mark || feed->taken >= mark->first_target)
		return;
	snprintf(why, sizeof(why),
	         "to go on after target %" PRIu64 " is impossible: there are %" PRIu64,
	         mark->first_target, feed->taken);
	feed->conf.complain(why, true, feed->conf.arg);
}

enum taken { TAKEN, TAKEN_LATER, TAKEN_WAIT };

/* Takes one target. Returns enum taken, or -errno. */
static int take_target(struct scan_feed *feed)
{
	char why[SCAN_SOURCE_ERROR_LEN];
	struct target target;
	int err = 0;

	switch (scan_source_next(feed->conf.source, &target, why)) {
	case SCAN_SOURCE_TARGET:
		if (feed->conf.mark && feed->taken < feed->conf.mark->first_target)
			feed->taken++;
		else
			err = add_target(feed, &target);
		return err ? err : TAKEN;
	case SCAN_SOURCE_BAD:
		feed->conf.complain(why, false, feed->conf.arg);
		err = go_on_later(feed);
		return err ? err : TAKEN_LATER;
	case SCAN_SOURCE_LATER: err = go_on_later(feed); return err ? err : TAKEN_LATER;
	case SCAN_SOURCE_UNREADABLE: feed->conf.complain(why, true, feed->conf.arg); return TAKEN;
	case SCAN_SOURCE_WAIT: err = wait_for_input(feed); return err ? err : TAKEN_WAIT;
	case SCAN_SOURCE_END: end_input(feed); return TAKEN;
	}
	return -EINVAL;
}

static int finish_draft(struct scan_feed *feed, struct scan_batch **out)
{
	int err = scan_draft_finish(&feed->draft, &feed->conf, out);

	return err ? err : SCAN_FEED_BATCH;
}

int scan_feed_next(struct scan_feed *feed, struct scan_batch **out)
{
	int taken = TAKEN;

	while (taken == TAKEN && !feed->ended && !is_full(feed) &&
	       feed->n_lookups < RESOLVE_MAX_QUESTIONS) {
		taken = take_target(feed);
		if (taken < 0)
			return taken;
	}
	if (feed->n_lookups > 0 || taken == TAKEN_LATER)
		return SCAN_FEED_WAIT;
	if (feed->draft && (feed->ended || is_full(feed) || may_cut(feed)))
		return finish_draft(feed, out);
	return feed->ended ? SCAN_FEED_END : SCAN_FEED_WAIT;
}

uint64_t scan_feed_position(const struct scan_feed *feed)
{
	return feed->draft ? scan_draft_first(feed->draft) : feed->taken;
}

int scan_feed_new(const struct scan_feed_conf *conf, struct scan_feed **out)
{
	struct scan_feed *feed = calloc(1, sizeof(*feed));
	int err = -ENOMEM;

	if (!feed)
		return -ENOMEM;
	feed->conf = *conf;
	TAILQ_INIT(&feed->lookups);
	feed->later = evtimer_new(conf->base, on_event, feed);
	if (feed->later)
		err = resolver_new(conf->base, &feed->resolver);
	if (err) {
		scan_feed_free(feed);
		return err;
	}
	*out = feed;
	return 0;
}

void scan_feed_free(struct scan_feed *feed)
{
	struct lookup *lookup;

	if (!feed)
		return;
	if (feed->on_input)
		event_free(feed->on_input);
	if (feed->later)
		event_free(feed->later);
	resolver_free(feed->resolver);
	while ((lookup = TAILQ_FIRST(&feed->lookups))) {
		TAILQ_REMOVE(&feed->lookups, lookup, link);
		free(lookup);
	}
	scan_draft_free(feed->draft);
	free(feed);
}
