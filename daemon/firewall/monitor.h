/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices when somebody else changes our table. Only for a plain table: nobody can touch one that
 * is owned, and a listening monitor slows large transactions five-fold. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Opens a non-blocking socket (CAP_NET_ADMIN) that hears of all changes but those made by the
 * socket with `own_portid`. Returns 0 or -errno.
 */
int monitor_open(uint32_t own_portid, int *fd);
/*
 * Reads all that is waiting. *touched: our table was changed, or events were lost, so that it may
 * have been; only at the end of the transaction that did it, so that it is told once. Until then it
 * is kept in *pending, which is false at first. Returns 0 or -errno.
 */
int monitor_read(int fd, bool *pending, bool *touched);
