/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When each endpoint is probed, and the talk with the prober. What waits is served in this order:
 * endpoints under quarantine (alone, with nothing else in flight), those whose breaker is busy,
 * those that answered in time before, and last those that ran into their deadline, which never
 * hold more than half of the places: a thousand dead addresses must not keep a live one waiting.
 *
 * When a prober dies, everything it had in flight is put under quarantine. One of them did it, but
 * quarantining the innocent for long would let a hostile server switch off the watch on others;
 * so each is probed alone, at once: who survives is free, who kills again waits ever longer.
 * Loop's thread.
 */
#pragma once

#include "daemon/agent/watch.h"

/* Of another namespace, for one probe: each request needs one, some need two. */
enum { SCHEDULE_MAX_SOCKETS = 2 * FINGERPRINT_MAX_REQUESTS };

struct schedule;

struct schedule_handlers {
	/* A probe is about to be sent. */
	void (*begin)(struct watch *w, void *arg);
	/*
	 * It is over; `finding` is NULL when there was no answer that makes sense, and may be taken
	 * over by swapping. The handler sets the next probe with schedule_probe_in().
	 */
	void (*done)(struct watch *w, struct finding *finding, void *arg);
	/* The prober died meanwhile; `alone`: nothing else was in flight. The next probe is set. */
	void (*died)(struct watch *w, bool alone, void *arg);
	/* A probe under quarantine was survived. */
	void (*released)(struct watch *w, void *arg);
	/* The prober spoke nonsense or is gone; its channel is closed. */
	void (*prober_gone)(int error, void *arg);
	/* This probe needs a socket of the watch's namespace: schedule_give_socket() answers. */
	void (*ask_socket)(struct watch *w, uint64_t probe, void *arg);
	/* A PONG came. */
	void (*pong)(void *arg);
	/*
	 * It answers PINGs, but for probes it is long past every deadline: prober_gone() follows,
	 * and what it had in flight died with it. `again`: no probe was answered since the last
	 * time.
	 */
	void (*blind)(unsigned probes, bool again, void *arg);
	void *arg;
};

int schedule_new(struct event_base *base, const struct schedule_handlers *handlers,
                 struct schedule **out);
void schedule_free(struct schedule *s);
/* From the configuration; takes effect with the next probe. */
void schedule_configure(struct schedule *s, unsigned concurrency, int64_t timeout_ms);
/* A (new) prober; takes over `sock`. */
int schedule_set_prober(struct schedule *s, int sock);
void schedule_ping(struct schedule *s);

/* Probes after `delay_ms` (0: as soon as there is a place); replaces an earlier date. */
void schedule_probe_in(struct schedule *s, struct watch *w, int64_t delay_ms);
/* The descriptor remains the caller's; -1: there is none, because of `error` (struct ipc_socket).
 */
void schedule_give_socket(struct schedule *s, uint64_t probe, int fd, int error);
/* No more probes of this one; what is in flight is answered into the void. */
void schedule_forget(struct schedule *s, struct watch *w);

struct schedule_stats {
	unsigned in_flight;
	unsigned quarantined;
	size_t waiting;
	uint64_t lost; /* probes that were never answered */
	bool blind;    /* the last ones were lost, and none was answered since */
};
void schedule_get_stats(const struct schedule *s, struct schedule_stats *out);
