/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all filtered connections share: limits, counters, buffers. Loop's thread only. */
#pragma once

#include "daemon/filter/addresses.h"
#include "daemon/filter/denials.h"
#include "daemon/filter/http_write.h"
#include "daemon/filter/policy.h"
#include "daemon/filter/response.h"

#include <event2/event.h>
#include <sys/queue.h>

/* All that a client or a server may take of us. Where nginx has a limit for it, its preset. */
struct filter_limits {
	unsigned max_connections, max_per_client; /* of an address */
	int64_t head_ms;        /* for a whole head, from its first byte or from the connection's */
	int64_t idle_ms;        /* between an answer and the next request (keepalive_timeout) */
	int64_t server_idle_ms; /* that long the server's connection is kept between requests */
	int64_t body_ms;        /* without a byte of a body (client_body_timeout) */
	int64_t connect_ms;     /* to the server */
	int64_t server_ms;      /* without a byte of an answer: long polls take their time */
	int64_t leaver_ms;      /* the same, when the client has sent his end: mostly he is gone */
	int64_t reader_ms;      /* without a byte being read by the client (send_timeout) */
	int64_t relay_ms;       /* without a byte either way, of what is passed unread */
	int64_t linger_ms; /* for the client to read the last answer before the socket is closed */
	int64_t stop_ms;   /* for requests in flight when the process is to end */
};
extern const struct filter_limits filter_limits_default;

enum {
	SERVICE_SCRATCH_BYTES = 64 * 1024,
	SERVICE_HEAD_BYTES = RESPONSE_HEAD_MAX_BYTES + RESPONSE_HEAD_ADDED_BYTES,
};
_Static_assert((int)SERVICE_HEAD_BYTES >= (int)HTTP_WRITTEN_MAX_BYTES, "for both");

/* A rule, as long as a listener or a connection has it; of one that is gone the last policy. */
struct filter_rule {
	struct policy *policy;
	bool in_force;
	unsigned users;
	TAILQ_ENTRY(filter_rule) link;
};

struct connection;

struct service {
	struct event_base *base;
	struct filter_limits limits;
	unsigned descriptors; /* that there can be, for all that the process does */
	struct filter_stats stats;
	struct denials *denials;
	TAILQ_HEAD(, connection) connections;
	struct addresses clients;  /* of connections, as addresses_of_client() says */
	struct addresses upstream; /* our own, towards servers: to meet one as a client is a loop */
	/* Asks the firewall for a transparent socket; connections_give_socket() is the answer.
	 * Returns 0 or -errno. */
	int (*ask_socket)(uint64_t seq, sa_family_t family, void *arg);
	void *arg;
	uint64_t asked;
	bool stopping;
	/* Used within one call: nothing in them outlives it. */
	struct http_head request;
	struct response_head response;
	char path[HTTP_LINE_MAX_BYTES];
	char scratch[SERVICE_SCRATCH_BYTES];
	char head[SERVICE_HEAD_BYTES];
};

/* Counts a refusal, and tells of it if it is due. `path` may be NULL. */
void service_deny(struct service *s, enum filter_reason reason, const struct filter_rule *rule,
                  const struct endpoint *endpoint, const struct endpoint *client, const char *path,
                  size_t path_length);
