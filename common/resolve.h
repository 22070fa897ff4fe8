/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names to addresses, for the sender (whose answers the agent lives on) and the command line. evdns
 * on the event loop, from /etc/resolv.conf and /etc/hosts, which are read when the resolver is made
 * or reloaded and not after; each question has a deadline, and their number is bounded, so that a
 * server which hangs holds nothing else up. Loop's thread only.
 */
#pragma once

#include "common/endpoint.h"

#include <event2/event.h>

enum {
	RESOLVE_MAX_QUESTIONS = 256, /* at once, unless resolver_set_bulk() says more */
	RESOLVE_BULK_QUESTIONS = 1024,
	RESOLVE_DEADLINE_MS = 5000,
	RESOLVE_MAX_ADDRESSES = 32,
	RESOLVE_TTL_MIN_S = 5,    /* a TTL of 0 is no reason to ask all the time... */
	RESOLVE_TTL_MAX_S = 3600, /* ...nor one of a week to believe it for so long */
};

struct resolver;
struct resolve_question;

struct resolve_answer {
	/* 0; -ENOENT: no such name; -ETIMEDOUT; -ENODATA: the name has no address; -EIO: the
	 * resolver failed (resolver_ask() does not tell these two apart, and says -EIO) */
	int error;
	size_t count;
	/* These two of resolver_ask_ttl(): */
	uint32_t ttl_s;         /* how long it holds; 0: not known, as of /etc/hosts */
	sa_family_t unanswered; /* AF_INET or AF_INET6: of that family nothing was learnt; or 0 */
	struct endpoint addresses[RESOLVE_MAX_ADDRESSES]; /* port 0, each one once */
};

/* The question is gone when this returns. It may ask again. `token` is as it was given. */
typedef void resolve_done_cb(const struct resolve_answer *answer, uint64_t token, void *arg);

/*
 * Returns 0, or -ENOMEM. Without a usable resolv.conf questions go to 127.0.0.1. It also silences
 * evdns, for the whole process.
 */
int resolver_new(struct event_base *base, struct resolver **out);
/*
 * For lists of names, many of them dead: RESOLVE_BULK_QUESTIONS at once, and a server is not taken
 * for dead since it does not answer for some of them.
 */
void resolver_set_bulk(struct resolver *r);
/* Questions under way are dropped without a callback. It takes a turn of the loop. */
void resolver_free(struct resolver *r);
/* Reads resolv.conf and hosts again; questions under way go on. */
void resolver_reload(struct resolver *r);

/*
 * Asks for A and AAAA; a numeric address is answered as it is. The callback comes from the loop,
 * never from within this call. Returns 0, -EAGAIN when there are too many questions, -ENOMEM.
 */
int resolver_ask(struct resolver *r, const char *name, resolve_done_cb *done, uint64_t token,
                 void *arg, struct resolve_question **out);
/*
 * As above, and says how long the answer holds: the least TTL of its records, within
 * RESOLVE_TTL_MIN_S..RESOLVE_TTL_MAX_S. /etc/hosts comes before DNS here, too.
 */
int resolver_ask_ttl(struct resolver *r, const char *name, resolve_done_cb *done, uint64_t token,
                     void *arg, struct resolve_question **out);
/* No callback after this. NULL is allowed. */
void resolve_cancel(struct resolve_question *q);

/*
 * The other way round: the name of an address, by PTR; /etc/hosts is not asked. `name` is as the
 * server sent it, for whoever owns the address to choose: check it before anybody sees it. NULL:
 * there is none, or nobody said. It comes from the loop, or never, when the resolver is freed.
 */
typedef void resolve_name_cb(const char *name, uint64_t token, void *arg);
/* Returns 0, -EAGAIN when there are too many questions, -ENOMEM. */
int resolver_ask_name(struct resolver *r, const struct endpoint *address, resolve_name_cb *done,
                      uint64_t token, void *arg);

/* An answer's error, or resolver_ask()'s, in words for people: "no such name". */
const char *resolve_strerror(int error);
