/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/frame.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

union control_buffer {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int frame_socketpair(int pair[static 2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	pair[0] = fds[0];
	pair[1] = fds[1];
	return 0;
}

int frame_send(int sock, uint16_t type, uint64_t seq, const void *body, size_t length, int fd)
{
	struct frame_header header = {
	    .magic = FRAME_MAGIC,
	    .version = FRAME_VERSION,
	    .type = type,
	    .length = (uint32_t)length,
	    .seq = seq,
	};
	struct iovec iov[2] = {
	    {.iov_base = &header, .iov_len = sizeof(header)},
	    {.iov_base = (void *)(uintptr_t)body, .iov_len = length},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = length ? 2 : 1};
	union control_buffer control = {0};

	if (length > FRAME_BODY_MAX_BYTES)
		return -EMSGSIZE;
	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Takes the one descriptor that may come; closes any more, so that a peer cannot fill our table. */
static int take_descriptor(struct msghdr *msg)
{
	int taken = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, (char *)c + at, sizeof(fd));
			if (taken < 0)
				taken = fd;
			else
				close(fd);
		}
	}
	return taken;
}

int frame_recv(int sock, struct frame *f)
{
	struct frame_header header;
	struct iovec iov[2] = {
	    {.iov_base = &header, .iov_len = sizeof(header)},
	    {.iov_base = f->body, .iov_len = FRAME_BODY_MAX_BYTES},
	};
	union control_buffer control;
	struct msghdr msg = {
	    .msg_iov = iov,
	    .msg_iovlen = 2,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes),
	};
	auto_close int fd = -1;
	ssize_t n;

	f->fd = -1;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fd = take_descriptor(&msg);
	if (n == 0)
		return 0;
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)n < sizeof(header) ||
	    header.magic != FRAME_MAGIC || header.version != FRAME_VERSION || header.zero != 0 ||
	    header.length != (size_t)n - sizeof(header))
		return -EPROTO;
	f->type = header.type;
	f->seq = header.seq;
	f->length = header.length;
	f->body[f->length] = 0;
	f->fd = steal_fd(&fd);
	return 1;
}

bool frame_is_zero(const void *bytes, size_t length)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < length; i++) {
		if (b[i])
			return false;
	}
	return true;
}

bool frame_is_string(const char *field, size_t size)
{
	size_t length = strnlen(field, size);

	return length < size && frame_is_zero(field + length, size - length);
}
