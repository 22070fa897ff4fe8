/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames that wait until the other end reads. Embedded; one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct queued_frame;
struct frame_queue {
	STAILQ_HEAD(, queued_frame) list;
	size_t count;
};

void frame_queue_init(struct frame_queue *q);
void frame_queue_fini(struct frame_queue *q);
/* The body is copied. Returns 0 or -ENOMEM. */
int frame_queue_put(struct frame_queue *q, uint16_t type, const void *body, size_t length);
/* Sends what can be sent. Returns 0, also when some must wait; or frame_send()'s error. */
int frame_queue_flush(struct frame_queue *q, int sock);
