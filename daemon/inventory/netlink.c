/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/netlink.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int netlink_ask(int bus, struct nlmsghdr *request, mnl_cb_t cb, void *arg)
{
	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, bus);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	auto_free uint8_t *buffer = malloc(NETLINK_BUFFER_BYTES);
	int datagrams = 0;
	ssize_t n;

	if (sock < 0)
		return -errno;
	if (!buffer)
		return -ENOMEM;
	request->nlmsg_seq = 1;
	if (sendto(sock, request, request->nlmsg_len, 0, (const struct sockaddr *)&kernel,
	           sizeof(kernel)) < 0)
		return -errno;
	for (;;) {
		struct sockaddr_nl from = {0};
		struct iovec iov = {.iov_base = buffer, .iov_len = NETLINK_BUFFER_BYTES};
		struct msghdr msg = {.msg_name = &from,
		                     .msg_namelen = sizeof(from),
		                     .msg_iov = &iov,
		                     .msg_iovlen = 1};
		int rc;

		/* The kernel answers while it is asked: nothing there means that nothing comes. */
		n = recvmsg(sock, &msg, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno != EAGAIN ? -errno : -EIO;
		if (from.nl_pid != 0)
			continue;
		if (msg.msg_flags & MSG_TRUNC)
			return -ENOSPC;
		datagrams++;
		rc = mnl_cb_run(buffer, (size_t)n, 1, 0, cb, arg);
		if (rc < 0)
			return errno ? -errno : -EIO;
		if (rc == MNL_CB_STOP)
			return datagrams;
	}
}
