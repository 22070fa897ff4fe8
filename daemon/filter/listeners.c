/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/listeners.h"

#include "common/log.h"
#include "daemon/filter/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 64, PAUSE_MS = 100, SPARE_DESCRIPTORS = 64 };

struct listener {
	TAILQ_ENTRY(listener) link;
	struct listeners *all;
	char name[CONF_NAME_MAX_LEN + 1];
	int family, fd;
	struct endpoint own;
	struct event *readable, *resume;
	struct filter_rule *rule; /* NULL: none in force, nobody is let in */
};

struct listeners {
	struct service *service;
	const struct rules *rules;
	void (*on_connection)(void *arg);
	void *arg;
	TAILQ_HEAD(, listener) list;
	unsigned n;
};

struct listeners *listeners_new(struct service *service, const struct rules *rules,
                                void (*on_connection)(void *arg), void *arg)
{
	struct listeners *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->service = service;
	l->rules = rules;
	l->on_connection = on_connection;
	l->arg = arg;
	TAILQ_INIT(&l->list);
	return l;
}

static void set_rule(struct listener *l, struct filter_rule *rule)
{
	if (rule == l->rule)
		return;
	if (l->rule)
		l->rule->users--;
	l->rule = rule;
	event_del(l->readable);
	event_del(l->resume);
	if (!rule)
		return;
	rule->users++;
	event_add(l->readable, NULL);
}

static void drop(struct listener *l)
{
	if (l->readable && l->resume)
		set_rule(l, NULL);
	if (l->readable)
		event_free(l->readable);
	if (l->resume)
		event_free(l->resume);
	close(l->fd);
	TAILQ_REMOVE(&l->all->list, l, link);
	l->all->n--;
	free(l);
}

void listeners_close_all(struct listeners *l)
{
	while (!TAILQ_EMPTY(&l->list))
		drop(TAILQ_FIRST(&l->list));
}

void listeners_free(struct listeners *l)
{
	if (!l)
		return;
	listeners_close_all(l);
	free(l);
}

static struct listener *find(const struct listeners *l, const char *rule, int family)
{
	struct listener *found;

	TAILQ_FOREACH (found, &l->list, link) {
		if (found->family == family && strcmp(found->name, rule) == 0)
			return found;
	}
	return NULL;
}

void listeners_close(struct listeners *l, const char *rule, int family)
{
	struct listener *found = find(l, rule, family);

	if (found)
		drop(found);
}

static int get_address(int fd, struct endpoint *out)
{
	struct sockaddr_storage sa;
	socklen_t length = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &length) < 0)
		return -errno;
	return endpoint_from_sockaddr((struct sockaddr *)&sa, out);
}

static void refuse(const struct listener *l, int fd, enum filter_reason reason,
                   const struct endpoint *endpoint, const struct endpoint *client)
{
	const struct linger at_once = {.l_onoff = 1};

	service_deny(l->all->service, reason, l->rule, endpoint, client, NULL, 0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

/* Each has two descriptors. */
static bool is_full(const struct listeners *l)
{
	const struct service *s = l->service;
	unsigned others = SPARE_DESCRIPTORS + l->n;
	unsigned pairs = s->descriptors > others ? (s->descriptors - others) / 2 : 1;

	return s->stats.open_connections >= pairs ||
	       s->stats.open_connections >= s->limits.max_connections;
}

static void admit(struct listener *l, int fd, const struct endpoint *client)
{
	struct service *s = l->all->service;
	const struct endpoint who = addresses_of_client(client);
	struct endpoint endpoint;

	if (get_address(fd, &endpoint) < 0) {
		close(fd);
		return;
	}
	if (endpoint_compare(&endpoint, &l->own) == 0 || addresses_count(&s->upstream, client))
		refuse(l, fd, FILTER_DENIED_DIRECT, &endpoint, client);
	else if (is_full(l->all) || addresses_count(&s->clients, &who) >= s->limits.max_per_client)
		refuse(l, fd, FILTER_DENIED_FULL, &endpoint, client);
	else if (connection_new(s, l->rule, fd, &endpoint, client) < 0)
		log_warning("a connection is closed: out of memory");
}

/* Descriptors or memory are short: whoever is there gets done, and the others wait. */
static void pause_a_moment(struct listener *l, int error)
{
	const struct timeval tv = {.tv_usec = PAUSE_MS * 1000};

	log_warning("no more connections for a moment: %s", strerror(error));
	event_del(l->readable);
	evtimer_add(l->resume, &tv);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	event_add(l->readable, NULL);
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)what;
	for (int i = 0; i < BURST; i++) {
		struct sockaddr_storage sa;
		socklen_t length = sizeof(sa);
		struct endpoint client;
		int accepted =
		    accept4(fd, (struct sockaddr *)&sa, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (accepted < 0 && is_shortage(errno)) {
			pause_a_moment(l, errno);
			break;
		}
		if (accepted < 0 && errno == EAGAIN)
			break;
		/* Others are those of a connection that is over already (accept(2)). */
		if (accepted < 0)
			continue;
		if (endpoint_from_sockaddr((struct sockaddr *)&sa, &client) < 0)
			close(accepted);
		else
			admit(l, accepted, &client);
	}
	l->all->on_connection(l->all->arg);
}

static int prepare(int fd)
{
	const int on = 1;
	int listens = 0;
	socklen_t length = sizeof(listens);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 || !listens)
		return -EINVAL;
	/* Connections have it from their listener. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int listeners_put(struct listeners *l, const char *rule, int family, int fd)
{
	struct listener *added = calloc(1, sizeof(*added));
	int err = added ? prepare(fd) : -ENOMEM;

	if (err == 0)
		err = get_address(fd, &added->own);
	if (err < 0) {
		free(added);
		close(fd);
		return err;
	}
	listeners_close(l, rule, family);
	added->all = l;
	added->family = family;
	added->fd = fd;
	memcpy(added->name, rule, strnlen(rule, sizeof(added->name) - 1));
	TAILQ_INSERT_TAIL(&l->list, added, link);
	l->n++;
	added->readable = event_new(l->service->base, fd, EV_READ | EV_PERSIST, on_readable, added);
	added->resume = evtimer_new(l->service->base, on_resume, added);
	if (!added->readable || !added->resume) {
		drop(added);
		return -ENOMEM;
	}
	set_rule(added, rules_find(l->rules, rule));
	return 0;
}

void listeners_look_up(struct listeners *l)
{
	struct listener *each;

	TAILQ_FOREACH (each, &l->list, link)
		set_rule(each, rules_find(l->rules, each->name));
}
