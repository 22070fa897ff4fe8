/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/host_id.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MACHINE_ID_DIGITS = 32 };

/* An image's file may be empty, or say "uninitialized" (machine-id(5)). */
static bool read_machine_id(char id[static HOST_ID_LEN])
{
	auto_close int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t length = fd < 0 ? -1 : read(fd, id, HOST_ID_LEN - 1);

	if (length < MACHINE_ID_DIGITS)
		return false;
	id[MACHINE_ID_DIGITS] = '\0';
	return strspn(id, "0123456789abcdef") == MACHINE_ID_DIGITS;
}

void host_id_read(char id[static HOST_ID_LEN])
{
	if (read_machine_id(id))
		return;
	if (gethostname(id, HOST_ID_LEN) < 0 || !id[0])
		snprintf(id, HOST_ID_LEN, "unknown");
	id[HOST_ID_LEN - 1] = '\0';
}
