/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/connection_internal.h"
#include "daemon/filter/http_path.h"
#include "daemon/filter/opaque.h"

#include <string.h>

static void refuse(struct connection *c)
{
	connection_deny(c, FILTER_DENIED_SYNTAX, NULL, 0);
	connection_reply(c, REPLY_BAD_REQUEST, false);
}

/* Whether a client that says nothing of HTTP may be passed on as he is. */
static void judge_opaque(struct connection *c, const struct http_text *bytes)
{
	enum opaque found = OPAQUE_NO;

	if (c->request.count == 0 && c->rule->policy->on_opaque == CONF_ON_OPAQUE_PASS)
		found = opaque_look(bytes->at, bytes->length);
	if (found == OPAQUE_MORE) {
		c->request.seen = bytes->length;
		return;
	}
	if (found == OPAQUE_NO) {
		connection_deny(c, FILTER_DENIED_OPAQUE, NULL, 0);
		connection_abort(c);
		return;
	}
	c->mode = CONNECTION_RELAY;
	c->service->stats.opaque_passed++;
	upstream_need(c);
}

static bool is_idempotent(struct http_text method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (method.length == strlen(methods[i]) &&
		    memcmp(method.at, methods[i], method.length) == 0)
			return true;
	}
	return false;
}

static void forward(struct connection *c, const struct http_head *head)
{
	struct service *s = c->service;
	struct iovec piece = {s->head, http_write_head(head, s->head)};
	bool may_repeat;

	s->stats.requests_passed++;
	upstream_need(c);
	if (c->over != OVER_NOT || c->mode != CONNECTION_HTTP)
		return;
	may_repeat = head->framing == HTTP_FRAMING_NONE && is_idempotent(head->method);
	upstream_keep_for_again(c, s->head, may_repeat ? piece.iov_len : 0);
	http_body_begin(&c->request.body, head);
	c->request.phase = http_head_has_body(head) ? REQUEST_BODY : REQUEST_SENT;
	c->request.discard = false;
	answer_expect(c);
	if (link_send(&c->up, &piece, 1) < 0)
		upstream_lost(c);
}

static void begin_request(struct connection *c, const struct http_head *head)
{
	struct service *s = c->service;
	size_t length;

	c->request.count++;
	c->request.scanned = 0;
	c->request.seen = 0;
	c->request.minor = head->minor;
	/* Methods are what they are in their own case (RFC 9110, 9.1): "head" has a body. */
	c->request.to_head = head->method.length == 4 && memcmp(head->method.at, "HEAD", 4) == 0;
	c->request.keep_alive = head->keep_alive && !s->stopping;
	c->request.expects_continue = head->expects_continue;
	if (http_path_decode(head->path, s->path, &length)) {
		refuse(c);
	} else if (!policy_allows(c->rule->policy, s->path, length)) {
		connection_deny(c, FILTER_DENIED_PATH, s->path, length);
		/* A body that nobody reads would be taken for the next request. */
		connection_reply(c, REPLY_FORBIDDEN,
		                 c->request.keep_alive && !http_head_has_body(head));
	} else {
		forward(c, head);
	}
}

static bool read_head(struct connection *c)
{
	struct service *s = c->service;
	struct http_text bytes;
	enum http_fault fault;
	int rc;

	/* Answers go first, so that a client who only asks is not answered without end. */
	if (link_pending(&c->down) > 0)
		return false;
	/* What was kept may hold whole requests: more is read when it does not, or it would pile
	 * up. */
	rc = link_read(&c->down, s->scratch, CONNECTION_HEAD_READ_BYTES,
	               link_kept(&c->down) == c->request.seen, &bytes);
	if (rc <= 0 || bytes.length == c->request.seen) {
		if (rc < 0 || c->down.ended)
			connection_end(c);
		return false;
	}
	c->moved = true;
	switch (http_head_read(bytes.at, bytes.length, &c->request.scanned, &s->request, &fault)) {
	case HTTP_READ_MORE:
		c->request.seen = bytes.length;
		rc = link_used(&c->down, &bytes, 0);
		/* A short read ends before an urgent byte, too, and there may be more behind it. */
		c->down.readable = true;
		break;
	case HTTP_READ_DONE:
		begin_request(c, &s->request);
		rc = link_used(&c->down, &bytes, s->request.length);
		s->stats.request_bytes += s->request.length;
		break;
	case HTTP_READ_BAD:
		c->request.to_head = false;
		if (fault == HTTP_FAULT_OPAQUE)
			judge_opaque(c, &bytes);
		else
			refuse(c);
		rc = link_used(&c->down, &bytes, 0);
		break;
	}
	if (rc < 0)
		connection_abort(c);
	return c->request.seen == 0 || c->down.readable || c->down.ended;
}

/* Content, in the framing that it came in. */
static int send_content(struct connection *c, struct http_text content)
{
	char size[HTTP_CHUNK_SIZE_MAX_BYTES];
	struct iovec whole = {(char *)(uintptr_t)content.at, content.length};
	int rc;

	if (content.length == 0 || c->request.discard)
		return 0;
	if (c->request.body.framing == HTTP_FRAMING_LENGTH)
		return link_send(&c->up, &whole, 1);
	rc = link_queue(&c->up, size, http_write_chunk_size(content.length, size));
	if (rc == 0)
		rc = link_queue(&c->up, content.at, content.length);
	return rc < 0 ? rc : link_queue(&c->up, "\r\n", 2);
}

static enum http_read take_body(struct connection *c, const struct http_text *bytes, size_t *used,
                                int *err)
{
	enum http_read found = HTTP_READ_MORE;
	enum http_fault fault;
	struct http_text content;
	size_t n = 1;

	while (found == HTTP_READ_MORE && n > 0 && *err == 0) {
		found = http_body_read(&c->request.body, bytes->at + *used, bytes->length - *used,
		                       &n, &content, &fault);
		*used += n;
		*err = send_content(c, content);
	}
	if (found == HTTP_READ_DONE && *err == 0 && !c->request.discard &&
	    c->request.body.framing == HTTP_FRAMING_CHUNKED)
		*err = link_queue(&c->up, HTTP_LAST_CHUNK, strlen(HTTP_LAST_CHUNK));
	if (*err == 0)
		*err = link_flush(&c->up);
	return found;
}

static bool read_body(struct connection *c)
{
	struct service *s = c->service;
	struct http_text bytes;
	size_t used = 0;
	int rc, err = 0;

	if (!c->request.discard && (c->up.connecting || link_pending(&c->up) > 0))
		return false;
	rc = link_read(&c->down, s->scratch, sizeof(s->scratch), false, &bytes);
	if (rc <= 0) {
		if (rc < 0 || c->down.ended)
			connection_abort(c); /* the server, too, sees that there is no more */
		return false;
	}
	c->moved = true;
	switch (take_body(c, &bytes, &used, &err)) {
	case HTTP_READ_DONE: c->request.phase = REQUEST_SENT; break;
	case HTTP_READ_BAD:
		connection_deny(c, FILTER_DENIED_SYNTAX, NULL, 0);
		upstream_close(c);
		if (c->answer.phase == ANSWER_BODY)
			connection_abort(c);
		else
			connection_reply(c, REPLY_BAD_REQUEST, false);
		break;
	case HTTP_READ_MORE: break;
	}
	s->stats.request_bytes += used;
	if (link_used(&c->down, &bytes, used) < 0)
		connection_abort(c);
	/* It may have answered before it closed: the answer counts. */
	if (err < 0)
		c->request.discard = true;
	return true;
}

/* What else the client says has to wait, but whether he is there is worth knowing. */
static void watch(struct connection *c)
{
	struct http_text bytes;
	int rc;

	if (!c->down.readable || link_kept(&c->down) >= CONNECTION_HEAD_READ_BYTES)
		return;
	rc = link_read(&c->down, c->service->scratch, CONNECTION_HEAD_READ_BYTES, true, &bytes);
	if (rc < 0 || (rc > 0 && link_used(&c->down, &bytes, 0) < 0))
		connection_abort(c);
}

bool request_step(struct connection *c)
{
	switch (c->request.phase) {
	case REQUEST_HEAD: return read_head(c);
	case REQUEST_BODY: return read_body(c);
	case REQUEST_SENT: watch(c); return false;
	}
	return false;
}
