/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's configuration: one YAML document read against one schema table (conf_schema.c).
 * A struct conf is immutable once loaded and owns everything it points to. Loading opens no file
 * or socket and resolves no name: the caller brings the bytes. Any thread.
 */
#pragma once

#include "common/cleanup.h"
#include "common/endpoint.h"
#include "common/finding.h"
#include "common/prefix.h"

#include <stdio.h>

enum {
	CONF_MAX_BYTES = 1024 * 1024, /* a larger file is an error, not a long wait */
	CONF_NAME_MAX_LEN = 63,       /* names of breakers and alerts: [A-Za-z0-9_.-] */
	CONF_MAX_BREAKERS = 255,
	CONF_MAX_ALERTS = 64,
	CONF_MAX_PREFIXES = 4096, /* in one list */
	CONF_MAX_SOURCES = 64,    /* files, and names, in one allow_from */
	CONF_MAX_TARGETS = 65536,
	CONF_MAX_MATCHES = 1024, /* in one list of a match */
	CONF_MAX_PATHS = 256,    /* in one list of a filter */
	CONF_PATH_MAX_LEN = 255, /* of one of them */
	CONF_URL_MAX_LEN = 2048,
	CONF_SECRET_MAX_LEN = 1024,
	CONF_MAX_HEADERS = 32,
	CONF_HEADER_MAX_LEN = 2048, /* with its name */
	CONF_COMMAND_MAX_WORDS = 32,
	CONF_MAX_RECIPIENTS = 32,
	CONF_ERROR_LEN = 512,
};

enum conf_mode { CONF_MODE_OBSERVE = 0, CONF_MODE_ENFORCE };
enum conf_action { CONF_ACTION_DROP = 0, CONF_ACTION_ALERT, CONF_ACTION_FILTER };
enum conf_refuse { CONF_REFUSE_RESET = 0, CONF_REFUSE_DROP };
enum conf_on_stop { CONF_ON_STOP_KEEP = 0, CONF_ON_STOP_REMOVE };
enum conf_persist { CONF_PERSIST_AUTO = 0, CONF_PERSIST_OFF };
/* The schema takes a type when the sender has a driver for it. */
enum conf_alert_type {
	CONF_ALERT_WEBHOOK = 0,
	CONF_ALERT_ALERTMANAGER,
	CONF_ALERT_SMTP,
	CONF_ALERT_SLACK,
	CONF_ALERT_PAGERDUTY,
	CONF_ALERT_SYSLOG,
	CONF_ALERT_JOURNALD,
	CONF_ALERT_EXEC,
	CONF_ALERT_TYPES
};

enum conf_starttls { CONF_STARTTLS_REQUIRE = 0, CONF_STARTTLS_OFF };

/* Where something stands in the file; line and column count from 1. */
struct conf_mark {
	unsigned line;
	unsigned column;
};

struct conf_prefixes {
	struct prefix *items; /* as written; not simplified */
	size_t count;
};

struct conf_strings {
	char **items;
	struct conf_mark *marks; /* one for each item, for errors found later */
	size_t count;
};

/* What a list of addresses holds beside them; others find out what they stand for. */
struct conf_sources {
	struct conf_strings files; /* absolute paths, without the '@' */
	struct conf_strings names; /* DNS names, as written */
};

struct conf_ports {
	uint16_t *items;
	size_t count;
};

/* Which endpoints a breaker is for; an empty list, and CONF_LOOPBACK_ANY, ask nothing. */
/* Whose listeners are asked through sockets made in their own network namespace. */
enum conf_inside { CONF_INSIDE_NONE = 0, CONF_INSIDE_CONTAINERS, CONF_INSIDE_ALL };
enum conf_loopback { CONF_LOOPBACK_ANY = 0, CONF_LOOPBACK_ONLY, CONF_LOOPBACK_NEVER };

struct conf_match {
	struct conf_strings ports; /* numbers, ranges or list names */
	struct conf_prefixes addresses;
	struct conf_strings process;   /* globs: of comm, the executable's name, or its path */
	struct conf_strings unit;      /* globs */
	struct conf_strings container; /* "any", "none", or the beginning of an id */
	struct conf_strings user;      /* names or numbers; not resolved yet */
	struct conf_strings verdict;   /* "confirmed", "likely" */
	enum conf_loopback loopback;   /* of listeners that only the host itself reaches */
};

enum conf_on_opaque { CONF_ON_OPAQUE_DROP = 0, CONF_ON_OPAQUE_PASS };
enum conf_on_failure { CONF_ON_FAILURE_CLOSED = 0, CONF_ON_FAILURE_OPEN };

/* What a rule that filters does with requests (docs/filter.md). */
struct conf_filter {
	/*
	 * Prefixes of decoded paths, whole segments, without a slash at their end unless it is all
	 * of it. What `deny` names is denied below what `allow` names, unless it is the other way
	 * about: the longer one wins.
	 */
	struct conf_strings deny;        /* none: every one that the signatures know */
	struct conf_strings allow;       /* if there are any, nothing else is served */
	enum conf_on_opaque on_opaque;   /* what cannot be read: TLS, HTTP/2 */
	enum conf_on_failure on_failure; /* no filter process, or one that does not answer */
	enum conf_action fallback; /* of an endpoint that speaks TLS: CONF_ACTION_ALERT or _DROP */
	int64_t drain_ms;          /* connections from before may go on for so long */
};

struct conf_breaker {
	char *name;
	bool standing;             /* of `filters`: in force whatever the probes find */
	struct conf_filter filter; /* of CONF_ACTION_FILTER */
	struct conf_match match;
	unsigned trip_after;         /* exposed probes that open, of the last trip_window; 1..64 */
	unsigned trip_window;        /* trip_after..64; default trip_after */
	int64_t confirm_interval_ms; /* between probes that confirm an exposure or a cure */
	int64_t open_for_ms;         /* open to half-open */
	unsigned close_after;        /* consecutive clean probes that close */
	int64_t remind_every_ms;     /* 0: never */
	int64_t unknown_after_ms;    /* open and unreachable for so long: alert `unknown` */
	enum finding_severity severity; /* the least that counts as exposed */
	enum conf_action action;
	bool seal_local;                   /* cut host-local clients too */
	bool whole_port;                   /* block it even if it serves more than profiling */
	enum conf_refuse refuse;           /* how a client that may not connect is told */
	struct conf_prefixes allow_from;   /* what it says by address... */
	struct conf_sources allow_sources; /* ...and by file and name */
	bool allow_dynamic; /* allow_from has files or names: the agent says what they stand for */
};

struct conf_alert {
	char *name;
	enum conf_alert_type type;
	/*
	 * Secrets: each stands in the file itself, in a file of its own, or in a systemd credential
	 * of that name. Only the sender reads the latter two, and puts the value in the first.
	 * What conf_forget_secrets() has wiped is "".
	 */
	char *url, *url_file, *url_credential;
	char *secret, *secret_file, *secret_credential; /* signs, or says who we are: see type */
	struct conf_strings headers;                    /* "Name: value" */
	char *headers_file, *headers_credential;        /* one a line */
	struct conf_mark url_at, secret_at, headers_at; /* headers_at: of the latter two */
	char *ca_file, *cert_file, *key_file;           /* PEM; absolute paths, or NULL */
	struct conf_mark ca_at, cert_at, key_at;
	int64_t refresh_ms; /* of Alertmanagers: between repetitions of what is still open */
	char *user, *from;  /* smtp; user: NULL for none */
	struct conf_strings to;
	struct conf_mark user_at, from_at;
	enum conf_starttls starttls; /* of smtp:// */
	unsigned facility;           /* syslog: 0..23 */
	struct conf_strings command; /* exec: the program and its arguments */
	char *subject, *text;        /* common/template.h; NULL: the type's own */
	int64_t timeout_ms;          /* one attempt, in all */
	int64_t give_up_after_ms;
	int64_t group_wait_ms;   /* 0: events go at once... */
	unsigned max_per_minute; /* ...and one by one, if this is 0, too: no limit */
	/* What it is told of: all that is given must fit, an empty list asks nothing. */
	struct conf_match match; /* of endpoints; says nothing of user, verdict and loopback */
	struct conf_strings events;
	enum finding_severity severity; /* the least */
	/* When. */
	struct conf_strings quiet_hours;    /* see conf_quiet.h */
	enum finding_severity quiet_except; /* the least that is told all the same */
	int64_t escalate_after_ms; /* only what is open, and nobody's, for so long; 0: at once */
};

struct conf {
	enum conf_mode mode;
	unsigned enforce_percent; /* of hosts, see conf_rollout.h */
	char *enforce_salt;
	struct {
		unsigned draw;  /* this host's, in hundredths of a percent */
		bool held_back; /* the file says enforce; `mode` says observe */
	} rollout;              /* conf_rollout_apply(); not of the file */
	struct {
		struct conf_strings
		    targets; /* "10.91.0.2:9100", "10.0.0.0/28", "[::1]:6060", "name:80" */
		struct conf_strings
		    ports;      /* for targets without one: numbers, ranges or list names */
		bool listeners; /* probe what listens on this host, too */
		enum conf_inside inside;
		int64_t poll_ms; /* between looks at all listeners where events are missing */
		int64_t interval_ms;
		int64_t timeout_ms;   /* one request, in all */
		unsigned concurrency; /* endpoints probed at once */
	} scan;
	/*
	 * At least one: a default is made when no breaker is given. The first n_filters are those
	 * of `filters`, standing, in their order; names are unique among all.
	 */
	struct conf_breaker *breakers;
	size_t n_breakers; /* those of `filters` included */
	size_t n_filters;
	/*
	 * breakers[n_breakers] is there as well: CONF_UNMATCHED, for endpoints that no breaker's
	 * match fits. It has the defaults, and action alert. Not dumped, and no rule of the wire.
	 */
	bool has_unmatched;
	/* What the file lists, within `breakers`: for the schema's rows alone. */
	struct {
		struct conf_breaker *filters, *breakers;
		size_t n_breakers; /* without those of `filters`, which n_filters counts */
	} listed;
	struct {
		struct conf_ports ports; /* default: 22 */
		struct conf_prefixes sources;
	} protect;
	struct conf_alert *alerts;
	size_t n_alerts;
	struct {
		unsigned max_events; /* that wait for a sink; the oldest are given up */
		int64_t max_age_ms;
	} outbox;
	struct {
		bool enabled;           /* false for `listen: off` */
		struct endpoint listen; /* default 127.0.0.1:9464 */
	} metrics;
	enum conf_on_stop on_stop;
	struct {
		char *socket; /* absolute path */
		char *group;  /* whose members may use it besides root: name or number */
	} control;
	struct {
		char *directory; /* absolute path */
	} state;
	struct {
		enum conf_persist persist;
		unsigned max_blocks;            /* at once */
		unsigned max_blocks_per_minute; /* past it: alert, no block */
		int64_t slack_ms;   /* kernel timeout = open_for + slack; default 10 min */
		uint32_t mark;      /* set on our own probes on loopback... */
		uint32_t mark_mask; /* ...within these bits */
		bool verify;        /* a block is tried from a namespace of our own */
		/* For filtered endpoints that are not this host's own: */
		uint32_t route_mark;  /* the mark, within mark_mask, of what goes to the filter; 0
		                         only if `mark` has all its bits, and then no rule filters.
		                         Neither of the two has all the bits of the other */
		uint32_t route_table; /* the routing table that takes it there */
	} firewall;
	struct {
		char *agent, *prober, *firewall, *sender, *inventory, *filter,
		    *runner; /* names or numbers */
	} users;
};

/* No name that a file could give. */
#define CONF_UNMATCHED "(none)"

/*
 * Reads `length` bytes as a configuration; `file` is only for messages. On failure returns NULL
 * and leaves one line in `error`: "FILE:LINE:COLUMN: what was wrong; expected what".
 */
struct conf *conf_load(const char *file, const void *bytes, size_t length,
                       char error[static CONF_ERROR_LEN]);
/*
 * Reads a whole file from `fd` (from offset 0, without moving it, so that a shared descriptor can
 * be read by many), then as above.
 */
struct conf *conf_load_fd(const char *file, int fd, char error[static CONF_ERROR_LEN]);
void conf_free(struct conf *conf);
AUTO_CLEANUP(conf, struct conf *, conf_free)
#define auto_conf __attribute__((cleanup(cleanup_conf)))

/* True if some rule filters, so that the filter process is needed. */
bool conf_has_filter(const struct conf *conf);

/* Wipes what only the sender may know; what was given is "" then, what was not is NULL. */
void conf_forget_secrets(struct conf *conf);

/*
 * Says why `next` cannot replace `running` without a restart (users, control.socket,
 * state.directory, firewall.persist and the like): returns the key's name, or NULL if it can.
 */
const char *conf_find_fixed_change(const struct conf *running, const struct conf *next);

/*
 * Prints the whole configuration as YAML with every default filled in; secrets masked unless told
 * otherwise. What is printed loads again to the same thing (unmasked).
 */
int conf_dump(const struct conf *conf, FILE *out, bool show_secrets);
/* Prints the schema: key, type, range, default, help; for docs and man pages. */
int conf_print_schema(FILE *out);

/* Readers of scalars, strict; shared with command-line options. Return 0 or -EINVAL/-ERANGE. */
/* "200ms", "3s", "10m", "1h", "7d"; a bare 0 is allowed, another bare number is not. */
int conf_parse_duration(const char *text, int64_t *ms);
/* Decimal, no sign, no leading zero. */
int conf_parse_number(const char *text, uint64_t max, uint64_t *out);
/* Shortest text that reads back to the same: "200ms", "3s". */
const char *conf_format_duration(int64_t ms, char text[static 32]);
