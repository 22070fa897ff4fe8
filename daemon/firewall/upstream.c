/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/upstream.h"

#include "daemon/filter/wire.h"
#include "daemon/firewall/listeners.h"

#include <errno.h>
#include <string.h>

static bool read_ask(const struct frame *f, struct filter_ask *out)
{
	static const uint8_t zero[sizeof(out->zero)];

	if (f->length != sizeof(*out) || f->fd >= 0)
		return false;
	memcpy(out, f->body, sizeof(*out));
	return out->version == FILTER_WIRE_VERSION &&
	       (out->family == AF_INET || out->family == AF_INET6) &&
	       !memcmp(out->zero, zero, sizeof(zero));
}

static bool is_too_fast(struct upstream *u, int64_t now_ms)
{
	const int64_t second = now_ms / 1000;

	if (u->second != second)
		*u = (struct upstream){.second = second};
	return ++u->count > UPSTREAM_PER_SEC;
}

int upstream_answer(struct upstream *u, struct peer *filter, const struct frame *f, uint32_t mark,
                    int64_t now_ms)
{
	struct filter_socket answer = {0};
	struct filter_ask ask;
	int fd = -1;

	if (!read_ask(f, &ask))
		return -EPROTO;
	answer.error =
	    is_too_fast(u, now_ms) ? -EAGAIN : listeners_open_socket(ask.family, mark, &fd);
	return peer_send_fd(filter, FILTER_SOCKET, f->seq, &answer, sizeof(answer), fd);
}
