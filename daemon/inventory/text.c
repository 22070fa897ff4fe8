/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/text.h"

#include "common/cleanup.h"
#include "common/finding.h"

#include <string.h>

void text_copy(char *field, size_t size, const char *bytes, size_t length)
{
	auto_free char *clean = NULL;
	size_t kept;

	memset(field, 0, size);
	if (finding_set_bytes(&clean, bytes, length) < 0 || !clean)
		return;
	kept = strlen(clean);
	if (kept >= size) {
		kept = size - 1;
		while (kept && ((unsigned char)clean[kept] & 0xc0) == 0x80)
			kept--;
	}
	memcpy(field, clean, kept);
}
