/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/text.h"

#include "common/cleanup.h"
#include "common/finding.h"
#include "common/utf8.h"

#include <string.h>

void text_copy(char *field, size_t size, const char *bytes, size_t length)
{
	auto_free char *clean = NULL;
	size_t fits;

	memset(field, 0, size);
	if (finding_set_bytes(&clean, bytes, length) < 0 || !clean)
		return;
	fits = utf8_fit(clean, strlen(clean), size - 1);
	memcpy(field, clean, fits);
}
