/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A finding: what one endpoint showed to one vantage point at one moment. The same JSON object,
 * one a line, is the scanner's NDJSON output, the prober's answer to the agent, and what alerts
 * carry. Strings are valid UTF-8 whatever a server sent; lengths are capped here, since a finding
 * is made from hostile bytes and read by a process that is not sandboxed.
 *
 * A struct finding owns its strings and lists; finding_init() / finding_fini(). Any thread, one
 * finding at a time in one thread.
 */
#pragma once

#include "common/endpoint.h"

#include <jansson.h>

enum finding_verdict {
	VERDICT_ERROR = 0, /* the probe itself failed: TLS, protocol, our own fault */
	VERDICT_CONFIRMED,
	VERDICT_LIKELY,
	VERDICT_PROTECTED, /* 401 or 403, and it is there */
	VERDICT_UNKNOWN,   /* everything is behind authentication */
	VERDICT_CLEAR,     /* answers, no profiling */
	VERDICT_CLOSED,    /* connection refused */
	VERDICT_FILTERED,  /* no answer to the connection attempt, or an ICMP error */
	VERDICT_COUNT
};

enum finding_severity {
	SEVERITY_NONE = 0,
	SEVERITY_INFO,   /* protected */
	SEVERITY_LOW,    /* expvar and relatives */
	SEVERITY_MEDIUM, /* an index or some profiles */
	SEVERITY_HIGH,   /* stacks, memory or command line readable, or a profile can be started */
	SEVERITY_COUNT
};

enum {
	FINDING_SCHEMA = 1,
	FINDING_LIST_MAX = 64,          /* items in evidence, profiles, command */
	FINDING_STRING_MAX_BYTES = 512, /* any string; longer ones are cut at a character */
	FINDING_JSON_MAX_BYTES = 48 * 1024,
};

/* Most findings have little to list: they are moved about by the thousand, and must be small. */
struct finding_list {
	char **items; /* NULL, or room for more than count */
	size_t count;
};

struct finding {
	int64_t time_ms; /* wall clock, milliseconds since the epoch */
	char *scan_id;   /* NULL where there is none */
	char *vantage;   /* local address the probe came from; NULL when never connected */
	struct endpoint endpoint;
	char *host;   /* the name asked for (Host, SNI); NULL when it was the address */
	char *scheme; /* "http" or "https"; NULL when nothing answered */
	char *path;   /* the prefix that answered, e.g. "/debug/pprof/" */
	enum finding_verdict verdict;
	enum finding_severity severity;
	bool high_risk; /* goroutine?debug=2 is readable, or provably reachable */
	char *kind; /* "go-pprof", or the relative's or lookalike's name; NULL when there is nothing
	               to name */
	struct finding_list evidence;
	struct finding_list profiles;
	int status; /* HTTP status of the index request, 0 when there was none */
	char *go_version;
	char *module;
	char *program;                     /* a product's name, or that of the executable */
	struct finding_list identified_by; /* how each was known: "program=cmdline", ... */
	struct finding_list relatives;     /* other debug pages that answered: "expvar", ... */
	struct finding_list serves;        /* besides profiling: "metrics", "api", "ui" */
	char *advice;                      /* what to do about it, one or two sentences */
	char *signatures;                  /* version of the signatures that were used */
	struct finding_list labels;        /* of the target, by the user: "team=payments" */
	char *accepted; /* the user lives with it: "SEC-4711: reason (owner, until 2026-12-31)" */
	struct finding_list command; /* redacted unless the user asked otherwise */
	char *error;                 /* why, for error and filtered; NULL otherwise */
	bool
	    timed_out; /* that error is a deadline's, of a connection that there was; not written */
	int64_t latency_ms; /* first request: start to last byte; -1 when nothing answered */
	int64_t bytes;      /* decoded body bytes read from this endpoint, all requests */
};

void finding_init(struct finding *f);
void finding_fini(struct finding *f);

/*
 * Replace a string, or append to a list: the text is cut to FINDING_STRING_MAX_BYTES, and bytes
 * that are not UTF-8 or are control characters become U+FFFD. Return 0, -ENOMEM, or -ENOSPC for a
 * list that is full.
 */
int finding_set(char **slot, const char *text);
int finding_set_bytes(char **slot, const void *bytes, size_t length);
int finding_list_add(struct finding_list *list, const void *bytes, size_t length);
bool finding_list_has(const struct finding_list *list, const char *text);
/* Appends without looking; on success the text, from malloc(), is the list's. */
int finding_list_give(struct finding_list *list, char *text);
void finding_list_fini(struct finding_list *list);

const char *finding_verdict_name(enum finding_verdict verdict);
const char *finding_severity_name(enum finding_severity severity);
/* Return 0 or -EINVAL. */
int finding_verdict_parse(const char *name, enum finding_verdict *out);
int finding_severity_parse(const char *name, enum finding_severity *out);

/* Exposed: something profiling-like is readable (confirmed or likely, severity >= floor). */
bool finding_is_exposed(const struct finding *f, enum finding_severity floor);

/* A new JSON object (caller's reference), or NULL when memory is out. */
json_t *finding_to_json(const struct finding *f);
/* One line, no newline; at most FINDING_JSON_MAX_BYTES. malloc()ed, or NULL when memory is out. */
char *finding_to_line(const struct finding *f);
/*
 * Reads a finding strictly: every key known, right type, within the caps above, endpoint equal to
 * address and port. Unknown keys are ignored only when the schema is newer. On failure *out is
 * untouched and `why` says what is wrong. Returns 0, -EINVAL or -ENOMEM.
 */
int finding_from_json(const json_t *object, struct finding *out, char why[static 128]);
int finding_from_line(const char *line, size_t length, struct finding *out, char why[static 128]);
