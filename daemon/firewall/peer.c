/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/peer.h"

#include "common/cleanup.h"
#include "common/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct peer_message {
	STAILQ_ENTRY(peer_message) next;
	uint16_t type;
	uint64_t seq;
	int fd; /* sent along, or -1 */
	size_t length;
	uint8_t body[];
};

void peer_init(struct peer *peer, int fd)
{
	peer->fd = fd;
	STAILQ_INIT(&peer->waiting);
}

static void drop_first(struct peer *peer)
{
	struct peer_message *m = STAILQ_FIRST(&peer->waiting);

	STAILQ_REMOVE_HEAD(&peer->waiting, next);
	cleanup_close(&m->fd);
	free(m);
}

void peer_fini(struct peer *peer)
{
	while (peer_is_waiting(peer))
		drop_first(peer);
}

bool peer_is_waiting(const struct peer *peer)
{
	return !STAILQ_EMPTY(&peer->waiting);
}

int peer_send(struct peer *peer, uint16_t type, uint64_t seq, const void *body, size_t length)
{
	return peer_send_fd(peer, type, seq, body, length, -1);
}

int peer_send_fd(struct peer *peer, uint16_t type, uint64_t seq, const void *body, size_t length,
                 int given)
{
	auto_close int fd = given;
	struct peer_message *m;

	if (peer->fd < 0)
		return 0; /* gone: nobody waits for it */
	if (!peer_is_waiting(peer)) {
		int err = frame_send(peer->fd, type, seq, body, length, fd);

		if (err != -EAGAIN)
			return err;
	}
	m = malloc(sizeof(*m) + length);
	if (!m)
		return -ENOMEM;
	m->type = type;
	m->seq = seq;
	m->length = length;
	m->fd = steal_fd(&fd);
	if (length)
		memcpy(m->body, body, length);
	STAILQ_INSERT_TAIL(&peer->waiting, m, next);
	return 0;
}

int peer_flush(struct peer *peer)
{
	while (peer_is_waiting(peer)) {
		const struct peer_message *m = STAILQ_FIRST(&peer->waiting);
		int err = frame_send(peer->fd, m->type, m->seq, m->body, m->length, m->fd);

		if (err == -EAGAIN)
			return 0;
		if (err)
			return err;
		drop_first(peer);
	}
	return 0;
}
