/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/inventory.h"

#include "common/clock.h"
#include "common/log.h"
#include "daemon/channel.h"
#include "daemon/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
	TAILQ_ENTRY(question) link;
	uint64_t seq;
	int64_t since_ms;
	struct inventory_asker asker;
};

struct inventory {
	struct event_base *base;
	struct inventory_handlers handlers;
	struct channel *helper;
	TAILQ_HEAD(, question) asked; /* oldest first */
	size_t n_asked;
	uint64_t next_seq;
};

int inventory_new(struct event_base *base, const struct inventory_handlers *handlers,
                  struct inventory **out)
{
	struct inventory *inv = calloc(1, sizeof(*inv));

	if (!inv)
		return -ENOMEM;
	inv->base = base;
	inv->handlers = *handlers;
	TAILQ_INIT(&inv->asked);
	*out = inv;
	return 0;
}

static void finish(struct inventory *inv, struct question *q, const struct inventory_answer *answer,
                   int fd)
{
	struct inventory_asker asker = q->asker;

	TAILQ_REMOVE(&inv->asked, q, link);
	inv->n_asked--;
	free(q);
	if (asker.answered)
		asker.answered(answer, fd, asker.arg);
	else if (fd >= 0)
		close(fd);
}

static void hang_up(struct inventory *inv)
{
	struct question *q;

	channel_free(inv->helper);
	inv->helper = NULL;
	while ((q = TAILQ_FIRST(&inv->asked)))
		finish(inv, q, NULL, -1);
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	hang_up(inv);
	free(inv);
}

static struct question *find_question(const struct inventory *inv, uint64_t seq)
{
	struct question *q;

	TAILQ_FOREACH (q, &inv->asked, link) {
		if (q->seq == seq)
			return q;
	}
	return NULL;
}

static int take_answer(struct inventory *inv, struct frame *f)
{
	struct question *q = find_question(inv, f->seq);
	struct inventory_answer answer;
	int fd = f->fd;

	if (f->length != sizeof(answer))
		return -EPROTO;
	memcpy(&answer, f->body, sizeof(answer));
	if (answer.version != INVENTORY_WIRE_VERSION)
		return -EPROTO;
	if (!q) /* it came too late */
		return 0;
	f->fd = -1;
	finish(inv, q, &answer, fd);
	return 0;
}

static int take_peer(struct inventory *inv, const struct frame *f)
{
	const struct question *q = find_question(inv, f->seq);
	struct inventory_peer peer;

	if (f->length != sizeof(peer))
		return -EPROTO;
	memcpy(&peer, f->body, sizeof(peer));
	if (peer.version != INVENTORY_WIRE_VERSION ||
	    (peer.family != AF_INET && peer.family != AF_INET6))
		return -EPROTO;
	if (q && q->asker.peer)
		q->asker.peer(&peer, q->asker.arg);
	return 0;
}

static void on_end(int error, void *arg)
{
	struct inventory *inv = arg;

	(void)error;
	hang_up(inv);
	inv->handlers.gone(inv->handlers.arg);
}

static void on_frame(struct frame *f, void *arg)
{
	struct inventory *inv = arg;
	int err = 0;

	switch (f->type) {
	case IPC_PONG: inv->handlers.pong(inv->handlers.arg); break;
	case INVENTORY_NAMESPACE:
	case INVENTORY_LISTENER:
	case INVENTORY_SYNCED:
		err = inv->handlers.told((enum inventory_type)f->type, f->body, f->length,
		                         inv->handlers.arg);
		break;
	case INVENTORY_PEER: err = take_peer(inv, f); break;
	case INVENTORY_ANSWER: err = take_answer(inv, f); break;
	default: break;
	}
	if (err != -EPROTO)
		return;
	log_error("the inventory process speaks nonsense (type %u, %zu bytes): not listened to "
	          "any more",
	          (unsigned)f->type, f->length);
	on_end(err, inv);
}

int inventory_set_helper(struct inventory *inv, int sock)
{
	const struct channel_handlers handlers = {.frame = on_frame, .end = on_end, .arg = inv};

	/* The old one's end may come after its successor. */
	if (inv->helper)
		on_end(0, inv);
	return channel_new(inv->base, sock, &handlers, &inv->helper);
}

bool inventory_is_there(const struct inventory *inv)
{
	return inv->helper != NULL;
}

int inventory_ask(struct inventory *inv, const struct inventory_request *request,
                  const struct inventory_asker *asker)
{
	struct inventory_request copy = *request;
	struct question *q;
	int err;

	if (!inv->helper)
		return -ENOTCONN;
	if (inv->n_asked >= INVENTORY_MAX_ASKED)
		return -EBUSY;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	copy.version = INVENTORY_WIRE_VERSION;
	q->seq = ++inv->next_seq;
	q->since_ms = clock_monotonic_ms();
	if (asker)
		q->asker = *asker;
	err = channel_send(inv->helper, INVENTORY_REQUEST, q->seq, &copy, sizeof(copy));
	if (err < 0) {
		free(q);
		return err;
	}
	TAILQ_INSERT_TAIL(&inv->asked, q, link);
	inv->n_asked++;
	return 0;
}

void inventory_ping(struct inventory *inv)
{
	/* One that does not read is not heaped with questions. */
	if (inv->helper && channel_queued(inv->helper) == 0)
		channel_send(inv->helper, IPC_PING, 0, NULL, 0);
}

void inventory_check_deadlines(struct inventory *inv)
{
	int64_t now = clock_monotonic_ms();
	struct question *q;

	while ((q = TAILQ_FIRST(&inv->asked)) && now - q->since_ms >= INVENTORY_ASK_MS)
		finish(inv, q, NULL, -1);
}
