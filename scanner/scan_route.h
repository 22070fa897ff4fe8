/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which name and by which way endpoints are asked: --host-header, --resolve, --source-address,
 * --interface, --proxy. The setters read options and open nothing; scan_route_open() does, before
 * privileges are dropped. One thread.
 */
#pragma once

#include "scanner/probe.h"
#include "scanner/target.h"

enum { SCAN_ROUTE_ERROR_LEN = 400, SCAN_MAX_RESOLVES = 4096 };

struct scan_resolve {
	char host[TARGET_HOST_MAX_LEN + 1];
	struct endpoint endpoint;
};

struct scan_route {
	char host[TARGET_HOST_MAX_LEN + 1]; /* Host and SNI of every request; "" for the target's */
	struct scan_resolve *resolves;
	size_t n_resolves;
	const char *proxy; /* as given: a URL, or @FILE */
	struct probe_route probe;
	char *proxy_user, *proxy_password; /* those of `probe` */
};

/* Return 0, or -EINVAL or -ENOMEM and one line in `why`, without the option's name. */
int scan_route_set_host(struct scan_route *r, const char *text,
                        char why[static SCAN_ROUTE_ERROR_LEN]);
/* HOST:PORT:ADDRESS */
int scan_route_add_resolve(struct scan_route *r, const char *text,
                           char why[static SCAN_ROUTE_ERROR_LEN]);
int scan_route_set_source(struct scan_route *r, const char *text,
                          char why[static SCAN_ROUTE_ERROR_LEN]);
int scan_route_set_interface(struct scan_route *r, const char *text,
                             char why[static SCAN_ROUTE_ERROR_LEN]);
int scan_route_set_proxy(struct scan_route *r, const char *text,
                         char why[static SCAN_ROUTE_ERROR_LEN]);

/*
 * Reads the proxy's file, resolves its name, and tries source address and interface, so that a
 * mistake shows before anything is sent. Returns 0, or -errno and one line in `why`.
 */
int scan_route_open(struct scan_route *r, char why[static SCAN_ROUTE_ERROR_LEN]);
/*
 * A target on the command line that cannot be asked from --source-address: returns -EINVAL and one
 * line in `why`. 0 for all others, also for what is no target.
 */
int scan_route_check_target(const struct scan_route *r, const char *text,
                            char why[static SCAN_ROUTE_ERROR_LEN]);
/*
 * After a scan: true, and one line in `why`, when the way that the user chose did not lead to what
 * was to be looked at.
 */
bool scan_route_has_failed(const struct scan_route *r, const struct probe_stats *stats,
                           char why[static SCAN_ROUTE_ERROR_LEN]);
void scan_route_fini(struct scan_route *r);

/* Where the user says that HOST:PORT is, or NULL. */
const struct endpoint *scan_route_find(const struct scan_route *r, const char *host, uint16_t port);
