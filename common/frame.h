/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between our processes: one frame is one datagram of a SOCK_SEQPACKET socket pair, so
 * the kernel keeps the boundaries. A frame is a fixed header and a body of the length it states;
 * a wrong magic, version, length or padding is a protocol error, after which the caller closes
 * the socket. At most one descriptor travels with a frame.
 *
 * Not thread-safe for one socket; different sockets are independent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_MAGIC = 0x70777266, /* "pwrf" */
	FRAME_VERSION = 1,
	FRAME_BODY_MAX_BYTES = 60 * 1024,
};

struct frame_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;   /* of the protocol spoken on this socket */
	uint32_t length; /* bytes of body */
	uint32_t zero;
	uint64_t seq; /* an answer carries the seq of its request; otherwise the sender's choice */
};

struct frame {
	uint16_t type;
	uint64_t seq;
	size_t length;
	int fd; /* received with the frame, or -1; the caller owns it after frame_recv() */
	_Alignas(8) uint8_t body[FRAME_BODY_MAX_BYTES + 1]; /* a NUL is put after the body */
};

/*
 * A connected pair of SEQPACKET sockets, close-on-exec and non-blocking.
 * Returns 0 or -errno.
 */
int frame_socketpair(int pair[static 2]);

/*
 * Sends one frame; `fd` is passed along if it is not -1 (and stays the caller's). Never blocks on
 * a non-blocking socket: -EAGAIN when the peer does not read. Returns 0 or -errno; -EPIPE and
 * -ECONNRESET when the peer is gone. Raises no SIGPIPE.
 */
int frame_send(int sock, uint16_t type, uint64_t seq, const void *body, size_t length, int fd);

/*
 * Receives one frame. Returns 1 for a frame, 0 at the end of the connection, -EAGAIN, -EPROTO for
 * a malformed frame, or another -errno. On anything but 1, f->fd is -1.
 */
int frame_recv(int sock, struct frame *f);

/* Of bodies: is the padding what it has to be? */
bool frame_is_zero(const void *bytes, size_t length);
/* NUL-terminated, and nothing hidden behind the NUL. */
bool frame_is_string(const char *field, size_t size);
