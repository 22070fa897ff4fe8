/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a process is, by the names of its control groups: the systemd unit and the container. Pure:
 * text in, names out. What a path says is what those who may make control groups there have named
 * them: root, and a user below their own user@UID.service (docs/threat-model.md).
 */
#pragma once

#include "daemon/inventory/wire.h"

#include <stddef.h>

struct cgroup_owner {
	const char *path; /* within the text, not terminated: of the unified hierarchy, else
	                     systemd's, else the first that is not the root */
	size_t path_length;
	char unit[INVENTORY_UNIT_LEN];
	char container[INVENTORY_CONTAINER_LEN];
	char runtime[16];
};

/* Reads the text of /proc/PID/cgroup, of any content; *out is always filled, "" for unknown. */
void cgroup_parse(const char *text, size_t length, struct cgroup_owner *out);
