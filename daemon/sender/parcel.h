/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One event on its way to its sinks, as the agent handed it over (IPC_SEND_EVENT in daemon/ipc.h):
 * shared by the queues that hold it. Pure: the time is passed in.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct parcel {
	uint64_t seq;
	unsigned holders;
	json_t *envelope; /* owns the two below */
	json_t *event;
	json_t *sinks;     /* names; NULL: every sink */
	size_t bytes;      /* of the JSON */
	int64_t came_ms;   /* CLOCK_MONOTONIC */
	int64_t queued_ms; /* likewise; may be long before: what give_up_after counts from */
	bool best_effort;  /* out of date soon, and another one comes: tried once */
	bool test;         /* somebody waits for the answer: tried once, before all others */
	bool urgent;       /* an exposure of high severity, just seen: waits for no rate limit */
};

/* Returns a parcel with one holder; NULL with *error -EINVAL (not an event) or -ENOMEM. */
struct parcel *parcel_read(uint64_t seq, const char *body, size_t length, int64_t now_ms,
                           int64_t wall_ms, int *error);

/* One holder less. Returns true if it was the last one, and the parcel is gone. */
bool parcel_release(struct parcel *p);

/* True if both tell the same of one endpoint, so that the later one will do. */
bool parcel_replaces(const struct parcel *later, const struct parcel *earlier);
