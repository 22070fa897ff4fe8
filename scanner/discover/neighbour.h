/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table of link addresses, of constant size: who is being asked, who has answered, who is
 * silent. Pure: questions go out by a function of the caller's, time is passed in. One thread.
 */
#pragma once

#include "common/siphash.h"
#include "scanner/discover/neighbour_packet.h"

enum {
	NEIGHBOUR_SLOTS = 65536,
	NEIGHBOUR_ASKED_MAX = 4096, /* at once */
	NEIGHBOUR_TRIES = 4,        /* 2.5 seconds in all; see neighbour.c */
};

/* No padding: compared and hashed as bytes. */
struct neighbour_key {
	uint32_t ifindex;
	uint16_t family;
	uint16_t zero;
	uint8_t address[16]; /* IPv4: four bytes, the rest is zero */
};

struct neighbours;

/* Sends the question, or returns false: not now. `asker` is as given to neighbours_find(). */
typedef bool neighbours_ask_fn(void *context, const struct neighbour_key *key, uint32_t asker);

/* 0 or -ENOMEM. */
int neighbours_new(const struct siphash_key *hash, neighbours_ask_fn *ask, void *context,
                   struct neighbours **out);
void neighbours_free(struct neighbours *n);

/*
 * What the kernel knows already; it is asked for again when it is used after fresh_until_ns.
 * `permanent`: an administrator said so, it is never asked for.
 */
void neighbours_put(struct neighbours *n, const struct neighbour_key *key,
                    const uint8_t mac[static MAC_LEN], bool permanent, int64_t fresh_until_ns);

struct neighbour_use {
	uint32_t asker;  /* the caller's, to know as whom it asks */
	bool is_gateway; /* never evicted, asked for again every minute, given up late */
	uint32_t *slot;  /* NULL, or where it was last time: saves the search */
};

/*
 * 0 and the address, which is good until the next call; -EINPROGRESS: is being asked for, or too
 * many are; -EHOSTUNREACH: is silent. One that is known stays so while it is asked for again.
 */
int neighbours_find(struct neighbours *n, const struct neighbour_key *key,
                    const struct neighbour_use *use, int64_t now_ns, const uint8_t **mac);
/* Returns whether it was asked for. */
bool neighbours_answer(struct neighbours *n, const struct neighbour_key *key,
                       const uint8_t mac[static MAC_LEN], int64_t now_ns);
/* Asks again, or gives up, where it is time to. */
void neighbours_turn(struct neighbours *n, int64_t now_ns);

/* How many were given up, and are being asked for now. */
uint64_t neighbours_silent(const struct neighbours *n);
size_t neighbours_asked(const struct neighbours *n);
