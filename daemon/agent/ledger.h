/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who connects to the endpoints that are, or might be, closed: a page for each endpoint, a line
 * for each peer. It takes what is told from two sides: who is connected at a moment (sock_diag),
 * and who has opened connections since (the counting set in nftables). No I/O; times are wall
 * clock, milliseconds, and passed in. Loop's thread.
 *
 * Everything is bounded, since anybody may connect, and an address in an opening packet may be
 * forged: a peer that finds no room is counted, not listed; one that has a connection takes the
 * place of one that was never seen to have one.
 */
#pragma once

#include "common/endpoint.h"

enum {
	LEDGER_MAX_PAGES = 4096,
	LEDGER_MAX_PEERS = 1024,      /* of one page */
	LEDGER_MAX_PEERS_ALL = 16384, /* of all */
};

struct ledger_peer {
	struct endpoint address; /* port 0 */
	int64_t first_ms, last_ms;
	uint64_t connections;  /* opened, as far as they were counted */
	uint64_t kernel_count; /* of these, what the counting set said last */
	bool connected;        /* when somebody looked last */
	bool was_connected;    /* ever: no forged address */
	char *name;            /* owned; by reverse DNS; NULL: none */
	int64_t named_ms;      /* when it was asked for last; 0: not yet */
};

struct ledger_page {
	struct endpoint endpoint;
	int64_t since_ms;          /* observed since then */
	struct ledger_peer *peers; /* ordered by address */
	size_t count, room;
	bool truncated;    /* who is connected was more than could be told at the last look */
	uint64_t unlisted; /* peers for which there was no room, each time they were told of */
	bool changed;      /* since ledger_page_saved(): somebody new... */
	bool counted;      /* ...or counts and times alone */
	int64_t saved_ms;

	/* the talk with the helpers (impact.c), CLOCK_MONOTONIC */
	bool wanted;       /* exposed, or blocked; else kept for a while */
	int64_t left_ms;   /* no longer wanted since then */
	int64_t told_ms;   /* when the counting set was told of it last; 0: not yet */
	int64_t looked_ms; /* when was asked last who is connected; 0: not yet */
};

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);

struct ledger_page *ledger_find(const struct ledger *l, const struct endpoint *e);
/* Finds, or begins a page; NULL when there are LEDGER_MAX_PAGES, or memory is out. */
struct ledger_page *ledger_open(struct ledger *l, const struct endpoint *e, int64_t now_ms);
void ledger_close(struct ledger *l, const struct endpoint *e);
/* In order of endpoints; closing shifts those behind. */
size_t ledger_count(const struct ledger *l);
struct ledger_page *ledger_at(const struct ledger *l, size_t i);
size_t ledger_peers(const struct ledger *l); /* on all pages */

/* The counting set: `connections` since it began to count this peer, the last at last_ms. */
void ledger_note_opened(struct ledger *l, struct ledger_page *page, const struct endpoint *peer,
                        uint64_t connections, int64_t last_ms);
/* A look at who is connected: begin, then each. One peer may have several connections. */
void ledger_begin_look(struct ledger_page *page);
void ledger_note_connected(struct ledger *l, struct ledger_page *page, const struct endpoint *peer,
                           int64_t now_ms);
/* As it was saved; the name is not. */
void ledger_restore(struct ledger *l, struct ledger_page *page, const struct ledger_peer *peer);

struct ledger_peer *ledger_find_peer(const struct ledger_page *page, const struct endpoint *peer);
/* Replaces the name; NULL: there is none. */
void ledger_set_name(struct ledger_peer *peer, const char *name, int64_t now_ms);

/*
 * The page's peers as text, and back: a JSON array of [address, first, last, connections, counted
 * by the kernel, was connected]. What does not read is left out. malloc()ed, or NULL.
 */
char *ledger_format_peers(const struct ledger_page *page);
void ledger_parse_peers(struct ledger *l, struct ledger_page *page, const char *text,
                        int64_t shift_ms);
/* It has been written as it is now. */
void ledger_page_saved(struct ledger_page *page, int64_t now_ms);
