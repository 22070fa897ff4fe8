/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One side of a filtered connection: a non-blocking TCP socket on the loop, edge-triggered, so that
 * waiting for something else costs no system call. It has buffers while there is something in them.
 * Loop's thread only.
 */
#pragma once

#include "daemon/filter/http_field.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/uio.h>

struct evbuffer;

struct link {
	int fd;                  /* -1: none (yet) */
	bool connecting;         /* what is sent waits for link_connected() */
	bool readable, writable; /* until the kernel says otherwise */
	bool hung_up;            /* the peer sends no more... */
	bool ended;              /* ...and all that it sent was read */
	struct event event;
	struct evbuffer *in, *out; /* NULL while empty */
};

/* No socket yet; what is sent is kept for it. */
void link_init(struct link *l);
/* Takes the socket. Calls back with link_note() to be told first. Returns 0 or -ENOMEM. */
int link_open(struct link *l, struct event_base *base, int fd, event_callback_fn on_event,
              void *arg);
void link_note(struct link *l, short what);
/* The connection stands: what was kept goes. Returns 0 or -errno. */
int link_connected(struct link *l);
/* Back to what link_init() made of it. */
void link_close(struct link *l);
/* The same, and the peer sees a reset: what it got is not all. */
void link_abort(struct link *l);

/*
 * What was kept and what is new, `room` bytes of it at the most; not `join`: what was kept, or else
 * what is new. Returns 1 with bytes in *out, which may be in `scratch`; 0 for nothing now (see
 * `ended`); -errno. Then link_used() says how many of them are done with; the rest is kept.
 */
int link_read(struct link *l, char *scratch, size_t room, bool join, struct http_text *out);
/* Returns 0 or -ENOMEM. */
int link_used(struct link *l, const struct http_text *bytes, size_t used);
/* Kept by link_used() */
size_t link_kept(const struct link *l);

/* Sends, or keeps what cannot be sent now. Returns 0 or -errno. */
int link_send(struct link *l, struct iovec *pieces, size_t n);
/* Only keeps; link_flush() sends. */
int link_queue(struct link *l, const void *bytes, size_t length);
int link_flush(struct link *l);
/* Bytes that wait for the peer to read. */
size_t link_pending(const struct link *l);
