/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supervisor: starts the children, restarts those that it can, carries configurations to them,
 * and ends the service when agent or firewall is gone. It reads nothing but its children's
 * fixed-size messages, and of a new configuration whether it filters. One thread; poll(2) and a
 * signalfd, no library's loop.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/parent/setup.h"
#include "daemon/parent/spawner.h"

struct parent {
	const char *config_path;
	struct conf *conf; /* of the start: paths and users, which no reload changes */
	struct setup setup;
	struct child children[IPC_ROLE_COUNT];
	struct spawner spawner;
	int signal_fd;
	int config_fd; /* memfd of the configuration in force */
	uint64_t generation;
	uint32_t config_crc32;
	bool ready; /* systemd was told */
	/* The filter that no rule needs any more: when it is told to end, then killed; or 0. */
	int64_t filter_due_ms;
	bool filter_is_ending; /* it was told */
};

/* Starts all children and gives them the configuration. Returns 0 or -errno with `why`. */
int parent_start(struct parent *p, char why[static CONF_ERROR_LEN]);
/* Serves until the end; returns the process's exit status. */
int parent_run(struct parent *p);
/* Kills and reaps whatever still runs. What is in the kernel stays. */
void parent_end(struct parent *p);
