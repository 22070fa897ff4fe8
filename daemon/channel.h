/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A frame socket (common/frame.h) on a libevent loop: frames in by callback, frames out with a
 * bounded queue for when the peer does not read. Loop's thread only.
 */
#pragma once

#include "common/frame.h"

#include <event2/event.h>
#include <stdbool.h>

enum { CHANNEL_QUEUE_MAX_FRAMES = 4096, CHANNEL_READ_BURST = 64 };

struct channel;

struct channel_handlers {
	/* The frame is borrowed; to keep a descriptor set frame->fd to -1, otherwise it is closed.
	 */
	void (*frame)(struct frame *frame, void *arg);
	/* The peer is gone (error 0) or broke the protocol. Called once; free the channel or not.
	 */
	void (*end)(int error, void *arg);
	void *arg;
};

/* Takes over `sock`. Either handler may free the channel. Returns 0 or -ENOMEM. */
int channel_new(struct event_base *base, int sock, const struct channel_handlers *handlers,
                struct channel **out);
void channel_free(struct channel *ch);

/* Sends now, or queues; the body is copied then. Returns 0, -ENOBUFS, -ENOMEM, -EPIPE. */
int channel_send(struct channel *ch, uint16_t type, uint64_t seq, const void *body, size_t length);
/* The same with a descriptor, which stays the caller's; also -EMFILE. */
int channel_send_fd(struct channel *ch, uint16_t type, uint64_t seq, const void *body,
                    size_t length, int fd);
size_t channel_queued(const struct channel *ch);
