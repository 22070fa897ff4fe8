/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The helper's loop: frames of the parent and of the agent, events of the kernel, and SIGUSR1.
 * Single-threaded.
 */
#pragma once

#include "daemon/firewall/firewall.h"

/*
 * Serves until the parent says STOP (0), or until a peer is gone or breaks the protocol, or the
 * kernel does not keep our table (-errno). `signal_fd` is a signalfd(2) of SIGUSR1. Logs what
 * happens.
 */
int server_run(struct firewall *fw, int parent_fd, int agent_fd, int signal_fd);
