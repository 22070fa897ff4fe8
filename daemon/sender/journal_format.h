/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event as journald takes it (systemd.io/JOURNAL_NATIVE_PROTOCOL). Pure.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/*
 * MESSAGE, MESSAGE_ID, PRIORITY, SYSLOG_IDENTIFIER and a field PPROFWALL_... for each of
 * event_kind.h. Returns the datagram, to be freed by the caller; NULL: out of memory.
 */
char *journal_format(const json_t *event, const char *text, size_t *length);
