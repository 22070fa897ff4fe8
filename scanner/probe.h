/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probing engine: endpoints in, findings out. libcurl's multi-socket interface on a libevent
 * loop; a probe is the few requests that scanner/fingerprint.h asks for, on one connection where
 * the server keeps it, and hung up at the end. The process must ignore SIGPIPE. Names are never
 * resolved here. One thread: that of the event loop.
 */
#pragma once

#include "scanner/fingerprint.h"

#include <event2/event.h>
#include <net/if.h>

/* Everything that bounds what a server can do to us. */
struct probe_limits {
	int64_t connect_timeout_ms;
	int64_t request_timeout_ms; /* one request in all: connect, TLS, head, body */
	size_t header_max_bytes;    /* of one answer, all header lines */
	size_t body_max_bytes;      /* decoded; never more than FINGERPRINT_BODY_MAX_BYTES */
	unsigned max_requests;      /* for one endpoint */
	unsigned concurrency;       /* endpoints at once; also bounds memory */
};
/* connect 3 s, request 3 s, 16 KiB headers, 64 KiB body, 32 requests, 256 at once */
extern const struct probe_limits probe_limits_default;
/* Who asks, for the logs of those who are asked. */
extern const char probe_user_agent[];

struct probe_request {
	struct endpoint endpoint;
	int64_t timeout_ms; /* replaces request_timeout_ms; 0: the default */
	char host[256];     /* Host header and SNI; "" for the address */
	char prefix[128];   /* "" for /debug/pprof/ */
	bool tls_first;     /* https first, then http */
	bool tls_only;
	bool plain_only;
	bool all_relatives; /* ask for expvar and its like everywhere */
	bool asks_serves;   /* ask what is exposed for /metrics and /, too */
	bool from_inside;   /* its sockets come by probe_give_socket(), one for each request */
	uint64_t token;     /* the caller's, given back with the finding */
};

/* The way that connections take. Plain values; what it points to stays the caller's. */
struct probe_route {
	struct endpoint source;      /* port 0; family 0: the kernel's choice */
	char interface[IF_NAMESIZE]; /* "" for the routing table's choice */
	struct endpoint proxy;       /* an HTTP proxy that takes CONNECT; family 0: none */
	const char *proxy_user;      /* NULL: none */
	const char *proxy_password;
};

struct probe_stats {
	uint64_t started, finished, requests, bytes;
	uint64_t starved;      /* requests given up since no descriptor or local port became free */
	uint64_t no_route;     /* endpoints that the kernel knows no way to (ENETUNREACH) */
	uint64_t no_family;    /* not asked: of another family than the source address */
	uint64_t behind_proxy; /* nothing is known of them, since the proxy did not connect */
	uint64_t proxy_failure; /* of these, by the proxy's own fault or will */
	unsigned in_flight;
};

/*
 * The finding belongs to the engine and is gone when the callback returns. It may call
 * probe_submit(), but not probe_free().
 */
typedef void probe_done_cb(const struct probe_request *request, const struct finding *finding,
                           void *arg);

/*
 * In its place, for who wants to keep the finding: what is left behind must be an initialised one
 * (common/finding.h).
 */
typedef void probe_take_cb(const struct probe_request *request, struct finding *finding, void *arg);

/* One request of a probe and what came back; gone when the callback returns. */
struct probe_exchange {
	const struct fingerprint_request *request;
	const struct http_answer *answer;
	const char *sent; /* the head of the request as it went out; not NUL-terminated */
	size_t sent_length;
	const char *head; /* of the answer as it came, 1xx heads included; not NUL-terminated */
	size_t head_length;
	int64_t time_ms; /* wall clock, at the end */
	int64_t took_us;
};

/*
 * Every exchange, before it is judged. `request` is at the same address in all callbacks of one
 * probe, that of its finding included. Must not call the engine.
 */
typedef void probe_trace_cb(const struct probe_request *request,
                            const struct probe_exchange *exchange, void *arg);

struct probe_engine;

/* Returns 0, -ENOMEM, or -EIO when libcurl cannot be set up. `user_agent` is copied. */
int probe_new(struct event_base *base, const struct probe_limits *limits, const char *user_agent,
              bool show_secrets, probe_done_cb *done, void *arg, struct probe_engine **out);
void probe_free(struct probe_engine *engine);
/* Before the first probe_submit(); `done` may be NULL then. Gets its `arg`. */
void probe_set_taker(struct probe_engine *engine, probe_take_cb *take);
/* Before the first probe_submit(). The callback gets the same `arg` as `done`. */
void probe_set_trace(struct probe_engine *engine, probe_trace_cb *trace);
/*
 * Likewise: what products, relatives and further prefixes are known by. They outlive the engine;
 * without them there are none. `all_prefixes`: asked for at every endpoint without a prefix of its
 * own, not only at what looks like Go.
 */
void probe_set_signatures(struct probe_engine *engine, const struct signatures *signatures,
                          bool all_prefixes);
/* Before the first probe_submit(). It must outlive the engine. */
void probe_set_route(struct probe_engine *engine, const struct probe_route *route);

/*
 * A probe with `from_inside` needs a socket: a new one, not connected, of another network
 * namespace. To be answered by probe_give_socket(), but not from within; without an answer the
 * request ends in an error after a while. Gets the same `arg` as `done`.
 */
typedef void probe_ask_socket_cb(const struct probe_request *request, void *arg);
/* Before the first probe_submit() of such a probe. */
void probe_set_socket_source(struct probe_engine *engine, probe_ask_socket_cb *ask);
/*
 * Takes over `fd`, which is closed where nobody waits for it any more. Or `fd` is -1, and `error`
 * says why there is none: -EAGAIN to be asked again in a moment, any other ends the request.
 */
void probe_give_socket(struct probe_engine *engine, uint64_t token, int fd, int error);

/*
 * Returns 0, -EAGAIN when `concurrency` probes are under way (wait for a callback), -EINVAL for a
 * host or prefix that cannot stand in a URL, -ENOMEM, -EIO. The callback is never called from here.
 */
int probe_submit(struct probe_engine *engine, const struct probe_request *request);
/* Whether probe_submit() would say -EINVAL. Any thread. */
bool probe_request_is_valid(const struct probe_request *request);
void probe_get_stats(const struct probe_engine *engine, struct probe_stats *out);
/* The requests of the probes under way; the callback must not call the engine. */
void probe_each(const struct probe_engine *engine,
                void (*each)(const struct probe_request *request, void *arg), void *arg);
