/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parent does while it still is root with every capability: the places and sockets that
 * the children cannot make for themselves. The parent's thread only.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/ipc.h"
#include "daemon/parent/child.h"

struct setup {
	int control_sock; /* listening, root:GROUP 0660 */
	int lock_fd;      /* held for life: one daemon for one control socket */
	char firewall_pidfile[256];
	struct child_identity identities[IPC_ROLE_COUNT];
	bool panic; /* the panic marker exists */
};

/* Reads a whole file into a sealed memfd. Returns the descriptor or -errno. */
int setup_read_config(const char *path);
/* Refuses a configuration that somebody else than root could change; `why` is one line. */
int setup_check_owner(const char *path, char why[static CONF_ERROR_LEN]);
/* On failure returns -errno with one line in `why`, and *out is empty. */
int setup_make(const struct conf *conf, struct setup *out, char why[static CONF_ERROR_LEN]);
int setup_write_pidfile(const struct setup *s, pid_t firewall);
void setup_fini(struct setup *s, const struct conf *conf);
