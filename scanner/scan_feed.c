/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_feed.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/resolve.h"
#include "scanner/scan_batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	/*
	 * Filled at once. One is done when its last name has an answer, or none in time: meanwhile
	 * the next are looked up, so that dead names hold up nobody else. They are given out in the
	 * order of the input, since a mark says that everything before it is done.
	 */
	MAX_FILLS = 5,
	/* Names that come slowly are not kept waiting until they are enough for a batch. */
	FILL_MAX_AGE_MS = 1000,
};

/* A batch that is being filled. */
struct fill {
	struct scan_draft *draft;
	unsigned n_lookups;
	int64_t since_ms;
	bool closed; /* no further targets */
	TAILQ_ENTRY(fill) link;
};

struct lookup {
	struct scan_feed *feed;
	struct fill *fill;
	struct target target;
	uint32_t token;
	TAILQ_ENTRY(lookup) link;
};

struct scan_feed {
	struct scan_feed_conf conf;
	struct resolver *resolver;
	struct event *on_input, *later;
	TAILQ_HEAD(, lookup) lookups;
	unsigned n_lookups;
	TAILQ_HEAD(fill_list, fill) fills; /* oldest first; only the last one may be open */
	unsigned n_fills;
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
	lookup->fill->n_lookups--;
	if (answer->error) {
		snprintf(why, sizeof(why), "%s: %s", lookup->target.host,
		         resolve_strerror(answer->error));
		feed->conf.complain(why, true, feed->conf.arg);
		n = 0;
	}
	for (size_t i = 0; i < n && !err; i++)
		err = scan_draft_add_address(lookup->fill->draft, &answer->addresses[i],
		                             lookup->target.port, lookup->token);
	if (err)
		feed->conf.complain("out of memory", true, feed->conf.arg);
	free(lookup);
	feed->conf.changed(feed->conf.arg);
}

/* Where the user has said that it is; returns true when that answers for every port. */
static bool add_told(struct scan_feed *feed, struct fill *fill, const struct target *target,
                     uint32_t token, int *err)
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
			*err = scan_draft_add_address(fill->draft, told, port, token);
		else
			all = false;
	}
	return all;
}

static int add_name(struct scan_feed *feed, struct fill *fill, const struct target *target,
                    uint32_t token)
{
	auto_free struct lookup *lookup = NULL;
	struct resolve_question *unused;
	int err;

	if (add_told(feed, fill, target, token, &err) || err)
		return err;
	lookup = calloc(1, sizeof(*lookup));
	if (!lookup)
		return -ENOMEM;
	lookup->feed = feed;
	lookup->fill = fill;
	lookup->target = *target;
	lookup->token = token;
	err = resolver_ask(feed->resolver, target->host, on_resolved, 0, lookup, &unused);
	if (err)
		return err;
	TAILQ_INSERT_TAIL(&feed->lookups, lookup, link);
	steal_ptr(&lookup);
	feed->n_lookups++;
	fill->n_lookups++;
	return 0;
}

static void free_fill(struct scan_feed *feed, struct fill *fill)
{
	TAILQ_REMOVE(&feed->fills, fill, link);
	feed->n_fills--;
	scan_draft_free(fill->draft);
	free(fill);
}

/* Where the next target goes. */
static int find_open(struct scan_feed *feed, struct fill **out)
{
	struct fill *fill = TAILQ_LAST(&feed->fills, fill_list);
	int err;

	if (!fill || fill->closed) {
		fill = calloc(1, sizeof(*fill));
		if (!fill)
			return -ENOMEM;
		err = scan_draft_new(feed->taken, &fill->draft);
		if (err) {
			free(fill);
			return err;
		}
		fill->since_ms = clock_monotonic_ms();
		TAILQ_INSERT_TAIL(&feed->fills, fill, link);
		feed->n_fills++;
	}
	*out = fill;
	return 0;
}

/* The batch that an earlier run was in is made of the same targets. */
static bool is_continued(const struct scan_feed *feed, const struct fill *fill)
{
	const struct scan_mark *mark = feed->conf.mark;

	return mark && mark->n_taken > 0 && scan_draft_first(fill->draft) == mark->first_target;
}

static bool is_full(const struct scan_feed *feed, const struct fill *fill)
{
	const struct scan_mark *mark = feed->conf.mark;
	uint64_t limit = SCAN_BATCH_TARGETS;

	if (mark && is_continued(feed, fill))
		limit = mark->n_taken;
	return scan_draft_taken(fill->draft) >= limit;
}

static int add_target(struct scan_feed *feed, const struct target *target)
{
	const struct sweep_shard *shard = &feed->conf.shard;
	bool particular = target->host[0] || target->scheme != TARGET_ANY || target->path[0];
	uint64_t ordinal = feed->taken;
	struct fill *fill;
	uint32_t token;
	int err = find_open(feed, &fill);

	if (err)
		return err;
	feed->taken++;
	scan_draft_count(fill->draft);
	fill->closed = is_full(feed, fill);
	if (particular && shard->count > 1 && ordinal % shard->count != shard->index)
		return 0;
	err = scan_ledger_add_target(feed->conf.ledger, target, &feed->conf.options->ports);
	if (!err)
		err = scan_draft_add_target(fill->draft, target, &token);
	if (err)
		return err;
	if (target->host[0])
		return add_name(feed, fill, target, token);
	return scan_draft_add_network(fill->draft, target, particular, token);
}

static bool has_room(const struct scan_feed *feed)
{
	const struct fill *last = TAILQ_LAST(&feed->fills, fill_list);

	return feed->n_lookups < RESOLVE_BULK_QUESTIONS &&
	       (feed->n_fills < MAX_FILLS || !last->closed);
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

/* The input has nothing more for now. Returns 0 or -ENOMEM. */
static int close_old(struct scan_feed *feed, struct fill *last)
{
	int64_t left_ms = last->since_ms + FILL_MAX_AGE_MS - clock_monotonic_ms();
	const struct timeval tv = {left_ms / 1000, left_ms % 1000 * 1000};

	/* All shards, and runs of one, cut alike. */
	if (last->closed || feed->conf.shard.count > 1 || is_continued(feed, last))
		return 0;
	last->closed = left_ms <= 0 || (last->n_lookups == 0 && feed->n_fills == 1);
	return last->closed || evtimer_add(feed->later, &tv) == 0 ? 0 : -ENOMEM;
}

/* Targets, until the input has none, or there are enough of them. Returns 0 or -errno. */
static int fill_up(struct scan_feed *feed)
{
	struct fill *last;
	int taken = TAKEN;

	while (taken == TAKEN && !feed->ended && has_room(feed)) {
		taken = take_target(feed);
		if (taken < 0)
			return taken;
	}
	last = TAILQ_LAST(&feed->fills, fill_list);
	if (last && feed->ended)
		last->closed = true;
	return last && taken == TAKEN_WAIT ? close_old(feed, last) : 0;
}

int scan_feed_next(struct scan_feed *feed, struct scan_batch **out)
{
	int err = fill_up(feed);
	struct fill *first = TAILQ_FIRST(&feed->fills);

	if (err)
		return err;
	if (!first)
		return feed->ended ? SCAN_FEED_END : SCAN_FEED_WAIT;
	if (!first->closed || first->n_lookups > 0)
		return SCAN_FEED_WAIT;
	err = scan_draft_finish(&first->draft, &feed->conf, out);
	free_fill(feed, first);
	return err ? err : SCAN_FEED_BATCH;
}

uint64_t scan_feed_position(const struct scan_feed *feed)
{
	const struct fill *first = TAILQ_FIRST(&feed->fills);

	return first ? scan_draft_first(first->draft) : feed->taken;
}

int scan_feed_new(const struct scan_feed_conf *conf, struct scan_feed **out)
{
	struct scan_feed *feed = calloc(1, sizeof(*feed));
	int err = -ENOMEM;

	if (!feed)
		return -ENOMEM;
	feed->conf = *conf;
	TAILQ_INIT(&feed->lookups);
	TAILQ_INIT(&feed->fills);
	feed->later = evtimer_new(conf->base, on_event, feed);
	if (feed->later)
		err = resolver_new(conf->base, &feed->resolver);
	if (err) {
		scan_feed_free(feed);
		return err;
	}
	resolver_set_bulk(feed->resolver);
	*out = feed;
	return 0;
}

void scan_feed_free(struct scan_feed *feed)
{
	struct lookup *lookup;
	struct fill *fill;

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
	while ((fill = TAILQ_FIRST(&feed->fills)))
		free_fill(feed, fill);
	free(feed);
}
