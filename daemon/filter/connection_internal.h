/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a connection: connection.c lives and dies, request.c reads requests, answer.c hands
 * on answers, upstream.c finds the server. Each step does what can be done now, and says whether
 * that was anything.
 */
#pragma once

#include "daemon/filter/connection.h"
#include "daemon/filter/http_body.h"
#include "daemon/filter/link.h"
#include "daemon/filter/reply.h"

enum {
	CONNECTION_HEAD_READ_BYTES = 16 * 1024, /* read at once where a head is expected */
	CONNECTION_MAX_INTERIM = 32,            /* 1xx before one answer */
};

/* What a connection waits for; each has a time of its own. */
enum connection_wait {
	WAIT_HEAD = 0,
	WAIT_IDLE,
	WAIT_BODY,
	WAIT_CONNECT,
	WAIT_SERVER,
	WAIT_LEAVER, /* for the server, too, but the client has sent his end */
	WAIT_READER,
	WAIT_RELAY,
	WAIT_LINGER,
};

struct connection {
	TAILQ_ENTRY(connection) entry;
	struct service *service;
	struct filter_rule *rule;
	struct endpoint endpoint, client;
	struct link down, up; /* towards the client, towards the server */
	enum { CONNECTION_HTTP = 0, CONNECTION_RELAY, CONNECTION_CLOSING } mode;
	enum { OVER_NOT = 0, OVER_CLOSE, OVER_ABORT } over;
	bool moved; /* bytes went somewhere since the deadline was set */
	enum connection_wait wait;
	uint64_t wait_count; /* of heads, when it began */
	int64_t deadline_ms;
	struct {
		enum { REQUEST_HEAD = 0, REQUEST_BODY, REQUEST_SENT } phase;
		size_t scanned, seen; /* of the bytes of a head that is not whole yet */
		uint64_t count;       /* heads so far */
		struct http_body body;
		bool keep_alive, to_head, expects_continue;
		unsigned minor;
		bool discard; /* the server takes no more of the body */
	} request;
	struct {
		enum { ANSWER_NONE = 0, ANSWER_HEAD, ANSWER_BODY } phase;
		size_t scanned, seen;
		struct response_body body;
		bool server_keeps_alive, unwrap; /* chunks, for a client that knows none */
		unsigned interim;
		int64_t asked_ns;
	} answer;
	struct {
		uint64_t asked; /* seq of the socket that the firewall was asked for, or 0 */
		uint64_t served;
		struct endpoint own; /* port 0: none */
		/* The request, as long as it may be sent again; see upstream_lost(). */
		char *again;
		size_t again_length;
	} server;
};

/* connection.c */
void connection_end(struct connection *c);   /* in good order */
void connection_abort(struct connection *c); /* with a reset */
/* The last answer is on its way: no more is read. */
void connection_close_after(struct connection *c);
void connection_deny(struct connection *c, enum filter_reason reason, const char *path,
                     size_t path_length);
/* Sends an answer of our own; without `keep_alive` that is the last. */
void connection_reply(struct connection *c, enum reply reply, bool keep_alive);

/* request.c */
bool request_step(struct connection *c);

/* answer.c */
void answer_expect(struct connection *c);
bool answer_step(struct connection *c);

/* upstream.c */
/* Connects, unless it is; a failure is seen to. */
void upstream_need(struct connection *c);
void upstream_use(struct connection *c, int fd, int error);
void upstream_close(struct connection *c);
/* It cannot be had: says so to the client, if he has not got half an answer yet. */
void upstream_fail(struct connection *c);
/* Something was seen of the socket while it connected. */
void upstream_look(struct connection *c);
/* The head may be sent again (nothing, of no length, may not). */
void upstream_keep_for_again(struct connection *c, const char *head, size_t length);
/* The server is gone before it has answered: asks it once more, or says so to the client. */
void upstream_lost(struct connection *c);
void upstream_on_event(evutil_socket_t fd, short what, void *arg);
