/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the programs of `exec` sinks: those of the configuration, which it reads for itself, and no
 * others, whatever the sender asks for. What they read and say is not looked at.
 */
#pragma once

#include <event2/event.h>

struct runner;

/* Takes over both sockets. Returns 0 or -ENOMEM. */
int runner_new(struct event_base *base, int parent_sock, int sender_sock, struct runner **out);
void runner_free(struct runner *r);
/* When the loop has ended. */
int runner_exit_status(const struct runner *r);
