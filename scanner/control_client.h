/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking the daemon over its control socket (common/control.h): one request, one answer, one
 * deadline for all of it. Any thread.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

enum { CONTROL_CLIENT_ERROR_LEN = 256 };

/*
 * Sends `request` and reads the answer within timeout_ms. Returns 0 with *answer, a JSON object
 * with a boolean "ok" (the caller's reference), whatever it says. Otherwise -errno, with one line
 * in `why` for people: -ENOENT and -ECONNREFUSED no daemon, -EACCES not permitted, -ETIMEDOUT,
 * -EPROTO not an answer.
 */
int control_client_ask(const char *socket_path, const json_t *request, int64_t timeout_ms,
                       json_t **answer, char why[static CONTROL_CLIENT_ERROR_LEN]);
