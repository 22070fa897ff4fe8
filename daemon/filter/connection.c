/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/clock.h"
#include "daemon/filter/connection_internal.h"

#include <errno.h>
#include <unistd.h>

/* So much is done for one connection before the others have their turn. */
enum { ROUNDS = 16 };

void connection_end(struct connection *c)
{
	if (c->over == OVER_NOT)
		c->over = OVER_CLOSE;
}

void connection_abort(struct connection *c)
{
	c->over = OVER_ABORT;
}

void connection_close_after(struct connection *c)
{
	c->mode = CONNECTION_CLOSING;
	upstream_close(c);
}

void connection_deny(struct connection *c, enum filter_reason reason, const char *path,
                     size_t path_length)
{
	service_deny(c->service, reason, c->rule, &c->endpoint, &c->client, path, path_length);
}

void connection_reply(struct connection *c, enum reply reply, bool keep_alive)
{
	char text[REPLY_MAX_BYTES];
	struct iovec piece = {
	    text, reply_write(reply, c->request.minor, c->request.to_head, keep_alive, text)};

	c->service->stats.response_bytes += piece.iov_len;
	c->answer.phase = ANSWER_NONE;
	if (link_send(&c->down, &piece, 1) < 0)
		connection_abort(c);
	else if (!keep_alive)
		connection_close_after(c);
}

/* The answer is sent, then our end is closed; the client may not have read it yet: what still comes
 * from him must not cause a reset, which would take it from him (RFC 9112, 9.6). */
static bool closing_step(struct connection *c)
{
	struct http_text bytes = {0};
	int rc;

	if (link_pending(&c->down) > 0)
		return false;
	if (c->wait != WAIT_LINGER) {
		if (c->down.ended || (!c->down.readable && link_kept(&c->down) == 0 &&
		                      c->request.phase != REQUEST_BODY)) {
			connection_end(c);
			return false;
		}
		shutdown(c->down.fd, SHUT_WR);
		c->wait = WAIT_LINGER;
		c->deadline_ms = clock_monotonic_ms() + c->service->limits.linger_ms;
	}
	rc = link_read(&c->down, c->service->scratch, sizeof(c->service->scratch), false, &bytes);
	if (rc < 0 || (rc == 0 && c->down.ended))
		connection_end(c);
	if (rc > 0)
		link_used(&c->down, &bytes, bytes.length);
	return rc > 0;
}

/* Bytes as they are, as long as those before them have gone. */
static bool relay_one(struct connection *c, struct link *from, struct link *to)
{
	struct service *s = c->service;
	struct http_text bytes;
	struct iovec piece;
	int rc;

	if (to->connecting || link_pending(to) > 0 || from->ended)
		return false;
	rc = link_read(from, s->scratch, sizeof(s->scratch), false, &bytes);
	if (rc > 0) {
		*(to == &c->up ? &s->stats.request_bytes : &s->stats.response_bytes) +=
		    bytes.length;
		piece = (struct iovec){(char *)(uintptr_t)bytes.at, bytes.length};
		rc = link_send(to, &piece, 1);
		if (rc == 0)
			rc = link_used(from, &bytes, bytes.length);
		c->moved = true;
		if (rc == 0)
			return true;
	}
	if (rc < 0)
		connection_abort(c);
	else if (from->ended && to->fd >= 0)
		shutdown(to->fd, SHUT_WR);
	return false;
}

static bool relay_step(struct connection *c)
{
	bool moved = relay_one(c, &c->down, &c->up);

	if (c->over == OVER_NOT && c->up.fd >= 0)
		moved |= relay_one(c, &c->up, &c->down);
	if (c->down.ended && c->up.ended && link_pending(&c->down) == 0 &&
	    link_pending(&c->up) == 0)
		connection_end(c);
	return moved;
}

static bool step(struct connection *c)
{
	bool moved;

	switch (c->mode) {
	case CONNECTION_HTTP:
		moved = answer_step(c);
		if (c->over == OVER_NOT && c->mode == CONNECTION_HTTP)
			moved |= request_step(c);
		return moved || c->mode != CONNECTION_HTTP;
	case CONNECTION_RELAY: return relay_step(c);
	case CONNECTION_CLOSING: return closing_step(c);
	}
	return false;
}

static enum connection_wait find_wait(const struct connection *c)
{
	if (c->mode == CONNECTION_CLOSING && c->wait == WAIT_LINGER)
		return WAIT_LINGER;
	if (link_pending(&c->down) > 0)
		return WAIT_READER;
	if (c->up.connecting)
		return WAIT_CONNECT;
	if (c->mode == CONNECTION_RELAY)
		return WAIT_RELAY;
	if (c->request.phase == REQUEST_HEAD)
		return c->request.count == 0 || link_kept(&c->down) > 0 ? WAIT_HEAD : WAIT_IDLE;
	if (c->request.phase == REQUEST_BODY && link_pending(&c->up) == 0)
		return WAIT_BODY;
	return c->down.ended ? WAIT_LEAVER : WAIT_SERVER;
}

/* Progress puts it off, but for what has to be there in a time of its own. */
static void set_deadline(struct connection *c)
{
	const struct filter_limits *l = &c->service->limits;
	const int64_t times[] = {
	    [WAIT_HEAD] = l->head_ms,     [WAIT_IDLE] = l->idle_ms,
	    [WAIT_BODY] = l->body_ms,     [WAIT_CONNECT] = l->connect_ms,
	    [WAIT_SERVER] = l->server_ms, [WAIT_LEAVER] = l->leaver_ms,
	    [WAIT_READER] = l->reader_ms, [WAIT_RELAY] = l->relay_ms,
	    [WAIT_LINGER] = l->linger_ms,
	};
	enum connection_wait wait = find_wait(c);
	bool fixed = wait == WAIT_HEAD || wait == WAIT_CONNECT || wait == WAIT_LINGER;

	if (wait == c->wait && c->wait_count == c->request.count && (fixed || !c->moved))
		return;
	c->wait = wait;
	c->wait_count = c->request.count;
	c->moved = false;
	c->deadline_ms = clock_monotonic_ms() + times[wait];
}

static void connection_free(struct connection *c)
{
	struct service *s = c->service;
	const struct endpoint who = addresses_of_client(&c->client);

	addresses_remove(&s->clients, &who);
	TAILQ_REMOVE(&s->connections, c, entry);
	s->stats.open_connections--;
	if (c->over == OVER_ABORT) {
		link_abort(&c->down);
		link_abort(&c->up);
	}
	upstream_close(c);
	link_close(&c->down);
	c->rule->users--;
	free(c->server.again);
	free(c);
}

static int flush(struct connection *c, struct link *l)
{
	size_t before = link_pending(l);
	int err = before ? link_flush(l) : 0;

	c->moved |= link_pending(l) < before;
	return err;
}

static void run(struct connection *c)
{
	bool more = true;

	for (int i = 0; more && i < ROUNDS && c->over == OVER_NOT; i++) {
		if (flush(c, &c->down) < 0) {
			connection_abort(c);
			break;
		}
		/* A server that takes no more may still have answered. */
		if (flush(c, &c->up) < 0 && c->request.phase == REQUEST_BODY)
			c->request.discard = true;
		more = step(c);
	}
	if (c->over != OVER_NOT) {
		connection_free(c);
		return;
	}
	set_deadline(c);
	if (more)
		event_active(&c->down.event, EV_TIMEOUT, 0);
}

static void on_client_event(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	link_note(&c->down, what);
	run(c);
}

void upstream_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	link_note(&c->up, what);
	upstream_look(c);
	run(c);
}

int connection_new(struct service *s, struct filter_rule *rule, int fd,
                   const struct endpoint *endpoint, const struct endpoint *client)
{
	struct connection *c = calloc(1, sizeof(*c));
	const struct endpoint who = addresses_of_client(client);

	if (!c || addresses_add(&s->clients, &who) < 0) {
		free(c);
		close(fd);
		return -ENOMEM;
	}
	c->service = s;
	c->rule = rule;
	c->endpoint = *endpoint;
	c->client = *client;
	link_init(&c->down);
	link_init(&c->up);
	/* It may have said something already. */
	c->down.readable = true;
	c->down.writable = true;
	c->deadline_ms = clock_monotonic_ms() + s->limits.head_ms;
	rule->users++;
	s->stats.connections++;
	s->stats.open_connections++;
	TAILQ_INSERT_TAIL(&s->connections, c, entry);
	if (link_open(&c->down, s->base, fd, on_client_event, c) < 0) {
		connection_free(c);
		return -ENOMEM;
	}
	return 0;
}

void connections_give_socket(struct service *s, uint64_t seq, int fd, int error)
{
	struct connection *c;

	TAILQ_FOREACH (c, &s->connections, entry) {
		if (c->server.asked == seq) {
			upstream_use(c, fd, error);
			run(c);
			return;
		}
	}
	if (fd >= 0)
		close(fd); /* he who wanted it is gone */
}

void connections_forget_sockets(struct service *s)
{
	struct connection *c = TAILQ_FIRST(&s->connections), *next;

	for (; c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->server.asked) {
			upstream_use(c, -1, -ENOTCONN);
			run(c);
		}
	}
}

static void time_out(struct connection *c)
{
	switch (c->wait) {
	case WAIT_HEAD:
	case WAIT_BODY:
		/* Who has not said a word is slow in nothing: some connect in advance. */
		if (c->wait == WAIT_HEAD && link_kept(&c->down) == 0) {
			connection_end(c);
			break;
		}
		connection_deny(c, FILTER_DENIED_SLOW, NULL, 0);
		connection_abort(c);
		break;
	case WAIT_CONNECT:
	case WAIT_SERVER:
	case WAIT_LEAVER: upstream_fail(c); break;
	case WAIT_READER: connection_abort(c); break;
	case WAIT_IDLE:
	case WAIT_RELAY:
	case WAIT_LINGER: connection_end(c); break;
	}
	run(c);
}

void connections_tick(struct service *s, int64_t now_ms)
{
	struct connection *c = TAILQ_FIRST(&s->connections), *next;

	for (; c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (now_ms >= c->deadline_ms)
			time_out(c);
		else if (c->wait == WAIT_IDLE && c->up.fd >= 0 &&
		         now_ms >= c->deadline_ms - s->limits.idle_ms + s->limits.server_idle_ms)
			upstream_close(c);
	}
}

void connections_stop(struct service *s)
{
	struct connection *c = TAILQ_FIRST(&s->connections), *next;

	s->stopping = true;
	for (; c; c = next) {
		next = TAILQ_NEXT(c, entry);
		c->request.keep_alive = false;
		if (c->wait == WAIT_IDLE || c->mode == CONNECTION_RELAY ||
		    (c->wait == WAIT_HEAD && link_kept(&c->down) == 0)) {
			connection_end(c);
			run(c);
		}
	}
}

void connections_free(struct service *s)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&s->connections)))
		connection_free(c);
}
