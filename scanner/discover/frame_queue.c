/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/frame_queue.h"

#include "common/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct queued_frame {
	STAILQ_ENTRY(queued_frame) link;
	uint16_t type;
	size_t length;
	uint8_t body[];
};

void frame_queue_init(struct frame_queue *q)
{
	STAILQ_INIT(&q->list);
	q->count = 0;
}

void frame_queue_fini(struct frame_queue *q)
{
	struct queued_frame *f;

	while ((f = STAILQ_FIRST(&q->list))) {
		STAILQ_REMOVE_HEAD(&q->list, link);
		free(f);
	}
	q->count = 0;
}

int frame_queue_put(struct frame_queue *q, uint16_t type, const void *body, size_t length)
{
	struct queued_frame *f = malloc(sizeof(*f) + length);

	if (!f)
		return -ENOMEM;
	f->type = type;
	f->length = length;
	if (length > 0)
		memcpy(f->body, body, length);
	STAILQ_INSERT_TAIL(&q->list, f, link);
	q->count++;
	return 0;
}

int frame_queue_flush(struct frame_queue *q, int sock)
{
	struct queued_frame *f;

	while ((f = STAILQ_FIRST(&q->list))) {
		int err = frame_send(sock, f->type, 0, f->body, f->length, -1);

		if (err)
			return err == -EAGAIN ? 0 : err;
		STAILQ_REMOVE_HEAD(&q->list, link);
		q->count--;
		free(f);
	}
	return 0;
}
