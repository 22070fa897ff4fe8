/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accepted risks: a file in which the user says which exposures are known, why, whose they are, and
 * until when. A list is immutable once loaded; any thread.
 *
 *	accepted:
 *	  - name: SEC-4711
 *	    endpoints: ["10.0.0.7:9100", 10.1.0.0/16, "*.lab.example:6060"]
 *	    reason: behind the VPN, to be replaced in spring
 *	    owner: team-payments
 *	    expires: 2026-12-31
 */
#pragma once

#include "common/finding.h"
#include "conf/conf.h"

enum { ACCEPT_MAX = 4096, ACCEPT_MAX_ENDPOINTS = 1024 };

struct acceptance {
	char *name;
	struct conf_strings endpoints;
	char *reason;
	char *owner;
	char *expires; /* the last day, UTC: "2026-12-31" */
};

struct accept_list {
	struct acceptance *items;
	size_t n_items;
};

/* On failure NULL, and one line in `error`: "FILE:LINE:COLUMN: what was wrong; expected what". */
struct accept_list *accept_load(const char *file, const void *bytes, size_t length,
                                char error[static CONF_ERROR_LEN]);
struct accept_list *accept_load_file(const char *file, char error[static CONF_ERROR_LEN]);
void accept_free(struct accept_list *list);

/*
 * The first entry that covers the endpoint and has not expired, or NULL. `host` is the name that
 * was asked for; NULL or "" for none. A list that is NULL covers nothing.
 */
const struct acceptance *accept_find(const struct accept_list *list, const struct endpoint *e,
                                     const char *host, int64_t now_ms);
/* "SEC-4711: behind the VPN (team-payments, until 2026-12-31)"; malloc()ed, or NULL. */
char *accept_describe(const struct acceptance *a);
