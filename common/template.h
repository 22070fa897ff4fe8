/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of an alert as the configuration wants them: "[{host}] {event}: {about|?}". Between
 * braces stands a field of an event (docs/alerts.md has the list), after a bar what is said where
 * the event does not have it; a doubled brace is a brace. Nothing else: no loops, no conditions, no
 * code. Pure.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

enum {
	TEMPLATE_MAX_BYTES = 4096,
	TEMPLATE_VALUE_MAX_BYTES = 1024,       /* what is longer is cut, and ends in "..." */
	TEMPLATE_RESULT_MAX_BYTES = 16 * 1024, /* cut, in whole characters */
	TEMPLATE_ERROR_LEN = 160,
};

/* Returns 0; or -EINVAL, with the byte at which `why` (one line, without a value's end) begins. */
int template_check(const char *text, size_t *at, char why[static TEMPLATE_ERROR_LEN]);

/*
 * The text with the event's values in it, without control characters in these; the caller frees it.
 * NULL: out of memory. A template that template_check() refuses gives what stands before the fault.
 */
char *template_render(const char *text, const json_t *event);

/* The fields in the order of the documentation; NULL behind the last. */
const char *template_field_name(size_t i);
