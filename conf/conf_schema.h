/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Schemas: one row a key. Reading, defaults, dumping, documentation and what a reload may change
 * all come from these rows, in their order. That of the configuration is conf_table; other files
 * bring their own (scanner/signatures.c).
 */
#pragma once

#include "conf/conf_diag.h"

enum conf_type {
	CONF_TYPE_SECTION = 0, /* a mapping; its keys are the rows "path.*" */
	CONF_TYPE_RECORDS,     /* a list of mappings; their keys are the rows "path[].*" */
	CONF_TYPE_BOOL,
	CONF_TYPE_NUMBER,   /* unsigned */
	CONF_TYPE_BITS,     /* uint32_t, 0x hex or decimal */
	CONF_TYPE_DURATION, /* int64_t, milliseconds */
	CONF_TYPE_CHOICE,   /* an enum */
	CONF_TYPE_NAME,
	CONF_TYPE_ACCOUNT, /* a user or group: name, or number from `min` */
	CONF_TYPE_PATH,    /* absolute, of at most `max` bytes */
	CONF_TYPE_URL,
	CONF_TYPE_URL_PATH, /* "/debug/vars", of at most `max` bytes */
	CONF_TYPE_TEMPLATE, /* common/template.h; of at most `max` bytes, one line unless `min` is 1
	                     */
	CONF_TYPE_TEXT,     /* one line of at most `max` bytes */
	CONF_TYPE_LISTEN,   /* struct endpoint, and at `extra` a bool: false for "off" */
	CONF_TYPE_TARGETS,  /* struct conf_strings */
	CONF_TYPE_PORT_LISTS,    /* struct conf_strings */
	CONF_TYPE_PORTS,         /* struct conf_ports */
	CONF_TYPE_PREFIXES,      /* struct conf_prefixes */
	CONF_TYPE_URL_PATHS,     /* struct conf_strings; with a slash at both ends */
	CONF_TYPE_PATH_PREFIXES, /* struct conf_strings; see struct conf_filter */
	CONF_TYPE_TEXTS,         /* struct conf_strings */
	CONF_TYPE_SOURCES,       /* struct conf_prefixes, and at `extra` struct conf_sources */
	CONF_TYPE_HEADERS,       /* struct conf_strings; "Name: value" */
};

enum conf_key_flags {
	CONF_KEY_REQUIRED = 1 << 0,
	CONF_KEY_OR_OFF = 1 << 1,  /* a duration that may be "off" or 0 */
	CONF_KEY_SECRET = 1 << 2,  /* never in a message; masked in a dump */
	CONF_KEY_RESTART = 1 << 3, /* a reload cannot change it */
	CONF_KEY_NONEMPTY = 1 << 4,
	CONF_KEY_CONNECTION = 1 << 5, /* of an alert: where to and how; see sink_conf.h */
	CONF_KEY_KIND = 1 << 6,       /* a choice on which depends what keys the record has */
};

struct conf_choice {
	const char *name; /* NULL ends the list */
	unsigned value;
};

struct conf_key {
	const char *path; /* "scan.interval", "breakers[].name" */
	enum conf_type type;
	unsigned flags;
	size_t offset; /* in struct conf, or in the record's struct */
	size_t extra; /* RECORDS: offset of the count; LISTEN, SOURCES: see there; of a text, unless
	                 0: of a struct conf_mark, for errors found later */
	size_t size;  /* RECORDS: of one record */
	int64_t min, max;
	int64_t item_max; /* URL_PATHS, PATH_PREFIXES, TEXTS: bytes of one; `max` is of items */
	const struct conf_choice *choices;
	unsigned types;     /* bits 1 << value of the record's CONF_KEY_KIND that have it; 0: all */
	const char *preset; /* the default, as one would write it; NULL: none */
	const char *note;   /* said in place of a preset that is no plain text */
	const char *help;
};

enum { CONF_SCHEMA_MAX = 160 };

extern const struct conf_key conf_schema[];
extern const size_t conf_schema_count;

/* A whole schema: what a document is read against. Every record's struct begins with its name. */
struct conf_table {
	const struct conf_key *keys; /* at most CONF_SCHEMA_MAX */
	size_t count;
	const char *least; /* the least that a document says: "mode: observe" */
	/* What no row can say of a record that begins at `at`: conf_fail() or 0. May be NULL. */
	int (*check_record)(const struct conf_key *records, const void *record, struct conf_mark at,
	                    const struct conf_diag *diag);
};

extern const struct conf_table conf_table;

/* The row of `name` in the mapping with this prefix: "", "scan.", "breakers[].". Or NULL. */
const struct conf_key *conf_schema_find(const struct conf_table *table, const char *prefix,
                                        const char *name, size_t length);
/* True if the row stands in the mapping with this prefix, not deeper. */
bool conf_key_is_in(const struct conf_key *key, const char *prefix);
/* True if it stands there or deeper; for "", that is in no record. */
bool conf_key_is_below(const struct conf_key *key, const char *prefix);
/* True if the row describes a part of a record ("breakers[].name"). */
bool conf_key_is_of_record(const struct conf_key *key);
const char *conf_key_name(const struct conf_key *key);

/* A row whose name is a slip of the pen away from `name`: a sibling first. Or NULL. */
const struct conf_key *conf_schema_guess(const struct conf_table *table, const char *prefix,
                                         const char *name);

enum { CONF_EXPECT_LEN = 160 };

/* The row, of the same record, that `types` are of; for a record without: NULL. */
const struct conf_key *conf_key_kind(const struct conf_key *key);
/* True if a record that begins at `base` has the key: see `types`. */
bool conf_key_fits(const struct conf_key *key, const void *base);
/* "drop"; "?" if there is no such value. */
const char *conf_choice_name(const struct conf_choice *choices, unsigned value);

/* What a value must be: "a duration in 1s..30d", "observe or enforce". */
const char *conf_key_expects(const struct conf_key *key, char out[static CONF_EXPECT_LEN]);
bool conf_type_is_list(enum conf_type type);
/* True if the slot is a char *. */
bool conf_type_is_text(enum conf_type type);
