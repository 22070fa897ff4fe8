/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs one program of the user's, and outlives all that it starts. A process for each: what the
 * program leaves behind becomes the keeper's child, whatever session it went to, and is killed.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/ipc.h"

/*
 * In a process of its own, forked for it; does not return. `input` is the program's standard
 * input. The answer, IPC_RUN_DONE, goes to `sock`; when its other end is gone, or the process that
 * forked this one, the program is killed.
 */
_Noreturn void keeper_run(const struct conf_alert *alert, const struct ipc_run *run, uint64_t seq,
                          int input, int sock, pid_t runner);
