/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What parent and discoverer say to each other, in frames (common/frame.h). Host byte order and
 * padding: the child is a fork. Each side checks what it is told all the same, since the child
 * reads packets that anybody can send.
 */
#pragma once

#include "scanner/discover/child.h"

enum discover_message {
	/* to the child */
	DISCOVER_PORTS = 1, /* uint16_t[]: more of the next batch's list */
	DISCOVER_SPANS,     /* struct sweep_span[]: likewise */
	DISCOVER_BATCH,     /* struct discover_batch: that was all of it */
	DISCOVER_END,       /* no more batches */
	/* to the parent */
	DISCOVER_READY,    /* struct discover_ready, once, before anything else */
	DISCOVER_RESULTS,  /* struct discover_result[] */
	DISCOVER_PROGRESS, /* struct discover_progress */
	DISCOVER_REPORT,   /* struct discover_report */
	DISCOVER_NOTE,     /* text without a NUL */
};

struct discover_batch {
	uint32_t id;
	struct sweep_shard shard;
	uint64_t seed;
	uint64_t first; /* of the shard's positions; those before are known already */
};

struct discover_ready {
	int32_t error; /* 0 or -errno */
	char why[256];
};

struct discover_result {
	struct endpoint endpoint;
	uint32_t batch;
	uint32_t state; /* enum discover_state */
	int64_t rtt_us;
};

/* Every position below is known, and its results have been sent. */
struct discover_progress {
	uint32_t batch;
	uint32_t done; /* 1: all of the batch is */
	uint64_t position;
};

enum { DISCOVER_STATES = DISCOVER_UNREACHABLE + 1 };

struct discover_report {
	struct discover_stats stats;
	uint64_t results[DISCOVER_STATES]; /* endpoints by state */
};

/* The child's main function: makes its engine, drops privileges, works, and ends the process. */
struct discover_conf;
_Noreturn void discover_child_run(const struct discover_conf *conf, int sock);
