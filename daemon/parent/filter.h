/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is particular about the filter process: it is there while some rule filters, and it has a
 * socket to the firewall besides that to the agent. The parent's thread only.
 */
#pragma once

#include "daemon/parent/child.h"

/*
 * Connections that the filter has go on when no rule filters any more, for a minute: the kernel
 * lets them, and a scrape under way must not fail.
 */
enum { FILTER_LINGER_MS = 60 * 1000 };

/*
 * Does some rule of this configuration filter? `path` is for messages. Of a file that does not
 * load: no; whoever is given it says what is wrong with it.
 */
bool filter_is_needed(const char *path, int config_fd);

/* Gives each of the two its end of a new socket to the other. Returns 0 or -errno. */
int filter_join_firewall(const struct child *filter, const struct child *firewall);
