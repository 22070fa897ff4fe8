/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/clock.h"
#include "daemon/filter/connection_internal.h"
#include "daemon/filter/stats.h"

void answer_expect(struct connection *c)
{
	c->answer.phase = ANSWER_HEAD;
	c->answer.scanned = 0;
	c->answer.seen = 0;
	c->answer.interim = 0;
	c->answer.asked_ns = clock_monotonic_ns();
}

static void finish(struct connection *c)
{
	c->answer.phase = ANSWER_NONE;
	c->server.served++;
	/* What comes unasked for must not be taken for the answer to the next request. */
	if (!c->answer.server_keeps_alive || c->request.phase != REQUEST_SENT ||
	    link_kept(&c->up) > 0)
		upstream_close(c);
	if (c->request.keep_alive && c->request.phase == REQUEST_SENT)
		c->request.phase = REQUEST_HEAD;
	else
		connection_close_after(c);
}

static bool send_down(struct connection *c, struct iovec *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c->service->stats.response_bytes += pieces[i].iov_len;
	if (link_send(&c->down, pieces, n) == 0)
		return true;
	connection_abort(c);
	return false;
}

/*
 * The body, or as much of it as there is, and whatever goes before it. Returns how much of the
 * bytes was taken.
 */
static size_t take_body(struct connection *c, const struct http_text *bytes, size_t offset,
                        struct iovec before)
{
	enum http_read found = HTTP_READ_MORE;
	struct http_text content;
	size_t used = offset, n = 1;
	struct iovec pieces[2] = {before};

	if (c->answer.unwrap && !send_down(c, pieces, 1))
		return bytes->length;
	while (found == HTTP_READ_MORE && n > 0) {
		found = response_body_read(&c->answer.body, bytes->at + used, bytes->length - used,
		                           &n, &content);
		used += n;
		if (c->answer.unwrap) {
			pieces[0] = (struct iovec){(char *)(uintptr_t)content.at, content.length};
			if (!send_down(c, pieces, 1))
				return bytes->length;
		}
	}
	if (found == HTTP_READ_BAD) {
		connection_abort(c);
		return bytes->length;
	}
	pieces[1] = (struct iovec){(char *)(uintptr_t)(bytes->at + offset), used - offset};
	if (!c->answer.unwrap && !send_down(c, pieces, 2))
		return bytes->length;
	if (found == HTTP_READ_DONE)
		c->answer.phase = ANSWER_NONE;
	return used;
}

static bool is_wanted(const struct connection *c, const struct response_head *head)
{
	return c->request.minor == 1 && (head->status != 100 || c->request.expects_continue);
}

static void pass_interim(struct connection *c, const struct response_head *head)
{
	struct iovec piece = {c->service->head, 0};

	c->answer.scanned = 0;
	c->answer.seen = 0;
	if (++c->answer.interim > CONNECTION_MAX_INTERIM) {
		upstream_lost(c);
		return;
	}
	if (!is_wanted(c, head))
		return;
	piece.iov_len = response_write_head(head, 1, true, c->service->head);
	send_down(c, &piece, 1);
}

static struct iovec begin(struct connection *c, const struct response_head *head)
{
	struct service *s = c->service;

	stats_note_latency(&s->stats, clock_monotonic_ns() - c->answer.asked_ns);
	c->answer.phase = ANSWER_BODY;
	c->answer.server_keeps_alive = head->keep_alive;
	c->answer.unwrap = head->framing == RESPONSE_CHUNKED && c->request.minor == 0;
	response_body_begin(&c->answer.body, head);
	/* The connection is kept when all three want it, and no body is left half read. */
	c->request.keep_alive = c->request.keep_alive && head->keep_alive && !c->answer.unwrap &&
	                        c->request.phase == REQUEST_SENT && !s->stopping;
	return (struct iovec){
	    s->head, response_write_head(head, c->request.minor, c->request.keep_alive, s->head)};
}

static bool read_head(struct connection *c)
{
	struct service *s = c->service;
	struct http_text bytes;
	size_t used = 0;
	int rc;

	if (link_pending(&c->down) > 0)
		return false;
	/* What was kept behind an interim answer may hold the next one whole. */
	rc = link_read(&c->up, s->scratch, sizeof(s->scratch), link_kept(&c->up) == c->answer.seen,
	               &bytes);
	if (rc <= 0 || bytes.length == c->answer.seen) {
		if (rc < 0 || c->up.ended)
			upstream_lost(c);
		return false;
	}
	c->moved = true;
	upstream_keep_for_again(c, NULL, 0);
	switch (response_head_read(bytes.at, bytes.length, c->request.to_head, &c->answer.scanned,
	                           &s->response)) {
	case HTTP_READ_MORE: c->answer.seen = bytes.length; break;
	case HTTP_READ_BAD: upstream_lost(c); return true;
	case HTTP_READ_DONE:
		if (s->response.status < 200) {
			pass_interim(c, &s->response);
			used = s->response.length;
		} else {
			used = take_body(c, &bytes, s->response.length, begin(c, &s->response));
		}
		break;
	}
	if (c->over == OVER_NOT && c->up.fd >= 0 && link_used(&c->up, &bytes, used) < 0)
		connection_abort(c);
	if (c->over == OVER_NOT && c->answer.phase == ANSWER_NONE)
		finish(c);
	return used > 0 || c->up.readable || c->up.ended;
}

static bool read_body(struct connection *c)
{
	struct service *s = c->service;
	struct http_text bytes;
	size_t used;
	int rc;

	if (link_pending(&c->down) > 0)
		return false;
	rc = link_read(&c->up, s->scratch, sizeof(s->scratch), false, &bytes);
	if (rc <= 0) {
		if (rc == 0 && c->up.ended && c->answer.body.framing == RESPONSE_UNTIL_CLOSE)
			finish(c);
		else if (rc < 0 || c->up.ended)
			connection_abort(c); /* the client must not take it for the whole */
		return false;
	}
	c->moved = true;
	used = take_body(c, &bytes, 0, (struct iovec){0});
	if (c->over == OVER_NOT && link_used(&c->up, &bytes, used) < 0)
		connection_abort(c);
	if (c->over == OVER_NOT && c->answer.phase == ANSWER_NONE)
		finish(c);
	return true;
}

/* A server that says something unasked, or goes away, is asked on a new connection next time. */
static void watch(struct connection *c)
{
	struct http_text bytes;

	if (c->up.fd < 0 || (!c->up.readable && !c->up.ended))
		return;
	if (link_read(&c->up, c->service->scratch, 1, false, &bytes) != 0 || c->up.ended)
		upstream_close(c);
}

bool answer_step(struct connection *c)
{
	if (c->up.connecting)
		return false;
	switch (c->answer.phase) {
	case ANSWER_NONE: watch(c); return false;
	case ANSWER_HEAD: return read_head(c);
	case ANSWER_BODY: return read_body(c);
	}
	return false;
}
