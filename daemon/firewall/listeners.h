/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets that the filter process listens on, one of each family for each rule that filters.
 * They are made here, since IP_TRANSPARENT and marks need CAP_NET_ADMIN, and handed over; which
 * ports they have is what stays. Single-threaded.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/filter/wire.h"

struct listener_ports {
	uint16_t v4, v6; /* on 127.0.0.1 and ::1; 0: nobody listens */
};

struct listeners;

/*
 * Those of the rules of `conf`: what one of the same name has in `before`, which may be NULL,
 * stays. NULL when memory is out.
 */
struct listeners *listeners_new(const struct conf *conf, const struct listeners *before);
/* Closes what nobody has taken. */
void listeners_free(struct listeners *l);

/* Opens all that are not open, with this mark. Returns 0 or -errno; what is open stays. */
int listeners_open(struct listeners *l, uint32_t mark);
/* Of the rule of that name. `l` may be NULL: nobody listens. */
struct listener_ports listeners_find(const struct listeners *l, const char *rule);

/* A TCP socket with IP_TRANSPARENT and this mark, not bound. Returns 0 or -errno. */
int listeners_open_socket(sa_family_t family, uint32_t mark, int *fd);

/* What the filter process is to be told: FILTER_LISTENER, FILTER_CLOSE. */
struct listener_news {
	uint16_t type;
	struct filter_listener listener;
	int fd; /* the caller's, or -1 */
};
/* The next that was not taken yet; false when there is nothing more. */
bool listeners_take(struct listeners *l, struct listener_news *out);
