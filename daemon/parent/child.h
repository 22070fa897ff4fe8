/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One child process and the sockets to it. The parent's thread only.
 */
#pragma once

#include "common/paths.h"
#include "daemon/ipc.h"

#include <sys/types.h>

/* Who a child becomes; it drops there by itself, first thing, and reads it back. */
struct child_identity {
	uid_t uid;
	gid_t gid;
};

struct child {
	enum ipc_role role;
	struct child_identity identity;
	pid_t pid;           /* 0: not running */
	int sock;            /* parent <-> child, or -1 */
	int peer;            /* its peer's end of peer <-> child until it was sent, or -1 */
	bool ready;          /* IPC_CHILD_READY came */
	bool restarts_alone; /* not agent and firewall: their death ends the service */
	bool wanted; /* the runner: the sender has asked for it; the filter: some rule filters */
	bool verify; /* inventory: to make a network namespace of its own */
	uid_t prober_uid, filter_uid; /* firewall: whose packets pass our own wall */
	unsigned restarts;
	int exit_status;       /* wait(2) status of the one before */
	int64_t started_ms;    /* CLOCK_MONOTONIC */
	int64_t restart_at_ms; /* 0: no restart is due */
	int64_t backoff_ms;
	/*
	 * Opened while the parent may enter every directory: a restart is root without
	 * CAP_DAC_READ_SEARCH, and the installation may lie in somebody's home.
	 */
	int programs; /* O_PATH descriptor of the directory; for life, as is the next */
	int data;     /* what the child reads on IPC_DATA_FD, or -1 */
	const struct spawner *spawner; /* who forks it, or NULL: we do */
	char program[PATHS_MAX_LEN];   /* absolute path */
};

struct spawner;

/* "agent", "firewall", "prober", "sender", "inventory", "filter", "runner" */
const char *child_role_name(enum ipc_role role);

/* Fills the struct; finds the program beside our own. Returns 0 or -errno. */
int child_init(struct child *c, enum ipc_role role, struct child_identity identity);
/*
 * Starts the program with its sockets as descriptors 3 and 4, its data as 5, everything else
 * closed. `config_path` is for messages. Returns 0 or -errno.
 */
int child_start(struct child *c, const char *config_path, int64_t now_ms);
/* In the child, between fork and exec; does not return. */
_Noreturn void child_run_program(const struct child *c, int sock, int peer,
                                 const char *config_path);
/* The process is gone: closes the sockets and works out when to start another. */
void child_record_death(struct child *c, int wait_status, int64_t now_ms);

/*
 * Sends a request and waits up to CHILD_ANSWER_TIMEOUT_MS (FILTER_ANSWER_TIMEOUT_MS for the filter)
 * for the IPC_CHILD_CONF that answers it.
 * Returns 0 or -errno, with the child's own words (or ours, when it did not answer) in *result.
 */
enum { CHILD_ANSWER_TIMEOUT_MS = 5000, FILTER_ANSWER_TIMEOUT_MS = 2000 };
int child_ask_conf(struct child *c, uint16_t type, const struct ipc_conf *conf, int fd,
                   struct ipc_result *result);
