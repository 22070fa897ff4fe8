/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Straight to journald's socket. sd_journal_sendv(3) waits when journald does not read, and all
 * other sinks with it: hence not by libsystemd, which speaks the same documented protocol.
 */
#include "daemon/sender/driver_journal.h"

#include "daemon/sender/attempt.h"
#include "daemon/sender/journal_format.h"

#include <errno.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	auto_free char *text = message_make_text(spec->conf, spec->message);
	auto_free char *bytes = NULL;
	struct attempt_result result;
	size_t length;

	if (text)
		bytes = journal_format(spec->message->events[0], text, &length);
	if (!bytes)
		return -ENOMEM;
	result = attempt_send_unix(JOURNAL_SOCKET, bytes, length);
	return attempt_end(d, &result, done, arg, attempt);
}

const struct driver driver_journal = {.start = start, .cancel = attempt_end_cancel};
