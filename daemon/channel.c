/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/channel.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>

struct queued_frame {
	TAILQ_ENTRY(queued_frame) link;
	uint64_t seq;
	size_t length;
	uint16_t type;
	int fd; /* travels with it, or -1 */
	uint8_t body[];
};

struct channel {
	int sock;
	bool ended;
	bool reading; /* a handler may be running: channel_free() waits for its return */
	bool doomed;
	struct event *readable, *writable;
	struct channel_handlers handlers;
	size_t queued;
	TAILQ_HEAD(, queued_frame) queue;
	struct frame in;
};

static void free_queued(struct queued_frame *q)
{
	if (q->fd >= 0)
		close(q->fd);
	free(q);
}

static void end(struct channel *ch, int error)
{
	if (ch->ended)
		return;
	ch->ended = true;
	event_del(ch->readable);
	event_del(ch->writable);
	ch->handlers.end(error, ch->handlers.arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *ch = arg;

	(void)fd;
	(void)what;
	ch->reading = true;
	/* A burst at most, so that one busy peer does not keep timers and others waiting. */
	for (int i = 0; i < CHANNEL_READ_BURST && !ch->ended && !ch->doomed; i++) {
		int got = frame_recv(ch->sock, &ch->in);

		if (got == -EAGAIN)
			break;
		if (got <= 0) {
			end(ch, got == -ECONNRESET ? 0 : got);
			break;
		}
		ch->handlers.frame(&ch->in, ch->handlers.arg);
		if (ch->in.fd >= 0)
			close(steal_fd(&ch->in.fd));
	}
	ch->reading = false;
	if (ch->doomed)
		channel_free(ch);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *ch = arg;
	struct queued_frame *q;

	(void)fd;
	(void)what;
	while ((q = TAILQ_FIRST(&ch->queue))) {
		int err = frame_send(ch->sock, q->type, q->seq, q->body, q->length, q->fd);

		if (err == -EAGAIN)
			return;
		TAILQ_REMOVE(&ch->queue, q, link);
		ch->queued--;
		free_queued(q);
		if (err < 0)
			return; /* the reading side sees the end and says so */
	}
	event_del(ch->writable);
}

int channel_new(struct event_base *base, int sock, const struct channel_handlers *handlers,
                struct channel **out)
{
	struct channel *ch = calloc(1, sizeof(*ch));

	if (!ch) {
		close(sock);
		return -ENOMEM;
	}
	ch->sock = sock;
	ch->handlers = *handlers;
	ch->in.fd = -1;
	TAILQ_INIT(&ch->queue);
	ch->readable = event_new(base, sock, EV_READ | EV_PERSIST, on_readable, ch);
	ch->writable = event_new(base, sock, EV_WRITE | EV_PERSIST, on_writable, ch);
	if (!ch->readable || !ch->writable || event_add(ch->readable, NULL) < 0) {
		channel_free(ch);
		return -ENOMEM;
	}
	*out = ch;
	return 0;
}

void channel_free(struct channel *ch)
{
	struct queued_frame *q;

	if (!ch)
		return;
	if (ch->reading) {
		ch->doomed = true;
		ch->ended = true;
		event_del(ch->readable);
		event_del(ch->writable);
		return;
	}
	if (ch->readable)
		event_free(ch->readable);
	if (ch->writable)
		event_free(ch->writable);
	if (ch->in.fd >= 0)
		close(ch->in.fd);
	while ((q = TAILQ_FIRST(&ch->queue))) {
		TAILQ_REMOVE(&ch->queue, q, link);
		free_queued(q);
	}
	close(ch->sock);
	free(ch);
}

int channel_send(struct channel *ch, uint16_t type, uint64_t seq, const void *body, size_t length)
{
	return channel_send_fd(ch, type, seq, body, length, -1);
}

int channel_send_fd(struct channel *ch, uint16_t type, uint64_t seq, const void *body,
                    size_t length, int fd)
{
	struct queued_frame *q;

	if (ch->ended)
		return -EPIPE;
	if (TAILQ_EMPTY(&ch->queue)) {
		int err = frame_send(ch->sock, type, seq, body, length, fd);

		if (err != -EAGAIN)
			return err;
	}
	if (ch->queued >= CHANNEL_QUEUE_MAX_FRAMES)
		return -ENOBUFS;
	q = malloc(sizeof(*q) + length);
	if (!q)
		return -ENOMEM;
	q->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && q->fd < 0) {
		free(q);
		return -EMFILE;
	}
	q->type = type;
	q->seq = seq;
	q->length = length;
	if (length)
		memcpy(q->body, body, length);
	TAILQ_INSERT_TAIL(&ch->queue, q, link);
	ch->queued++;
	event_add(ch->writable, NULL);
	return 0;
}

size_t channel_queued(const struct channel *ch)
{
	return ch->queued;
}
