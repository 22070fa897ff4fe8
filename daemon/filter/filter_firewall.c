/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/log.h"
#include "daemon/filter/connection.h"
#include "daemon/filter/filter_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int filter_ask_socket(uint64_t seq, sa_family_t family, void *arg)
{
	struct filter *f = arg;
	const struct filter_ask ask = {.version = FILTER_WIRE_VERSION, .family = (uint8_t)family};

	return f->firewall ? channel_send(f->firewall, FILTER_ASK_SOCKET, seq, &ask, sizeof(ask))
	                   : -ENOTCONN;
}

static bool read_listener(const struct frame *frame, struct filter_listener *out)
{
	if (frame->length != sizeof(*out))
		return false;
	memcpy(out, frame->body, sizeof(*out));
	return out->version == FILTER_WIRE_VERSION &&
	       (out->family == AF_INET || out->family == AF_INET6) &&
	       frame_is_zero(out->zero, sizeof(out->zero)) && out->rule[0] &&
	       frame_is_string(out->rule, sizeof(out->rule));
}

static void take_listener(struct filter *f, struct frame *frame)
{
	struct filter_listener listener;
	int err;

	if (!read_listener(frame, &listener) ||
	    (frame->fd >= 0) != (frame->type == FILTER_LISTENER)) {
		filter_refuse(f, "firewall", "a malformed listener");
		return;
	}
	if (frame->type == FILTER_CLOSE) {
		listeners_close(f->listeners, listener.rule, listener.family);
		return;
	}
	if (f->stop_at_ms)
		return;
	err = listeners_put(f->listeners, listener.rule, listener.family, steal_fd(&frame->fd));
	if (err < 0)
		filter_refuse(f, "firewall", "a listener that cannot be used");
}

static void take_socket(struct filter *f, struct frame *frame)
{
	struct filter_socket answer = {0};

	if (frame->length == sizeof(answer))
		memcpy(&answer, frame->body, sizeof(answer));
	if (frame->length != sizeof(answer) || answer.zero || answer.error > 0 ||
	    (answer.error < 0) != (frame->fd < 0)) {
		filter_refuse(f, "firewall", "a malformed answer about a socket");
		return;
	}
	if (frame->fd >= 0)
		fcntl(frame->fd, F_SETFL, O_NONBLOCK);
	connections_give_socket(&f->service, frame->seq, steal_fd(&frame->fd), answer.error);
}

static void on_firewall_frame(struct frame *frame, void *arg)
{
	struct filter *f = arg;

	if (frame->type == IPC_PING && frame->length == 0)
		filter_send(f, f->firewall, "firewall", IPC_PONG, frame->seq, NULL, 0);
	else if (frame->type == FILTER_LISTENER || frame->type == FILTER_CLOSE)
		take_listener(f, frame);
	else if (frame->type == FILTER_SOCKET)
		take_socket(f, frame);
	else
		filter_refuse(f, "firewall", "a message that is not for the filter");
}

/* The service is about to end, or there will be a new one; what runs goes on. */
static void on_firewall_end(int error, void *arg)
{
	struct filter *f = arg;

	if (error < 0)
		log_error("firewall: %s", strerror(-error));
	channel_free(f->firewall);
	f->firewall = NULL;
	connections_forget_sockets(&f->service);
}

void filter_take_firewall(struct filter *f, struct frame *frame)
{
	const struct channel_handlers handlers = {on_firewall_frame, on_firewall_end, f};
	struct ipc_peer peer = {0};
	int err;

	if (frame->length == sizeof(peer))
		memcpy(&peer, frame->body, sizeof(peer));
	if (frame->length != sizeof(peer) || peer.role != IPC_ROLE_FIREWALL || frame->fd < 0) {
		filter_refuse(f, "parent", "a peer that is not for the filter");
		return;
	}
	if (f->firewall)
		on_firewall_end(0, f);
	err = fcntl(frame->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (err == 0)
		err = channel_new(f->base, steal_fd(&frame->fd), &handlers, &f->firewall);
	if (err < 0)
		filter_refuse(f, "firewall", strerror(-err));
}
