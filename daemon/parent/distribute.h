/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A configuration on its way to those children that read it. The parent's thread only. */
#pragma once

#include "daemon/parent/child.h"

uint32_t distribute_checksum(int fd);

/*
 * All or nothing: everybody checks the same bytes, then everybody takes them. The firewall commits
 * first; when the kernel refuses there, nobody else has moved. `children` is one for each role; one
 * that is about to be restarted is passed over. Returns 0 or -errno, with why in *result.
 */
int distribute_conf(struct child *children, int fd, const struct ipc_conf *conf,
                    struct ipc_result *result);
