/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sender's end of the runner (daemon/runner/), which runs the programs of `exec` sinks: here
 * nothing can be executed. Loop's thread only.
 */
#pragma once

#include "daemon/ipc.h"

#include <event2/event.h>
#include <stdbool.h>

struct programs;
struct program_run;

/* The run is gone when this is called. `done` is NULL when there was no runner to say anything. */
typedef void program_done_cb(const struct ipc_run_done *done, void *arg);

/* Returns 0 or -ENOMEM. */
int programs_new(struct event_base *base, struct programs **out);
/* Every run must be over or cancelled. NULL is allowed. */
void programs_free(struct programs *p);

bool programs_have_runner(const struct programs *p);
/*
 * Takes over the socket to a runner, in place of the one before. What has waited for it is asked
 * for now; what its forerunner ran is over. Returns 0 or -ENOMEM.
 */
int programs_set_runner(struct programs *p, int sock);

/*
 * Runs the program of this sink with `length` bytes of input, once there is a runner. The callback
 * comes from the loop, never from within this call. Returns 0; -ENOMEM, or another -errno when the
 * input does not fit into a pipe.
 */
int programs_run(struct programs *p, const char *sink, const char *event, const char *input,
                 size_t length, int64_t timeout_ms, program_done_cb *done, void *arg,
                 struct program_run **out);
/* No callback after this. The program is not stopped before its time is over. */
void programs_cancel(struct program_run *run);
