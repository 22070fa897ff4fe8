/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scan's targets as batches: names are resolved, and what belongs together becomes spaces of
 * endpoints to be walked (scanner/sweep/). At most a few thousand targets are held at a time, so
 * that memory does not grow with their number. One thread, that of the loop.
 */
#pragma once

#include "scanner/scan_ledger.h"
#include "scanner/scan_options.h"
#include "scanner/scan_source.h"
#include "scanner/sweep/order.h"
#include "scanner/sweep/space.h"

#include <event2/event.h>
#include <sys/queue.h>

enum {
	SCAN_BATCH_TARGETS = SCAN_MARK_MAX_TAKEN, /* taken into one, at most */
	SCAN_FEED_ERROR_LEN = SCAN_SOURCE_ERROR_LEN,
};

/* What a target says beside where it is. */
struct scan_target {
	enum target_scheme scheme;
	const char *host;   /* "" for the address */
	const char *path;   /* "" for the default */
	const char *labels; /* "a=b c=d", or "" */
	char text[];        /* theirs */
};

/*
 * Endpoints that are walked in one order. Plain networks are dealt among shards by position, and
 * endpoints that several of them have count once. Particular targets (names, URLs) are dealt whole,
 * by their number in the input, since DNS may tell each shard something else; an endpoint is
 * probed for each of them.
 */
struct scan_part {
	struct scan_batch *batch;
	uint32_t id; /* no other part of the scan has it */
	bool particular;
	struct sweep_span *spans; /* tokens are indexes of batch->targets */
	size_t n_spans;
	bool hosts; /* no span is a network of more than one address */
	struct sweep_space *space;
	struct sweep_order order;
	struct sweep_shard shard;
	uint64_t seed;
	uint64_t digest; /* of the spans: whether a position of another run means the same */
	uint64_t size;   /* positions of our shard */
	uint64_t first;  /* those before were done by an earlier run */
	uint64_t known;  /* those before are discovered, or given to the prober */
	bool started;    /* the discoverer has it */
	bool done;       /* known == size, and there will be no more results */
};

struct scan_batch {
	uint64_t first_target; /* in the input; those of other shards count too */
	uint64_t n_taken;
	struct scan_target **targets; /* NULL: nothing to say */
	size_t n_targets;
	struct scan_part *parts;
	size_t n_parts;
	unsigned in_flight; /* the run's: endpoints that are open and not reported yet */
	TAILQ_ENTRY(scan_batch) link;
};
TAILQ_HEAD(scan_batch_list, scan_batch);

enum scan_feed_result {
	SCAN_FEED_BATCH, /* *out is the caller's */
	SCAN_FEED_WAIT,  /* `changed` will be called */
	SCAN_FEED_END,
};

struct scan_feed_conf {
	struct event_base *base;
	const struct scan_options *options;
	struct scan_source *source;
	struct scan_ledger *ledger;
	struct sweep_shard shard;
	uint64_t seed;
	const struct scan_mark *mark; /* where an earlier run of the same sweep was; or NULL */
	/* There may be something to take. */
	void (*changed)(void *arg);
	/* One line for the user; `incomplete`: targets were lost, else a line was no target. */
	void (*complain)(const char *why, bool incomplete, void *arg);
	void *arg;
};

struct scan_feed;

/* `conf` is copied; all that it points to must outlive the feed. Returns 0 or -errno. */
int scan_feed_new(const struct scan_feed_conf *conf, struct scan_feed **out);
void scan_feed_free(struct scan_feed *feed);
/* Returns enum scan_feed_result, or -errno. */
int scan_feed_next(struct scan_feed *feed, struct scan_batch **out);
/* Where an unfinished batch that the feed still fills begins; the end of the input otherwise. */
uint64_t scan_feed_position(const struct scan_feed *feed);

void scan_batch_free(struct scan_batch *batch);

/*
 * The targets that an endpoint of a part is probed for, one call each; `*at` starts at 0. Returns
 * false when there is none left. *out is NULL where the target has nothing to say.
 */
bool scan_part_match(const struct scan_part *part, const struct endpoint *e, size_t *at,
                     const struct scan_target **out);
