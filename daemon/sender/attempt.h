/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An attempt whose result is known when it starts: all that is left is to say so from the loop. */
#pragma once

#include "daemon/sender/driver.h"

/* As driver.start(), with `attempt_end_cancel` for driver.cancel(). Returns 0 or -ENOMEM. */
int attempt_end(struct drivers *d, const struct attempt_result *result, attempt_done_cb *done,
                void *arg, void **attempt);
void attempt_end_cancel(void *attempt);

/*
 * Hands a datagram to the socket of another process at `path`. Does not wait; whoever does not read
 * fast enough is asked again later.
 */
struct attempt_result attempt_send_unix(const char *path, const void *bytes, size_t length);
/* What came of a send(2): its result and errno. */
struct attempt_result attempt_judge_send(ssize_t sent, int error);
