/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/* How much of this UTF-8 fits into `room` bytes, in whole characters. */
static inline size_t utf8_fit(const char *bytes, size_t length, size_t room)
{
	if (length <= room)
		return length;
	while (room > 0 && ((unsigned char)bytes[room] & 0xc0) == 0x80)
		room--;
	return room;
}
