/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files and names in allow_from stand for at present, and which rule needs which of them.
 * Files are read here, and again when they change; names are resolved elsewhere (the sender), and
 * again when their TTL is over. A source that fails, or that says nobody, keeps what it said last:
 * a DNS server or a deployment that breaks must not cut the monitoring. People are told.
 * Loop's thread.
 */
#pragma once

#include "common/prefix.h"
#include "conf/conf.h"
#include "daemon/ipc.h"

#include <event2/event.h>

enum {
	ALLOW_ERROR_LEN = 512,
	ALLOW_RETRY_MS = 5 * 1000,    /* after a failure */
	ALLOW_NO_TTL_MS = 60 * 1000,  /* of /etc/hosts, and how often files are looked at */
	ALLOW_TELL_AFTER = 3,         /* failures in a row of a name; packets do get lost */
	ALLOW_PATIENCE_MS = 7 * 1000, /* see allow_is_settled() */
	ALLOW_RULE_MAX = 3000,        /* prefixes of one rule, as FIREWALL_ALLOW_MAX */
};

/* In the tokens of questions about names, beside those of targets. */
#define ALLOW_TOKEN (UINT64_C(1) << 63)

enum allow_state {
	ALLOW_UNKNOWN = 0, /* it has never said anybody */
	ALLOW_GOOD,
	ALLOW_STALE, /* its last answer failed; the one before is in force */
	ALLOW_STATE_COUNT
};
const char *allow_state_name(enum allow_state state);

/* One file or name, shared by all rules that have it. */
struct allow_source {
	char *text; /* "@/etc/pprofwall/scrapers.txt", "prometheus.example" */
	bool is_file;
	struct prefix *good; /* what it said last; sorted, disjoint */
	size_t n_good;
	int64_t good_wall_ms;        /* when */
	unsigned failures;           /* since then, in a row */
	bool told;                   /* of these */
	bool tried;                  /* it has answered, or failed to, since it was configured */
	char error[ALLOW_ERROR_LEN]; /* of the last failure; "" after a good answer */
	int64_t due_ms;              /* monotonic: when to ask or look again */
	struct allow_file *file;     /* NULL for a name */
};

struct allow;

struct allow_handlers {
	/* The rule's list is another one. */
	void (*changed)(unsigned rule, void *arg);
	/* A source said something new that is to be remembered. */
	void (*learnt)(const struct allow_source *source, void *arg);
	/* To be told to people, once: it fails (source->error), or does not any more. */
	void (*failed)(const struct allow_source *source, void *arg);
	void (*recovered)(const struct allow_source *source, void *arg);
	void *arg;
};

int allow_new(struct event_base *base, const struct allow_handlers *handlers, struct allow **out);
void allow_free(struct allow *al);

/*
 * Before a configuration is taken: reads every file it names. Returns 0, or -errno with one line
 * in `error` that says where the file is named and what is wrong with it.
 */
int allow_check(const struct conf *conf, const char *config_path,
                char error[static CONF_ERROR_LEN]);
/*
 * Takes over the sources of `conf`; what those that stay said last is good until they say
 * otherwise. Files are read at once, names asked with the next allow_ask_due(). No handler but
 * failed() and learnt() is called. Returns 0 or -ENOMEM.
 */
int allow_configure(struct allow *al, const struct conf *conf, int64_t now_ms);
/* What a source said before the restart, unless it has said something since. */
void allow_restore(struct allow *al, const char *text, const struct prefix *list, size_t count,
                   int64_t good_wall_ms);

/* Calls `ask` for each name whose time has come, and looks at files. To be called about always. */
void allow_ask_due(struct allow *al, int64_t now_ms,
                   int (*ask)(const char *name, uint64_t token, void *arg), void *arg);
/* An answer, by a token that has ALLOW_TOKEN. */
void allow_take_answer(struct allow *al, uint64_t token, const struct ipc_addresses *answer,
                       int64_t now_ms);

/*
 * What all files and names of a rule stand for: a malloc()ed list, sorted and disjoint, of *count
 * <= ALLOW_RULE_MAX. Returns 0 or -ENOMEM. For a rule without any, the list is empty.
 */
int allow_merge(const struct allow *al, unsigned rule, struct prefix **out, size_t *count);

/*
 * May a first block of this rule go in, as far as its sources go? Not before each of them has
 * answered, or failed to, or is known from before: else the scrapers that it names would be cut
 * until it has. No longer than ALLOW_PATIENCE_MS.
 */
bool allow_is_settled(const struct allow *al, unsigned rule, int64_t now_ms);

bool allow_has_source(const struct allow *al, const char *text);
size_t allow_source_count(const struct allow *al);
const struct allow_source *allow_source_at(const struct allow *al, size_t i);
enum allow_state allow_source_state(const struct allow_source *source);
bool allow_rule_has(const struct allow *al, unsigned rule, size_t i);
