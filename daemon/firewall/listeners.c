/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/listeners.h"

#include "common/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum {
	BACKLOG = 4096, /* the kernel takes net.core.somaxconn at most, which is the same */
	FAMILIES = 2,
};

static const sa_family_t families[FAMILIES] = {AF_INET, AF_INET6};

struct listener {
	char rule[CONF_NAME_MAX_LEN + 1];
	uint16_t port; /* 0: not open */
	int fd;        /* not taken yet; or -1 */
	bool gone;     /* only to be told of */
};

struct listeners {
	size_t count;
	struct listener items[]; /* IPv4 at even places, IPv6 at odd ones */
};

static const struct listener *find(const struct listeners *l, const char *rule)
{
	for (size_t i = 0; l && i < l->count; i += FAMILIES)
		if (!l->items[i].gone && !strcmp(l->items[i].rule, rule))
			return &l->items[i];
	return NULL;
}

static void add(struct listeners *l, const char *rule, const struct listener *before, bool gone)
{
	for (size_t i = 0; i < FAMILIES; i++) {
		struct listener *item = &l->items[l->count++];

		*item =
		    (struct listener){.port = before ? before[i].port : 0, .fd = -1, .gone = gone};
		snprintf(item->rule, sizeof(item->rule), "%s", rule);
	}
}

struct listeners *listeners_new(const struct conf *conf, const struct listeners *before)
{
	const size_t most = FAMILIES * conf->n_breakers + (before ? before->count : 0);
	struct listeners *l = calloc(1, sizeof(*l) + most * sizeof(l->items[0]));

	if (!l)
		return NULL;
	for (size_t i = 0; i < conf->n_breakers; i++)
		if (conf->breakers[i].action == CONF_ACTION_FILTER)
			add(l, conf->breakers[i].name, find(before, conf->breakers[i].name), false);
	for (size_t i = 0; before && i < before->count; i += FAMILIES)
		if (!before->items[i].gone && !find(l, before->items[i].rule))
			add(l, before->items[i].rule, &before->items[i], true);
	return l;
}

void listeners_free(struct listeners *l)
{
	for (size_t i = 0; l && i < l->count; i++)
		cleanup_close(&l->items[i].fd);
	free(l);
}

static int set_options(int fd, sa_family_t family, uint32_t mark)
{
	const int on = 1;
	const int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;

	if (setsockopt(fd, level, family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on,
	               sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	/*
	 * Connections that come in by it have the server's own address and port: without this they
	 * would keep a server that is restarted from listening there again.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		return -errno;
	if (family == AF_INET6 && setsockopt(fd, level, IPV6_V6ONLY, &on, sizeof(on)))
		return -errno;
	return 0;
}

int listeners_open_socket(sa_family_t family, uint32_t mark, int *out)
{
	auto_close int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? -errno : set_options(fd, family, mark);

	if (!err)
		*out = steal_fd(&fd);
	return err;
}

static int open_listener(sa_family_t family, uint32_t mark, struct listener *out)
{
	struct endpoint at = {.family = family, .address = {127, 0, 0, 1}};
	struct sockaddr_storage address;
	socklen_t length;
	auto_close int fd = -1;
	int err = listeners_open_socket(family, mark, &fd);

	if (err)
		return err;
	if (family == AF_INET6)
		memcpy(at.address, &in6addr_loopback, sizeof(at.address));
	length = endpoint_to_sockaddr(&at, &address);
	if (bind(fd, (const struct sockaddr *)&address, length) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&address, &length))
		return -errno;
	err = endpoint_from_sockaddr((const struct sockaddr *)&address, &at);
	if (err)
		return err;
	out->port = at.port;
	out->fd = steal_fd(&fd);
	return 0;
}

int listeners_open(struct listeners *l, uint32_t mark)
{
	int first_error = 0;

	for (size_t i = 0; i < l->count; i++) {
		struct listener *item = &l->items[i];
		int err = item->port || item->gone
		              ? 0
		              : open_listener(families[i % FAMILIES], mark, item);

		/* A host without IPv6 has no clients that speak it. */
		if (err && err != -EAFNOSUPPORT && err != -EADDRNOTAVAIL && !first_error)
			first_error = err;
	}
	return first_error;
}

struct listener_ports listeners_find(const struct listeners *l, const char *rule)
{
	const struct listener *found = find(l, rule);

	return found ? (struct listener_ports){found[0].port, found[1].port}
	             : (struct listener_ports){0};
}

bool listeners_take(struct listeners *l, struct listener_news *out)
{
	for (size_t i = 0; i < l->count; i++) {
		struct listener *item = &l->items[i];

		if (item->gone ? !item->port : item->fd < 0)
			continue;
		*out = (struct listener_news){
		    .type = item->gone ? FILTER_CLOSE : FILTER_LISTENER,
		    .listener = {.version = FILTER_WIRE_VERSION,
		                 .family = (uint8_t)families[i % FAMILIES]},
		    .fd = steal_fd(&item->fd),
		};
		memcpy(out->listener.rule, item->rule, sizeof(item->rule));
		if (item->gone)
			item->port = 0;
		return true;
	}
	return false;
}
