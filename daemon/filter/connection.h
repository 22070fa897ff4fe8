/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's connection, and the server's that is made for it alone when it has asked for something
 * that passes. Requests are served one after the other. Loop's thread only.
 */
#pragma once

#include "daemon/filter/service.h"

/*
 * Takes over the accepted socket; for its own part ends the connection when it is over. Returns 0
 * or -ENOMEM.
 */
int connection_new(struct service *s, struct filter_rule *rule, int fd,
                   const struct endpoint *endpoint, const struct endpoint *client);

/* The answer to service.ask_socket: takes the socket, or -1 with an error. */
void connections_give_socket(struct service *s, uint64_t seq, int fd, int error);
/* Nobody will answer what was asked until now. */
void connections_forget_sockets(struct service *s);
/* Ends those whose time is up; about once a second. */
void connections_tick(struct service *s, int64_t now_ms);
/* Ends those that do nothing, and each of the others with its next answer. */
void connections_stop(struct service *s);
void connections_free(struct service *s);
