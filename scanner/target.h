/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Targets as people write them, and the endpoints they stand for. Pure; any thread. A list of
 * endpoints is never built: a target is walked with target_count() and target_at().
 */
#pragma once

#include "common/prefix.h"

#include <net/if.h>

enum {
	TARGET_HOST_MAX_LEN = 253,
	TARGET_LABELS_MAX = 16, /* of one target */
	TARGET_LABELS_MAX_LEN = 511,
	TARGET_ERROR_LEN = 256,
	PORT_LIST_MAX = 65535,
};

/* A set of ports in the order to try them; no port twice. */
struct port_list {
	uint16_t *ports;
	size_t count;
};

/*
 * Reads "6060,8080-8090,top10": numbers, ranges, and the names classic, top10, top30, top60.
 * On failure writes one line to `why`, returns -EINVAL or -ENOMEM; *out is untouched.
 */
int port_list_parse(const char *text, struct port_list *out, char why[static TARGET_ERROR_LEN]);
/* Finds a list that is not built in, or takes the place of one that is; NULL: there is none. */
typedef const uint16_t *port_list_find_fn(const char *name, size_t *count, const void *arg);
int port_list_parse_named(const char *text, port_list_find_fn *find, const void *arg,
                          struct port_list *out, char why[static TARGET_ERROR_LEN]);
void port_list_free(struct port_list *list);
/* https first on 443, 8443, 6443, 10250, 10257, 10259. */
bool port_is_tls_first(uint16_t port);

enum target_scheme { TARGET_ANY = 0, TARGET_HTTP, TARGET_HTTPS };

struct target {
	char host[TARGET_HOST_MAX_LEN + 1]; /* a name to resolve; "" when `prefix` is the target */
	struct prefix prefix;               /* one address, or a CIDR */
	uint32_t scope_id;                  /* of a zone that was a number */
	/* A zone that was an interface's name: whoever probes must set scope_id from it. */
	char zone[IF_NAMESIZE];
	uint16_t port; /* 0: every port of the list */
	enum target_scheme scheme;
	char path[128]; /* a URL's path as the prefix to ask; "" for the default */
	char labels[TARGET_LABELS_MAX_LEN + 1]; /* "team=payments env=prod", one blank between */
};

/*
 * Reads a host, address, CIDR (host bits are masked), "host:port", "[v6]:port" or an http(s) URL
 * (its port defaults to the scheme's; userinfo, query and fragment are errors). On failure writes
 * one line to `why` and returns -EINVAL.
 */
int target_parse(const char *text, struct target *out, char why[static TARGET_ERROR_LEN]);
/*
 * As above, and after the target, with blanks between, the user's labels: KEY=VALUE, the key of
 * letters, digits and "_.-", each key once, the value not empty and UTF-8 without blanks.
 */
int target_parse_labelled(const char *text, struct target *out, char why[static TARGET_ERROR_LEN]);

/* Number of endpoints: addresses x ports (UINT64_MAX when it does not fit). A name counts one
 * address. */
uint64_t target_count(const struct target *t, const struct port_list *ports);
/* The i-th endpoint of a numeric target, i < target_count(); all ports of an address in turn. */
void target_at(const struct target *t, const struct port_list *ports, uint64_t i,
               struct endpoint *out);
