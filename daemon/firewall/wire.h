/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent may ask of the firewall helper. Two fixed sizes, one each way; the version is
 * part of the struct besides that of the frame. The helper believes nothing: it re-checks address,
 * port, rule, timeout, its own protected ports and sources, and its caps, from its own copy of the
 * configuration, and answers every request, with the seq of the frame.
 */
#pragma once

#include "common/endpoint.h"

#include <stdint.h>

enum { FIREWALL_WIRE_VERSION = 1 };

/* Frame types; from 160, apart from those in daemon/ipc.h (PING and PONG are shared). */
enum firewall_type {
	FIREWALL_REQUEST = 160, /* struct firewall_request */
	FIREWALL_REPLY, /* struct firewall_reply; LIST gives one for each block, then the end */
	FIREWALL_EVENT, /* struct firewall_reply, unasked: the ruleset was restored */
};

enum firewall_verb {
	FIREWALL_BLOCK = 1, /* insert, or refresh: the timeout counts from now */
	FIREWALL_UNBLOCK,
	FIREWALL_LIST,
	FIREWALL_PANIC, /* delete the table; refuse BLOCK until RESUME */
	FIREWALL_RESUME,
	FIREWALL_STATUS,
};

enum { FIREWALL_RULE_MANUAL = 0 }; /* rule n > 0 is breaker n - 1 of the configuration */
#define FIREWALL_TIMEOUT_MIN_MS UINT64_C(1000)
#define FIREWALL_TIMEOUT_MAX_MS (UINT64_C(30) * 24 * 3600 * 1000)

struct firewall_request {
	uint16_t version; /* FIREWALL_WIRE_VERSION */
	uint16_t verb;
	uint16_t port; /* host byte order */
	uint8_t family;
	uint8_t zero;
	uint8_t address[16];
	uint32_t rule;
	uint32_t zero2;
	uint64_t generation; /* of the configuration that the rule's number is from */
	uint64_t timeout_ms; /* BLOCK: 1 s .. 30 days; else 0 */
};
_Static_assert(sizeof(struct firewall_request) == 48, "fixed on the wire");

enum firewall_result {
	FIREWALL_OK = 0,
	FIREWALL_MALFORMED, /* wrong size, version, verb, family, or padding not zero */
	FIREWALL_STALE,     /* another generation of the configuration is in force: ask again */
	FIREWALL_BAD_RULE,
	FIREWALL_BAD_ADDRESS, /* unspecified, multicast, broadcast, loopback of others */
	FIREWALL_BAD_TIMEOUT,
	FIREWALL_PROTECTED_PORT,
	FIREWALL_TOO_MANY, /* firewall.max_blocks */
	FIREWALL_TOO_FAST, /* firewall.max_blocks_per_minute */
	FIREWALL_PANICKED,
	FIREWALL_NOT_FOUND, /* UNBLOCK of what is not there */
	FIREWALL_KERNEL,    /* the kernel refused; `error` is its errno */
	FIREWALL_END,       /* end of LIST */
};

struct firewall_reply {
	uint16_t version;
	uint16_t result; /* enum firewall_result */
	uint16_t port;
	uint8_t family;
	uint8_t zero;
	uint8_t address[16];
	uint32_t rule;
	int32_t error;       /* positive errno with FIREWALL_KERNEL, else 0 */
	uint64_t expires_ms; /* LIST, BLOCK: time left in the kernel */
	uint64_t packets;    /* LIST: dropped or refused so far */
	uint64_t bytes;
	uint32_t blocks;          /* now in force (every reply) */
	uint32_t reconciliations; /* times the ruleset was restored (every reply) */
	uint8_t persist;          /* the table is owned and persistent (every reply) */
	uint8_t panicked;         /* (every reply) */
	uint8_t zero2[6];
};
_Static_assert(sizeof(struct firewall_reply) == 72, "fixed on the wire");

/* One line for people: "the port is protected", ... (library pw_firewall_wire) */
const char *firewall_result_text(enum firewall_result result);

/*
 * Is this a well-formed request: size, version, verb, family, and zero wherever the verb has no use
 * for a field? Judges the form only, not what is asked. Pure. Returns FIREWALL_OK and copies the
 * request to *out, or FIREWALL_MALFORMED and leaves *out alone.
 */
enum firewall_result firewall_wire_check(const void *bytes, size_t length,
                                         struct firewall_request *out);
