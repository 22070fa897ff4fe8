/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets that the firewall made for the rules, and who comes in by them. What a connection is
 * for is its own local address; it is served once a rule of the listener's name is in force.
 */
#pragma once

#include "daemon/filter/rules.h"

struct listeners;

/* `on_connection` is called behind each burst of connections. NULL: out of memory. */
struct listeners *listeners_new(struct service *service, const struct rules *rules,
                                void (*on_connection)(void *arg), void *arg);
void listeners_free(struct listeners *l);

/* Takes the socket, in place of an older one. Returns 0, -EINVAL for one that does not listen, or
 * another -errno. */
int listeners_put(struct listeners *l, const char *rule, int family, int fd);
/* One that is not there is no error. */
void listeners_close(struct listeners *l, const char *rule, int family);
/* The rules have changed. */
void listeners_look_up(struct listeners *l);
void listeners_close_all(struct listeners *l);
