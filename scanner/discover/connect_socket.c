/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/connect_socket.h"

#include "common/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Without a port: the kernel chooses it on connect, when it knows the other end (ip(7)). */
static int bind_source(int fd, const struct connect_options *o, sa_family_t family)
{
	struct sockaddr_storage source;
	socklen_t len;
	int err;

	if (o->interface) {
		err = set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)o->interface);
		if (err)
			return err;
	}
	if (o->source.family != family)
		return 0;
	err = set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (err)
		return err;
	len = endpoint_to_sockaddr(&o->source, &source);
	return bind(fd, (const struct sockaddr *)&source, len) < 0 ? -errno : 0;
}

/*
 * With SO_LINGER at zero an open connection ends by RST. A FIN would leave TIME_WAIT here, which
 * holds a port for a minute, and a socket at the server until it has closed, too. The server's
 * accept() returns a connection whose first read fails with ECONNRESET (or, where it had not got
 * to accept() yet, nothing at all): less than a client that hangs up after a FIN leaves it with.
 */
static int set_up(int fd, const struct connect_options *o, sa_family_t family)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int err = bind_source(fd, o, family);

	if (err)
		return err;
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
		return -errno;
	if (o->syn_retries)
		return set_option(fd, SOL_TCP, TCP_SYNCNT, (int)o->syn_retries);
	return 0;
}

int connect_socket_prepare(struct connect_socket *s, const struct connect_options *o,
                           sa_family_t family)
{
	auto_close int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_up(fd, o, family);
	if (err)
		return err;
	s->fd = steal_fd(&fd);
	s->family = family;
	return 0;
}

int connect_socket_begin(struct connect_socket *s, const struct connect_options *o,
                         const struct endpoint *e, void *tag)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = tag};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(e, &address);
	bool is_new;
	int err;

	if (s->fd >= 0 && s->family != e->family)
		connect_socket_close(s);
	is_new = s->fd < 0;
	if (is_new) {
		err = connect_socket_prepare(s, o, e->family);
		if (err)
			return err;
	}
	if (connect(s->fd, (const struct sockaddr *)&address, len) == 0)
		return 0;
	err = -errno;
	/* After connect(): an idle TCP socket is one that hung up, and would be an event at once.
	 */
	if (is_new && epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0) {
		err = -errno;
		connect_socket_close(s);
	}
	return err;
}

int connect_socket_finish(struct connect_socket *s, const struct endpoint *e)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(e, &address);

	/*
	 * A second connect() says how the first went, as SO_ERROR would, and if it failed, it also
	 * takes the socket back to where it may connect anew.
	 */
	if (connect(s->fd, (const struct sockaddr *)&address, len) == 0 || errno == EISCONN)
		return 0;
	return -errno;
}

unsigned connect_socket_retransmits(const struct connect_socket *s)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(s->fd, SOL_TCP, TCP_INFO, &info, &len) < 0)
		return 0;
	return info.tcpi_total_retrans;
}

void connect_socket_close(struct connect_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool connect_socket_is_own_peer(const struct connect_socket *s, const struct endpoint *e)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct endpoint own;

	return getsockname(s->fd, (struct sockaddr *)&address, &len) == 0 &&
	       endpoint_from_sockaddr((const struct sockaddr *)&address, &own) == 0 &&
	       endpoint_compare(&own, e) == 0;
}

int connect_options_open(struct connect_options *o)
{
	const sa_family_t families[] = {AF_INET, AF_INET6};
	int err;

	o->way_fd[0] = o->way_fd[1] = -1;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		o->way_fd[i] = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (o->way_fd[i] < 0 && errno != EAFNOSUPPORT)
			return -errno;
		err = o->way_fd[i] < 0 ? 0 : bind_source(o->way_fd[i], o, families[i]);
		if (err)
			return err;
	}
	return 0;
}

void connect_options_close(struct connect_options *o)
{
	for (size_t i = 0; i < ARRAY_LEN(o->way_fd); i++) {
		if (o->way_fd[i] >= 0)
			close(o->way_fd[i]);
		o->way_fd[i] = -1;
	}
}

/*
 * EADDRNOTAVAIL says that no port is left or that no address fits (IPv6 without one of that
 * scope). A datagram socket tells them apart: it takes the same way, and ports of its own. It
 * sends nothing.
 */
static bool has_source(const struct connect_options *o, const struct endpoint *e)
{
	const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(e, &address);
	int fd = o->way_fd[e->family == AF_INET6];

	/* Or the source of the last time would stay. */
	(void)connect(fd, &nowhere, sizeof(nowhere));
	return connect(fd, (const struct sockaddr *)&address, len) == 0 || errno != EADDRNOTAVAIL;
}

bool connect_is_starved(const struct connect_options *o, const struct endpoint *e, int error)
{
	switch (-error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case ENOSPC: /* fs.epoll.max_user_watches */
	case EAGAIN: return true;
	case EADDRNOTAVAIL: return has_source(o, e);
	default: return false;
	}
}

enum discover_state connect_judge(int error)
{
	switch (-error) {
	case 0:
	case ECONNRESET: /* after the handshake: during it, a reset is ECONNREFUSED */
	case EPIPE: /* the same, when it had closed before */ return DISCOVER_OPEN;
	case ECONNREFUSED: return DISCOVER_CLOSED;
	case ETIMEDOUT: return DISCOVER_FILTERED;
	default: return DISCOVER_UNREACHABLE; /* a routing table, a firewall here, or ICMP */
	}
}
