/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/cgroup of a hostile process: whatever the bytes, fields are bounded and terminated. */
#include "daemon/inventory/cgroup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct cgroup_owner o;
	size_t length;

	cgroup_parse(text, size, &o);
	require(o.path >= text && o.path_length <= size - (size_t)(o.path - text));
	require(memchr(o.unit, '\0', sizeof(o.unit)) && memchr(o.runtime, '\0', sizeof(o.runtime)));
	length = strnlen(o.container, sizeof(o.container));
	require(length == 0 || length == 64);
	require((length == 0) == (o.runtime[0] == '\0'));
	require(strspn(o.container, "0123456789abcdef") == length);
	return 0;
}
