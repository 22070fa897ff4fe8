/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which ports people log in to this host: those at which an SSH server listens, or has a
 * connection. A name is nothing, since anybody can take it. An SSH server is a process of root's,
 * in the root directory of the host's first process (not in a container), whose program is called
 * like one, belongs to root, and lies in a directory where only root puts things.
 */
#pragma once

#include "daemon/inventory/diag.h"

/*
 * Lists the addresses and ports, of this thread's network namespace, as diag_list_held() does.
 * Returns 0 or -errno, *out being empty then.
 */
int logins_list(struct diag_list *out);
