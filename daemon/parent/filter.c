/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/filter.h"

#include "common/frame.h"
#include "conf/conf.h"

bool filter_is_needed(const char *path, int config_fd)
{
	char why[CONF_ERROR_LEN];
	auto_conf struct conf *conf = conf_load_fd(path, config_fd, why);

	return conf && conf_has_filter(conf);
}

static int send_peer(const struct child *to, const struct child *peer, int sock)
{
	const struct ipc_peer body = {
	    .role = peer->role,
	    .restarts = peer->restarts,
	    .pid = peer->pid,
	    .exit_status = peer->exit_status,
	};

	return frame_send(to->sock, IPC_PARENT_PEER, 0, &body, sizeof(body), sock);
}

int filter_join_firewall(const struct child *filter, const struct child *firewall)
{
	auto_close int filter_end = -1, firewall_end = -1;
	int pair[2] = {-1, -1};
	int err = frame_socketpair(pair);

	if (err < 0)
		return err;
	filter_end = pair[0];
	firewall_end = pair[1];
	err = send_peer(filter, firewall, filter_end);
	return err < 0 ? err : send_peer(firewall, filter, firewall_end);
}
