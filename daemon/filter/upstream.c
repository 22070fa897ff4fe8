/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way to the server. From the endpoint's own address, so that the server takes nobody for more
 * than he is: to 127.0.0.1 many show what they show to no other. Where the endpoint is another
 * namespace's, from the client's address, on a socket that the firewall makes.
 */
#include "daemon/filter/connection_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

void upstream_fail(struct connection *c)
{
	c->service->stats.upstream_failures++;
	upstream_close(c);
	if (c->mode == CONNECTION_RELAY || c->answer.phase == ANSWER_BODY)
		connection_abort(c);
	else
		connection_reply(c, REPLY_BAD_GATEWAY, false);
}

static int bind_to(int fd, const struct endpoint *address)
{
	const int on = 1;
	struct endpoint any_port = *address;
	struct sockaddr_storage sa;
	socklen_t length;

	any_port.port = 0;
	length = endpoint_to_sockaddr(&any_port, &sa);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The port is chosen by connect(), where it need only be free towards this server. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&sa, length) < 0 ? -errno : 0;
}

/* Before the server's kernel can see it, for it may be ourselves. */
static int remember_own(struct connection *c, int fd)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);
	struct endpoint own;

	if (getsockname(fd, (struct sockaddr *)&sa, &length) < 0 ||
	    endpoint_from_sockaddr((struct sockaddr *)&sa, &own) < 0)
		return -ENOTCONN;
	/* A server that is gone, and a port of ours that happens to be its own. */
	if (endpoint_compare(&own, &c->endpoint) == 0)
		return -ECONNREFUSED;
	if (addresses_add(&c->service->upstream, &own) < 0)
		return -ENOMEM;
	c->server.own = own;
	return 0;
}

/* Takes the socket, which is bound. */
static int begin(struct connection *c, int fd)
{
	struct sockaddr_storage sa;
	socklen_t length = endpoint_to_sockaddr(&c->endpoint, &sa);
	int err;

	/* EADDRNOTAVAIL: it is bound, but has no port left; that is no reason to ask() for another.
	 */
	if (connect(fd, (struct sockaddr *)&sa, length) < 0 && errno != EINPROGRESS)
		err = errno == EADDRNOTAVAIL ? -EAGAIN : -errno;
	else
		err = remember_own(c, fd);
	if (err < 0) {
		close(fd);
		return err;
	}
	return link_open(&c->up, c->service->base, fd, upstream_on_event, c);
}

static int ask(struct connection *c)
{
	struct service *s = c->service;
	int err = s->ask_socket(++s->asked, c->endpoint.family, s->arg);

	if (err == 0)
		c->server.asked = s->asked;
	return err;
}

/* As seen from an endpoint of this namespace; -EADDRNOTAVAIL: it is not. */
static int connect_locally(struct connection *c)
{
	int fd = socket(c->endpoint.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = bind_to(fd, &c->endpoint);
	if (err < 0) {
		close(fd);
		return err;
	}
	err = begin(c, fd);
	if (err == -EADDRNOTAVAIL)
		return -EAGAIN; /* no port is free towards this server */
	/* net.ipv4.ip_nonlocal_bind lets it be bound all the same; then there is no way from it. */
	return err == -EINVAL || err == -ENETUNREACH ? -EADDRNOTAVAIL : err;
}

void upstream_need(struct connection *c)
{
	int err;

	if (c->up.fd >= 0 || c->server.asked)
		return;
	c->up.connecting = true;
	err = connect_locally(c);
	if (err == -EADDRNOTAVAIL)
		err = ask(c);
	if (err < 0)
		upstream_fail(c);
}

void upstream_use(struct connection *c, int fd, int error)
{
	c->server.asked = 0;
	if (error == 0)
		error = bind_to(fd, &c->client);
	if (error < 0 && fd >= 0)
		close(fd);
	if (error == 0)
		error = begin(c, fd);
	if (error < 0)
		upstream_fail(c);
}

void upstream_close(struct connection *c)
{
	if (c->server.own.port)
		addresses_remove(&c->service->upstream, &c->server.own);
	c->server.own = (struct endpoint){0};
	c->server.asked = 0;
	c->server.served = 0;
	/*
	 * It has been answered, or nobody waits for the answer any more: who closes first keeps the
	 * port for a minute, unless by a reset, and clients could use up all ports.
	 */
	if (c->mode == CONNECTION_RELAY)
		link_close(&c->up);
	else
		link_abort(&c->up);
}

void upstream_look(struct connection *c)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (!c->up.connecting || !c->up.writable)
		return;
	if (getsockopt(c->up.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error ||
	    link_connected(&c->up) < 0)
		upstream_fail(c);
}

void upstream_keep_for_again(struct connection *c, const char *head, size_t length)
{
	free(c->server.again);
	c->server.again = NULL;
	/* Only a connection that has served before can have been closed for having been idle. */
	if (length == 0 || c->server.served == 0)
		return;
	c->server.again = malloc(length);
	if (!c->server.again)
		return; /* then it is not sent again */
	memcpy(c->server.again, head, length);
	c->server.again_length = length;
}

/*
 * A server may close an idle connection while the next request is under way to it. That may be sent
 * once more if nothing of an answer came, it changes nothing by being done twice (RFC 9110, 9.2.2),
 * and has no body.
 */
void upstream_lost(struct connection *c)
{
	char *again = c->server.again;
	size_t length = c->server.again_length;

	c->server.again = NULL;
	if (!again) {
		upstream_fail(c);
		return;
	}
	upstream_close(c);
	upstream_need(c);
	if (c->over == OVER_NOT && c->mode == CONNECTION_HTTP &&
	    link_queue(&c->up, again, length) < 0)
		connection_abort(c);
	free(again);
}
