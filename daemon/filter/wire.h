/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the filter process hears from the firewall, and says to it and to the agent. Fixed sizes;
 * padding is named and zero. The firewall gives the filter one listening socket for each rule that
 * filters and each family: a connection's rule is known by the socket that it came in by, and its
 * endpoint by its own local address (IP_TRANSPARENT), so that the filter keeps no table of
 * endpoints, and a block, as always, is but an element in the kernel.
 */
#pragma once

#include "common/endpoint.h"
#include "conf/conf.h"

#include <stdint.h>

enum { FILTER_WIRE_VERSION = 1, FILTER_PATH_LEN = 128, FILTER_LATENCY_BUCKETS = 12 };

/* Frame types, apart from those in daemon/ipc.h and daemon/firewall/wire.h. */
enum filter_type {
	/* firewall -> filter */
	FILTER_LISTENER = 192, /* struct filter_listener + listening socket; replaces an older one
	                          of the same rule and family */
	FILTER_CLOSE,          /* struct filter_listener: accept nothing more there */
	/* filter -> firewall */
	FILTER_ASK_SOCKET, /* struct filter_ask; seq names it */
	/* firewall -> filter */
	FILTER_SOCKET, /* struct filter_socket + socket if there is one; seq as asked */
	/*
	 * IPC_PING and IPC_PONG of daemon/ipc.h are the heartbeat: the firewall asks while anything
	 * is filtered, and the filter answers from the loop that serves connections.
	 */

	/* filter -> agent */
	FILTER_STATS,  /* struct filter_stats: about every second in which something changed */
	FILTER_DENIED, /* struct filter_denied: a request that was refused; some are not told */
};

struct filter_listener {
	uint16_t version; /* FILTER_WIRE_VERSION */
	uint8_t family;
	uint8_t zero[5];
	char rule[CONF_NAME_MAX_LEN + 1]; /* the breaker's or standing filter's name */
};
_Static_assert(sizeof(struct filter_listener) == 72, "fixed on the wire");

/* For an endpoint of another network namespace: a TCP socket with IP_TRANSPARENT, not bound. */
struct filter_ask {
	uint16_t version;
	uint8_t family;
	uint8_t zero[5];
};

struct filter_socket {
	int32_t error; /* 0, or a negative errno */
	uint32_t zero;
};

/* Why a request was not served; the names in metrics are filter_reason_name()'s. */
enum filter_reason {
	FILTER_DENIED_PATH = 0, /* a denied prefix, or none that is allowed */
	FILTER_DENIED_SYNTAX,   /* not strict HTTP/1.x: 400 */
	FILTER_DENIED_OPAQUE,   /* TLS, HTTP/2, anything else, with on_opaque: drop */
	FILTER_DENIED_SLOW,     /* a head or a body that came too slowly */
	FILTER_DENIED_FULL,     /* too many connections */
	FILTER_DENIED_DIRECT,   /* somebody connected to the filter's own port, or itself */
	FILTER_REASON_COUNT
};
const char *filter_reason_name(enum filter_reason reason);

/* Totals since the process began. */
struct filter_stats {
	uint64_t requests_passed;
	uint64_t denied[FILTER_REASON_COUNT];
	uint64_t opaque_passed;     /* connections, with on_opaque: pass */
	uint64_t connections;       /* accepted */
	uint64_t upstream_failures; /* 502 */
	uint64_t request_bytes, response_bytes;
	uint64_t untold; /* FILTER_DENIED that were not sent, for their rate */
	/* From the request's head to the first byte of its answer, cumulative; upper bounds in
	 * filter_latency_bounds_us, the last is all. */
	uint64_t latency[FILTER_LATENCY_BUCKETS];
	uint64_t latency_sum_us;
	uint32_t open_connections; /* now */
	uint32_t zero;
};
extern const uint32_t filter_latency_bounds_us[FILTER_LATENCY_BUCKETS - 1];

#define FILTER_PATH_CHARACTERS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz/._-"

struct filter_denied {
	uint16_t version;
	uint8_t reason; /* enum filter_reason */
	uint8_t zero[5];
	struct endpoint endpoint; /* whom it was for */
	struct endpoint client;
	uint64_t count; /* of this client, endpoint and reason since the last that was told, this
	                   one included */
	char rule[CONF_NAME_MAX_LEN + 1];
	/* What was asked for, decoded; FILTER_PATH_CHARACTERS, all else is '?'; "" if it is not
	 * known. */
	char path[FILTER_PATH_LEN];
};
