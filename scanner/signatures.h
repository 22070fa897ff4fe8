/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known about ports, prefixes, products and relatives: data, read from YAML files (see
 * docs/signatures.md). How a Go index is told from everything else is no data, but the code of
 * fingerprint*.c.
 *
 * Loading opens a file, or reads an open one or bytes; the rest is pure. A loaded struct
 * signatures does not change any more, and may be read by any thread.
 */
#pragma once

#include "common/finding.h"
#include "conf/conf.h"

enum {
	SIGNATURES_SCHEMA = 1,
	SIGNATURES_MAX_RECORDS = 1024, /* products, relatives; port lists */
	SIGNATURES_MAX_STRINGS = 64,   /* of one list in a record */
	SIGNATURES_TEXT_MAX_LEN = 400, /* advice and the like */
};

/* Every kind of record begins with its name. */
struct signature_ports {
	char *name; /* "top30" */
	struct conf_ports ports;
};

struct signature_product {
	char *name;
	/* Which program it is: any one of these will do. */
	struct conf_strings modules;     /* main module, with or without a /vN behind it */
	struct conf_strings executables; /* base name of argv[0] */
	struct conf_strings headers;     /* "Name: value", beginning of a header line, any case */
	struct conf_strings titles;      /* the whole title of a page */
	struct conf_strings serves;      /* what else its port is for: serves_names[] */
	char *pprof_switch; /* flag or setting that turns pprof off; "none"; NULL: not known */
	char *default_bind; /* where it listens unless told otherwise; NULL: not known */
	char *advice;       /* in place of the sentence that is made of the above; or NULL */
};

/* Something that is no Go index, at a path of its own. */
struct signature_relative {
	char *name;                   /* "expvar": in finding.relatives, or its kind */
	bool lookalike;               /* no Go at all: it names the kind, and is no finding */
	char *path;                   /* "/debug/vars": absolute, asked as it stands */
	char *content_type;           /* the answer's begins so, in any case; NULL: any */
	struct conf_strings contains; /* each of them stands in the body */
	char *advice;
};

struct signatures {
	unsigned schema;
	char *version;
	struct signature_ports *ports;
	size_t n_ports;
	struct conf_ports https_first;
	struct conf_strings prefixes; /* the first is always asked for, the others on occasion */
	struct signature_product *products;
	size_t n_products;
	struct signature_relative *relatives;
	size_t n_relatives;
};

/*
 * Reads `length` bytes; `file` is only for messages. On failure returns NULL and leaves one line
 * in `error`: "FILE:LINE:COLUMN: what was wrong; expected what".
 */
struct signatures *signatures_load(const char *file, const void *bytes, size_t length,
                                   char error[static CONF_ERROR_LEN]);
/* The same from a file; NULL for the shipped one. */
struct signatures *signatures_load_file(const char *file, char error[static CONF_ERROR_LEN]);
/* The shipped file, that somebody has opened for us: from its beginning. `fd` stays the caller's.
 */
struct signatures *signatures_load_shipped_fd(int fd, char error[static CONF_ERROR_LEN]);
/*
 * For processes whose uid may not get at the file, since who installs under a home gives nobody
 * else the way there: the parent opens it, and they read it without privileges. As above from `fd`,
 * which is closed; the shipped file when there is no such descriptor.
 */
struct signatures *signatures_take_shipped(int fd, char error[static CONF_ERROR_LEN]);
void signatures_free(struct signatures *s);
AUTO_CLEANUP(signatures, struct signatures *, signatures_free)
#define auto_signatures __attribute__((cleanup(cleanup_signatures)))

/*
 * Moves everything of `more` into `s`: a record of the same name is replaced, lists of ports and
 * prefixes grow. The version becomes "S+MORE". Returns 0, or -ENOMEM and `s` as it was; `more` is
 * the caller's to free either way.
 */
int signatures_merge(struct signatures *s, struct signatures *more);

/* The named list of ports, or NULL. `s` may be NULL, here and below. */
const struct conf_ports *signatures_find_ports(const struct signatures *s, const char *name);
bool signatures_is_https_first(const struct signatures *s, uint16_t port);

/*
 * What an answer shows to the relative's record. `content_type` and `body` as in struct
 * http_answer (scanner/fingerprint.h), the status having been 200.
 */
bool signature_relative_matches(const struct signature_relative *r, const char *content_type,
                                const void *body, size_t length);
