/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/distribute.h"

#include "common/cleanup.h"
#include "common/frame.h"
#include "common/log.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* Firewall first, since only there can the kernel say no; the agent last, when all others follow.
 */
static const enum ipc_role commit_order[] = {IPC_ROLE_FIREWALL, IPC_ROLE_FILTER, IPC_ROLE_RUNNER,
                                             IPC_ROLE_SENDER, IPC_ROLE_AGENT};

uint32_t distribute_checksum(int fd)
{
	uint8_t chunk[4096];
	uLong crc = crc32(0, NULL, 0);
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
		crc = crc32(crc, chunk, (uInt)n);
		at += n;
	}
	explicit_bzero(chunk, sizeof(chunk));
	return (uint32_t)crc;
}

/*
 * A child that was told to take a configuration and does not say whether it has may take it later,
 * when the others have gone back to the old one. So it must not live on.
 */
static int commit(struct child *c, const struct ipc_conf *conf, struct ipc_result *result)
{
	int err = child_ask_conf(c, IPC_PARENT_COMMIT, conf, -1, result);
	bool refused = err < 0 && result->error == err;

	if (err == 0 || (refused && c->role == IPC_ROLE_FIREWALL))
		return err;
	log_error("the %s process has not taken the configuration; killed",
	          child_role_name(c->role));
	kill(c->pid, SIGKILL);
	return c->restarts_alone ? 0 : err; /* not worth taking back what others did */
}

/*
 * A filter that does not answer, though every other child does, has nothing to say: it would refuse
 * nothing that the firewall takes. It is started again, with what is in force then.
 */
static int check(struct child *c, const struct ipc_conf *conf, int fd, struct ipc_result *result)
{
	int err = child_ask_conf(c, IPC_PARENT_CONF, conf, fd, result);
	bool refused = err < 0 && result->error == err;

	if (err == 0 || refused || c->role != IPC_ROLE_FILTER)
		return err;
	kill(c->pid, SIGKILL);
	return 0;
}

int distribute_conf(struct child *children, int fd, const struct ipc_conf *conf,
                    struct ipc_result *result)
{
	int err = 0;

	/* The agent checks first: it knows what cannot change without a restart. */
	for (size_t i = ARRAY_LEN(commit_order); err == 0 && i-- > 0;) {
		struct child *c = &children[commit_order[i]];

		/* One that is being restarted gets the configuration in force then. */
		if (c->pid > 0 || !c->restarts_alone)
			err = check(c, conf, fd, result);
	}
	for (size_t i = 0; err == 0 && i < ARRAY_LEN(commit_order); i++) {
		struct child *c = &children[commit_order[i]];

		if (c->pid > 0 || !c->restarts_alone)
			err = commit(c, conf, result);
	}
	if (err == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(commit_order); i++) {
		const struct child *c = &children[commit_order[i]];

		if (c->sock >= 0)
			frame_send(c->sock, IPC_PARENT_ABORT, 0, conf, sizeof(*conf), -1);
	}
	return err;
}
