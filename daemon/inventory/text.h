/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/*
 * Copies what a process calls itself into a field of the wire: bytes that are not UTF-8, and
 * control characters, become U+FFFD (common/finding.h); what is too long is cut between two
 * characters, and the rest of the field is zero.
 */
void text_copy(char *field, size_t size, const char *bytes, size_t length);
