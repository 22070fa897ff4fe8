/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent may ask of the firewall helper. Fixed sizes, but for two lists of fixed entries;
 * the version is part of the structs besides that of the frame. The helper believes nothing: it
 * re-checks address, port, rule, timeout, its own protected ports and sources, and its caps, from
 * its own copy of the configuration, and answers every request, with the seq of the frame.
 */
#pragma once

#include "common/endpoint.h"
#include "common/prefix.h"

#include <stdint.h>

enum { FIREWALL_WIRE_VERSION = 3 };

/* Frame types; from 160, apart from those in daemon/ipc.h (PING and PONG are shared). */
enum firewall_type {
	FIREWALL_REQUEST = 160, /* struct firewall_request, or up to FIREWALL_AT_ONCE BLOCKs */
	/*
	 * 1 .. FIREWALL_AT_ONCE of struct firewall_reply: those to the requests of one frame in
	 * their order; LIST gives one for each block, then the end.
	 */
	FIREWALL_REPLY,
	FIREWALL_EVENT, /* struct firewall_reply, unasked: the ruleset was restored */
	FIREWALL_ALLOW, /* struct firewall_allow and its entries; answered by FIREWALL_REPLY */
	FIREWALL_PEERS, /* 1 .. FIREWALL_PEERS_MAX of struct firewall_peer, to LEDGER_LIST */
};

enum firewall_verb {
	FIREWALL_BLOCK = 1, /* insert, or refresh: the timeout counts from now */
	FIREWALL_UNBLOCK,
	FIREWALL_LIST,
	FIREWALL_PANIC, /* delete the table; refuse BLOCK until RESUME */
	FIREWALL_RESUME,
	FIREWALL_STATUS,
	/*
	 * The ledger counts who opens connections to an endpoint, blocked or not, whatever the
	 * mode. ADD and REMOVE of an endpoint; ADD again makes FIREWALL_LEDGER_MS count anew, after
	 * which it is forgotten. LIST, of one endpoint or of all, is answered with FIREWALL_PEERS
	 * as often as needed, then FIREWALL_REPLY with FIREWALL_END (or FIREWALL_KERNEL).
	 */
	FIREWALL_LEDGER_ADD,
	FIREWALL_LEDGER_REMOVE,
	FIREWALL_LEDGER_LIST,
};

enum {
	FIREWALL_AT_ONCE = 512,            /* in one frame */
	FIREWALL_ALLOW_MAX = 3000,         /* entries of one rule: what fits in a frame */
	FIREWALL_LEDGER_MAX = 4096,        /* endpoints that are counted at once */
	FIREWALL_LEDGER_PEERS_MAX = 65536, /* peers that are remembered, for each family */
	FIREWALL_PEERS_MAX = 512,          /* in one frame */
};
/* After the helper's start; then a restored block counts as new. */
enum { FIREWALL_RESTORE_MS = 60 * 1000 };
/* A peer is forgotten so long after its last connection. */
#define FIREWALL_LEDGER_MS (UINT64_C(30) * 24 * 3600 * 1000)

enum { FIREWALL_RULE_MANUAL = 0 }; /* rule n > 0 is breaker n - 1 of the configuration */
/* In replies: of a breaker that is no longer in the configuration. */
#define FIREWALL_RULE_ORPHAN    UINT32_MAX
#define FIREWALL_TIMEOUT_MIN_MS UINT64_C(1000)
#define FIREWALL_TIMEOUT_MAX_MS (UINT64_C(30) * 24 * 3600 * 1000)

struct firewall_request {
	uint16_t version; /* FIREWALL_WIRE_VERSION */
	uint16_t verb;
	uint16_t port; /* host byte order */
	uint8_t family;
	uint8_t fallback; /* BLOCK: 1: a rule that filters and falls back to drop does that; 0 */
	uint8_t address[16];
	uint32_t rule;
	uint8_t
	    restored; /* BLOCK: 1: the agent's state has it as one that stood before the start; 0 */
	uint8_t zero2[3];
	uint64_t generation; /* of the configuration that the rule's number is from */
	uint64_t timeout_ms; /* BLOCK: 1 s .. 30 days; else 0 */
};
_Static_assert(sizeof(struct firewall_request) == 48, "fixed on the wire");

struct firewall_prefix {
	uint8_t family;
	uint8_t bits;
	uint8_t zero[2];
	uint8_t address[16]; /* bits beyond `bits` are zero */
};
_Static_assert(sizeof(struct firewall_prefix) == 20, "fixed on the wire");

/*
 * ALLOW: whom the files and names in a rule's allow_from stand for at present; replaces what was
 * said of the rule before, and stays until then, also over configurations that keep the rule. Not
 * answered with OK for a rule that has neither (conf_breaker.allow_dynamic).
 */
struct firewall_allow {
	uint16_t version;
	uint16_t zero;
	uint32_t rule;
	uint64_t generation;
	uint32_t count; /* of struct firewall_prefix that follow, 0 .. FIREWALL_ALLOW_MAX */
	uint32_t zero2;
};
_Static_assert(sizeof(struct firewall_allow) == 24, "fixed on the wire");

/* One who has opened connections to an endpoint of the ledger. */
struct firewall_peer {
	uint16_t version;
	uint16_t port; /* of the endpoint, host byte order */
	uint8_t family;
	uint8_t zero[3];
	uint8_t address[16]; /* of the endpoint */
	uint8_t peer[16];
	uint64_t connections; /* opening packets: one that nobody answers comes several times */
	uint64_t idle_ms;     /* since the last one */
	uint64_t expires_ms;  /* until it is forgotten */
};
_Static_assert(sizeof(struct firewall_peer) == 64, "fixed on the wire");

enum firewall_result {
	FIREWALL_OK = 0,
	FIREWALL_MALFORMED, /* wrong size, version, verb, family, or padding not zero */
	FIREWALL_STALE,     /* another generation of the configuration is in force: ask again */
	FIREWALL_BAD_RULE,
	FIREWALL_BAD_ADDRESS, /* unspecified, multicast, broadcast, loopback of others */
	FIREWALL_BAD_TIMEOUT,
	FIREWALL_PROTECTED_PORT,
	FIREWALL_TOO_MANY, /* firewall.max_blocks; LEDGER_ADD: FIREWALL_LEDGER_MAX */
	FIREWALL_TOO_FAST, /* firewall.max_blocks_per_minute */
	FIREWALL_PANICKED,
	FIREWALL_NOT_FOUND, /* UNBLOCK or LEDGER_REMOVE of what is not there */
	FIREWALL_KERNEL,    /* the kernel refused; `error` is its errno */
	FIREWALL_END,       /* end of LIST, LEDGER_LIST */
};

struct firewall_reply {
	uint16_t version;
	uint16_t result; /* enum firewall_result */
	uint16_t port;
	uint8_t family;
	uint8_t fallback; /* LIST: as it was asked for */
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
	uint8_t zero2[2];
	uint32_t recent; /* STATUS: new blocks of the last minute, of max_blocks_per_minute */
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

/*
 * The same for a frame of one or more BLOCKs. Returns how many were copied to `out`, or 0: it is no
 * such frame.
 */
size_t firewall_wire_read_blocks(const void *bytes, size_t length,
                                 struct firewall_request out[static FIREWALL_AT_ONCE]);
/*
 * The same for ALLOW: size, version, count, and every entry a prefix of one family without bits
 * beyond its length. Copies the head to *out, and the entries to `entries`, as written: not sorted,
 * not simplified.
 */
enum firewall_result firewall_wire_check_allow(const void *bytes, size_t length,
                                               struct firewall_allow *out,
                                               struct prefix entries[static FIREWALL_ALLOW_MAX]);
/* One entry, written. */
struct firewall_prefix firewall_prefix_from(const struct prefix *p);
