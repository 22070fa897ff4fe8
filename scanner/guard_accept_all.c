/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/guard_accept_all.h"

#include "scanner/guard_hosts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

enum {
	KNOCKS = 3,                      /* of one check */
	CHECKS_MAX = KNOCK_MAX / KNOCKS, /* so that there is always room for their knocks */
	ADDRESS_TRIES = 64,
	NOTE_LEN = 128,
};

static const char host_why[] = "its host accepts every port";
static const char network_why[] = "its network accepts every port";

struct waiter {
	struct endpoint endpoint;
	guard_cb *done;
	void *arg;
	STAILQ_ENTRY(waiter) link;
};
STAILQ_HEAD(waiters, waiter);

/* Knocks at a host's random ports, or at random addresses of its network. */
struct check {
	struct guard_accept_all *guard;
	struct endpoint host;
	bool of_network;
	unsigned pending, open;
	struct waiters waiters;
	LIST_ENTRY(check) link;
};

struct guard_accept_all {
	struct guard_accept_all_conf conf;
	struct guard_accept_all_stats stats;
	struct guard_hosts *hosts;
	struct knocker *knocker;
	bool has_proxy;
	LIST_HEAD(checks, check) active;
	struct checks idle;
	struct waiters free;
	struct check checks[CHECKS_MAX];
	struct waiter waiters[GUARD_ACCEPT_ALL_PENDING];
};

static int set_up(struct guard_accept_all *g, struct event_base *base,
                  const struct probe_route *route)
{
	struct siphash_key key;
	uint8_t random[16];
	int err;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	key = siphash_read_key(random);
	g->hosts = guard_hosts_new(&key, g->conf.ports, g->conf.n_ports);
	err = g->hosts ? knocker_new(base, route, &g->knocker) : -ENOMEM;
	if (!err)
		knocker_set_pacer(g->knocker, g->conf.pacer);
	return err;
}

int guard_accept_all_new(struct event_base *base, const struct guard_accept_all_conf *conf,
                         const struct probe_route *route, struct guard_accept_all **out)
{
	struct guard_accept_all *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->conf = *conf;
	g->has_proxy = route && route->proxy.family;
	LIST_INIT(&g->active);
	LIST_INIT(&g->idle);
	STAILQ_INIT(&g->free);
	for (size_t i = 0; i < CHECKS_MAX; i++) {
		g->checks[i].guard = g;
		STAILQ_INIT(&g->checks[i].waiters);
		LIST_INSERT_HEAD(&g->idle, &g->checks[i], link);
	}
	for (size_t i = 0; i < GUARD_ACCEPT_ALL_PENDING; i++)
		STAILQ_INSERT_TAIL(&g->free, &g->waiters[i], link);
	err = set_up(g, base, route);
	if (err < 0) {
		guard_accept_all_free(g);
		return err;
	}
	*out = g;
	return 0;
}

void guard_accept_all_free(struct guard_accept_all *g)
{
	if (!g)
		return;
	knocker_free(g->knocker);
	guard_hosts_free(g->hosts);
	free(g);
}

void guard_accept_all_get_stats(const struct guard_accept_all *g,
                                struct guard_accept_all_stats *out)
{
	*out = g->stats;
}

static void set_host_aside(struct guard_accept_all *g, const struct endpoint *host)
{
	char address[ENDPOINT_TEXT_LEN], text[NOTE_LEN];

	g->stats.hosts++;
	if (!g->conf.note)
		return;
	snprintf(text, sizeof(text), "%s accepts every port: set aside",
	         endpoint_format_address(host, address));
	g->conf.note(text, g->conf.arg);
}

static void set_network_aside(struct guard_accept_all *g, const struct endpoint *host)
{
	struct prefix network = guard_hosts_network(host);
	char prefix[PREFIX_TEXT_LEN], text[NOTE_LEN];

	g->stats.networks++;
	if (!g->conf.note)
		return;
	snprintf(text, sizeof(text), "%s accepts every port on every address: set aside",
	         prefix_format(&network, prefix));
	g->conf.note(text, g->conf.arg);
}

static void check_network(struct guard_accept_all *g, const struct endpoint *host);

static void conclude(struct check *check)
{
	struct guard_accept_all *g = check->guard;
	const struct endpoint host = check->host;
	bool accepts_all = check->open == KNOCKS;
	struct waiters told = STAILQ_HEAD_INITIALIZER(told);
	struct waiter *w;

	STAILQ_CONCAT(&told, &check->waiters);
	LIST_REMOVE(check, link);
	LIST_INSERT_HEAD(&g->idle, check, link);
	if (check->of_network) {
		guard_hosts_judge_network(g->hosts, &host, accepts_all);
		if (accepts_all)
			set_network_aside(g, &host);
	} else {
		bool look_around = guard_hosts_judge(g->hosts, &host, accepts_all);

		if (accepts_all)
			set_host_aside(g, &host);
		if (look_around)
			check_network(g, &host);
	}
	while ((w = STAILQ_FIRST(&told))) {
		const struct waiter one = *w;

		STAILQ_REMOVE_HEAD(&told, link);
		STAILQ_INSERT_TAIL(&g->free, w, link);
		g->stats.refused += accepts_all;
		one.done(&one.endpoint, !accepts_all, accepts_all ? host_why : NULL, one.arg);
	}
}

static void on_knock(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                     size_t length, void *arg)
{
	struct check *check = arg;

	(void)e;
	(void)banner;
	(void)length;
	/* What could not be asked does not speak against a host. */
	check->open += result == KNOCK_OPEN;
	if (--check->pending == 0)
		conclude(check);
}

/* NULL: all are taken. */
static struct check *take_check(struct guard_accept_all *g, const struct endpoint *host,
                                bool of_network)
{
	struct check *check = LIST_FIRST(&g->idle);

	if (!check)
		return NULL;
	LIST_REMOVE(check, link);
	LIST_INSERT_HEAD(&g->active, check, link);
	check->host = *host;
	check->of_network = of_network;
	check->open = 0;
	check->pending = KNOCKS;
	return check;
}

static void knock(struct check *check, const struct endpoint *e)
{
	struct guard_accept_all *g = check->guard;

	knock_start(g->knocker, e, g->conf.connect_ms, 0, on_knock, check);
}

static void check_host(struct guard_accept_all *g, const struct endpoint *host)
{
	struct check *check = take_check(g, host, false);
	struct endpoint e = *host;

	/* Then its next open port brings it here again. */
	if (!check)
		return;
	for (unsigned i = 0; i < KNOCKS; i++) {
		e.port = guard_hosts_random_port(g->hosts, host, i);
		knock(check, &e);
	}
}

static bool is_among(const struct endpoint *list, size_t n, const struct endpoint *e)
{
	while (n-- > 0) {
		if (endpoint_compare(&list[n], e) == 0)
			return true;
	}
	return false;
}

/* Further hosts of it may be found while it is being looked at. */
static bool is_being_checked(const struct guard_accept_all *g, const struct endpoint *host)
{
	const struct prefix network = guard_hosts_network(host);
	const struct check *check;

	LIST_FOREACH (check, &g->active, link) {
		if (check->of_network && check->host.scope_id == host->scope_id &&
		    prefix_contains(&network, &check->host))
			return true;
	}
	return false;
}

/*
 * Three other addresses, and none that is known to accept every port: a network that is half a
 * middlebox's and half honest must not be given up for one lucky draw.
 */
static void check_network(struct guard_accept_all *g, const struct endpoint *host)
{
	struct endpoint found[KNOCKS];
	struct check *check;
	size_t n = 0;

	if (is_being_checked(g, host))
		return;
	for (unsigned i = 0; g->conf.may_knock && n < KNOCKS && i < ADDRESS_TRIES; i++) {
		struct endpoint *e = &found[n];

		guard_hosts_random_address(g->hosts, host, i, e);
		e->port = guard_hosts_random_port(g->hosts, e, 0);
		if (!guard_hosts_is_aside(g->hosts, e) && !is_among(found, n, e) &&
		    g->conf.may_knock(e, g->conf.arg))
			n++;
	}
	check = n == KNOCKS ? take_check(g, host, true) : NULL;
	if (!check)
		return;
	for (size_t i = 0; i < n; i++)
		knock(check, &found[i]);
}

static struct check *find_check(struct guard_accept_all *g, const struct endpoint *e)
{
	struct check *check;

	LIST_FOREACH (check, &g->active, link) {
		struct endpoint host = check->host;

		host.port = e->port;
		if (!check->of_network && endpoint_compare(&host, e) == 0)
			return check;
	}
	return NULL;
}

enum guard_answer guard_accept_all_seen(struct guard_accept_all *g, const struct endpoint *open,
                                        const char **why, guard_cb *done, void *arg)
{
	struct waiter *w = STAILQ_FIRST(&g->free);
	struct check *check;

	if (g->has_proxy)
		return GUARD_ALLOWED;
	check = find_check(g, open);
	if (check && !w)
		return GUARD_FULL;
	if (check) {
		STAILQ_REMOVE_HEAD(&g->free, link);
		*w = (struct waiter){.endpoint = *open, .done = done, .arg = arg};
		STAILQ_INSERT_TAIL(&check->waiters, w, link);
		return GUARD_PENDING;
	}
	switch (guard_hosts_see(g->hosts, open)) {
	case GUARD_SEEN_PASS: return GUARD_ALLOWED;
	case GUARD_SEEN_CHECK: check_host(g, open); return GUARD_ALLOWED;
	case GUARD_SEEN_HOST_ASIDE: *why = host_why; break;
	case GUARD_SEEN_NETWORK_ASIDE: *why = network_why; break;
	}
	g->stats.refused++;
	return GUARD_REFUSED;
}
