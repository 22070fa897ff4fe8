/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent and the inventory helper say to each other: fixed sizes, numbers and bounded
 * strings. The helper reads every listening TCP socket of every network namespace (sock_diag,
 * Linux 3.3) and tells the agent what appears, changes and goes. It believes nothing of what it is
 * asked: version, verb, family, lengths and padding are checked, and every request is answered.
 *
 * The first WATCH brings all there is: each namespace with its addresses before its listeners, then
 * SYNCED. From then on changes come as they are seen, and SYNCED again after every full poll.
 * Strings are NUL-terminated and valid UTF-8, whatever a process calls itself: other bytes and
 * control characters become U+FFFD, and what is too long is cut.
 */
#pragma once

#include "common/endpoint.h"

#include <stdint.h>

enum {
	INVENTORY_WIRE_VERSION = 1,
	INVENTORY_MAX_ADDRESSES = 512, /* of one namespace; the rest is not told, and said so */
	INVENTORY_MAX_PEERS = 16 * 1024,
	INVENTORY_TEXT_LEN = 256,
	INVENTORY_UNIT_LEN = 128,
	INVENTORY_CONTAINER_LEN = 72,
	INVENTORY_COMMAND_LEN = 16,
	INVENTORY_POLL_MIN_MS = 100,
	INVENTORY_POLL_MAX_MS = 3600 * 1000,
	INVENTORY_TIMEOUT_MIN_MS = 10,
	INVENTORY_TIMEOUT_MAX_MS = 10 * 1000,
};

/* Frame types; from 192, apart from those in daemon/ipc.h (PING and PONG are shared). */
enum inventory_type {
	INVENTORY_REQUEST = 192, /* struct inventory_request */
	INVENTORY_NAMESPACE,     /* struct inventory_namespace: new, its addresses changed, gone */
	INVENTORY_LISTENER,      /* struct inventory_listener */
	INVENTORY_SYNCED,        /* struct inventory_status */
	INVENTORY_PEER,          /* struct inventory_peer; seq as asked */
	INVENTORY_ANSWER,        /* struct inventory_answer; seq as asked; the last to a request */
};

enum inventory_verb {
	INVENTORY_WATCH = 1, /* begin, or go on with another poll_ms; answered, then SYNCED */
	INVENTORY_UNWATCH,   /* look no more; forget everything */
	INVENTORY_PEERS,     /* who is connected to that port now: PEER for each, then ANSWER */
	/* A connection from a namespace of the helper's own, that no exception of the wall knows:
	 * does anybody answer? Nothing is sent or read on it. */
	INVENTORY_CONNECT,
	/* A new TCP socket that lives in that namespace (INVENTORY_VANTAGE: in the helper's own):
	 * travels with the ANSWER. */
	INVENTORY_SOCKET,
	/* By which ports do people log in (logins.h)? PEER for each address and port of the host's
	 * where an SSH server listens or has a connection, then ANSWER. */
	INVENTORY_LOGINS,
};

/* No inode has this number. */
#define INVENTORY_VANTAGE UINT64_MAX

struct inventory_request {
	uint16_t version; /* INVENTORY_WIRE_VERSION */
	uint16_t verb;
	uint16_t port;  /* PEERS, CONNECT: host byte order */
	uint8_t family; /* PEERS, CONNECT, SOCKET */
	uint8_t zero;
	uint8_t address[16]; /* PEERS, CONNECT: as in struct endpoint; PEERS: unspecified for all */
	uint64_t netns;      /* PEERS, SOCKET; else 0 */
	uint32_t poll_ms;    /* WATCH: between full polls where there are no events */
	uint32_t timeout_ms; /* CONNECT */
};
_Static_assert(sizeof(struct inventory_request) == 40, "fixed on the wire");

enum inventory_result {
	INVENTORY_OK = 0,
	INVENTORY_REFUSED,     /* CONNECT: a reset, or an ICMP error, came back */
	INVENTORY_SILENT,      /* CONNECT: nothing came back in time */
	INVENTORY_CONNECTED,   /* CONNECT: somebody answered: the wall is not in the path */
	INVENTORY_NO_ROUTE,    /* CONNECT: it cannot be reached from there; says nothing */
	INVENTORY_UNSUPPORTED, /* CONNECT: there is no namespace of our own; says nothing */
	INVENTORY_MALFORMED,
	INVENTORY_NOT_FOUND, /* that namespace is gone */
	INVENTORY_BUSY,      /* too many at once: ask again */
	INVENTORY_KERNEL,    /* `error` is its errno */
	INVENTORY_CUT,       /* PEERS: told of INVENTORY_MAX_PEERS, and there are more */
};

struct inventory_answer {
	uint16_t version;
	uint16_t result; /* enum inventory_result */
	int32_t error;   /* positive errno with INVENTORY_KERNEL, else 0 */
};

enum inventory_change { INVENTORY_ADDED = 1, INVENTORY_CHANGED, INVENTORY_GONE };

enum inventory_address_flags {
	INVENTORY_ADDRESS_LOOPBACK = 1 << 0,
	INVENTORY_ADDRESS_LINK_LOCAL = 1 << 1, /* IPv6 fe80::/10: means nothing without a zone */
	/* Not the host's own to answer for: of kube-ipvs0 and its like, or put there by keepalived
	 * (IFA_PROTO, Linux 5.18). A wildcard's block leaves it alone. */
	INVENTORY_ADDRESS_SERVICE = 1 << 2,
};

struct inventory_address {
	uint8_t family;
	uint8_t flags;
	uint8_t zero[2];
	uint8_t address[16];
};

/* Only the first `count` addresses are sent: the frame's length says so, too. */
struct inventory_namespace {
	uint16_t version;
	uint8_t change; /* enum inventory_change */
	uint8_t host;   /* 1: the helper's own, the host's */
	uint32_t count;
	uint64_t netns; /* its inode number on nsfs: unique while it lives */
	uint8_t truncated;
	uint8_t zero[7];
	struct inventory_address addresses[INVENTORY_MAX_ADDRESSES];
};

/*
 * One (namespace, bound address, port); sockets that share it by SO_REUSEPORT are one listener. An
 * IPv6 wildcard without v6only takes IPv4 as well. GONE carries the same key.
 */
struct inventory_listener {
	uint16_t version;
	uint8_t change; /* enum inventory_change */
	uint8_t v6only;
	uint16_t port; /* host byte order */
	uint8_t family;
	uint8_t zero;
	uint8_t address[16]; /* as it was bound: 0.0.0.0 or :: for every one of the namespace */
	uint64_t netns;
	int64_t seen_ns;  /* CLOCK_MONOTONIC: of the event, or when the poll that saw it began */
	uint32_t sockets; /* that share it */
	uint32_t uid;     /* of the (first) socket */
	/* Of a process that holds it: who called listen(), when an event told of it, else the
	 * lowest of its namespace; 0: not found. */
	int32_t pid;
	uint32_t zero2;
	char command[INVENTORY_COMMAND_LEN]; /* comm; "" when not known, as the rest */
	char executable[INVENTORY_TEXT_LEN]; /* where /proc/PID/exe points to */
	char cgroup[INVENTORY_TEXT_LEN];     /* path in the unified or the first hierarchy */
	char unit[INVENTORY_UNIT_LEN];       /* "nginx.service"; of systemd, innermost service */
	char container[INVENTORY_CONTAINER_LEN]; /* full id, of docker, containerd, podman, CRI-O */
	char runtime[16];                        /* "docker", "containerd", "podman", "cri-o" */
};

/* LOGINS: not the peer's, but our own. */
struct inventory_peer {
	uint16_t version;
	uint16_t port; /* the peer's */
	uint8_t family;
	uint8_t zero[3];
	uint8_t address[16]; /* the peer's; IPv4-mapped ones as IPv4 */
};

enum inventory_mode { INVENTORY_BY_POLL = 0, INVENTORY_BY_EVENTS };

struct inventory_status {
	uint16_t version;
	uint8_t mode; /* enum inventory_mode */
	uint8_t zero;
	uint32_t namespaces;
	uint32_t listeners;
	uint32_t skipped;    /* namespaces that could not be read in this poll */
	uint64_t polls;      /* full ones */
	uint64_t events;     /* from the tracepoint */
	uint64_t lost;       /* events that the kernel could not deliver; a full poll followed */
	int64_t poll_cpu_ns; /* CPU time of the last full poll */
	char why_no_events[128]; /* "" with INVENTORY_BY_EVENTS */
};

/* Copies a request that is well formed to *out; else returns false and leaves *out alone. */
bool inventory_wire_check(const void *bytes, size_t length, struct inventory_request *out);

/*
 * Is this an address of the namespace that CONNECT comes from: 169.254.213.0/25, or one in
 * fd70:7077:616c::/112? Whoever lists clients leaves us out.
 */
bool inventory_is_vantage(const struct endpoint *e);
