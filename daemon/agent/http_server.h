/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /metrics, /healthz and /readyz by libevent's evhttp; GET and HEAD only, everything else 404 or
 * 405; bounded headers (8 KiB), no bodies, a deadline of 5 s, at most 64 connections. Loop's
 * thread.
 */
#pragma once

#include "common/endpoint.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>

struct http_handlers {
	/* Appends the exposition (text format 0.0.4). */
	void (*metrics)(struct evbuffer *out, void *arg);
	/* Appends one reason a line while not ready; returns whether ready. */
	bool (*ready)(struct evbuffer *out, void *arg);
	void *arg;
};

struct http_server;

/* Binds and listens; returns 0 or -errno (EADDRINUSE, EACCES...). `handlers` is copied. */
int http_server_new(struct event_base *base, const struct endpoint *listen,
                    const struct http_handlers *handlers, struct http_server **out);
void http_server_free(struct http_server *server);
