/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/guard_printer.h"

#include "common/siphash.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

enum { BUCKETS = 2048, LPD = 515, IPP = 631 };

/* The ports of a host that are looked at, in the order of its doors. */
static const uint16_t door_ports[] = {LPD, IPP, 9100, 9101, 9102, 9103, 9104, 9105, 9106, 9107};
enum { DOORS = sizeof(door_ports) / sizeof(door_ports[0]), DOOR_LPD = 0, DOOR_IPP, DOOR_9100 };
enum { MORE_KNOCKS = 2 };

const struct guard_printer_conf guard_printer_conf_default = {
    .connect_ms = 1500,
    .banner_ms = 250,
    .found_open = true,
};

static const char untold[] = "signs of a printer could not be looked for";

enum door_state {
	DOOR_UNKNOWN = 0,
	DOOR_ASKED, /* a knock is under way, or waits for room */
	DOOR_SHUT,
	DOOR_OPEN,
	DOOR_BANNER,
	DOOR_UNTOLD,
};

struct door {
	struct host *host;
	enum door_state state;
	bool is_queued; /* asked, but there is no room yet */
	bool was_open;  /* the sweep has seen it so */
	unsigned again; /* it was silent then: handshakes get lost */
	TAILQ_ENTRY(door) link;
};

struct waiter {
	struct endpoint endpoint;
	guard_cb *done;
	void *arg;
	const char *why; /* NULL: allowed */
	STAILQ_ENTRY(waiter) link;
};
STAILQ_HEAD(waiters, waiter);

struct host {
	struct guard_printer *guard;
	struct endpoint address; /* port 0; family 0: not in use yet */
	struct door doors[DOORS];
	unsigned knocks; /* asked for, without an answer */
	struct waiters waiters;
	TAILQ_ENTRY(host) age;
	LIST_ENTRY(host) bucket;
};

struct guard_printer {
	struct guard_printer_conf conf;
	struct knocker *knocker;
	bool has_proxy;
	struct siphash_key key;
	TAILQ_HEAD(, door) queue;
	TAILQ_HEAD(, host) ages; /* the oldest first */
	LIST_HEAD(buckets, host) buckets[BUCKETS];
	struct waiters free;
	struct host hosts[GUARD_PRINTER_HOSTS];
	struct waiter waiters[GUARD_PRINTER_PENDING];
};

int guard_printer_new(struct event_base *base, const struct guard_printer_conf *conf,
                      const struct probe_route *route, struct guard_printer **out)
{
	struct guard_printer *g = calloc(1, sizeof(*g));
	uint8_t random[16];
	int err;

	if (!g)
		return -ENOMEM;
	err = knocker_new(base, route, &g->knocker);
	if (!err && getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		err = -EIO;
	if (err < 0) {
		guard_printer_free(g);
		return err;
	}
	knocker_set_pacer(g->knocker, conf->pacer);
	g->key = siphash_read_key(random);
	g->conf = *conf;
	g->has_proxy = route && route->proxy.family;
	TAILQ_INIT(&g->queue);
	TAILQ_INIT(&g->ages);
	STAILQ_INIT(&g->free);
	for (size_t i = 0; i < GUARD_PRINTER_HOSTS; i++) {
		g->hosts[i].guard = g;
		STAILQ_INIT(&g->hosts[i].waiters);
		TAILQ_INSERT_TAIL(&g->ages, &g->hosts[i], age);
	}
	for (size_t i = 0; i < GUARD_PRINTER_PENDING; i++)
		STAILQ_INSERT_TAIL(&g->free, &g->waiters[i], link);
	*out = g;
	return 0;
}

void guard_printer_free(struct guard_printer *g)
{
	if (!g)
		return;
	knocker_free(g->knocker);
	free(g);
}

static bool is_same_host(const struct endpoint *a, const struct endpoint *b)
{
	return a->family == b->family && a->scope_id == b->scope_id &&
	       memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static struct buckets *bucket_of(struct guard_printer *g, const struct endpoint *e)
{
	uint8_t message[sizeof(e->address) + sizeof(e->scope_id)];

	memcpy(message, e->address, sizeof(e->address));
	memcpy(message + sizeof(e->address), &e->scope_id, sizeof(e->scope_id));
	return &g->buckets[siphash_compute(&g->key, message, sizeof(message)) % BUCKETS];
}

static void renew(struct host *host, const struct endpoint *e)
{
	struct guard_printer *g = host->guard;

	if (host->address.family)
		LIST_REMOVE(host, bucket);
	host->address = *e;
	host->address.port = 0;
	for (size_t i = 0; i < DOORS; i++)
		host->doors[i] = (struct door){.host = host};
	LIST_INSERT_HEAD(bucket_of(g, e), host, bucket);
}

/* NULL: knocks are under way at every host that is remembered. */
static struct host *find_host(struct guard_printer *g, const struct endpoint *e)
{
	struct host *host;

	LIST_FOREACH (host, bucket_of(g, e), bucket) {
		if (is_same_host(&host->address, e))
			break;
	}
	if (!host) {
		TAILQ_FOREACH (host, &g->ages, age) {
			if (host->knocks == 0 && STAILQ_EMPTY(&host->waiters))
				break;
		}
		if (!host)
			return NULL;
		renew(host, e);
	}
	TAILQ_REMOVE(&g->ages, host, age);
	TAILQ_INSERT_TAIL(&g->ages, host, age);
	return host;
}

/*
 * Boxes with three JetDirect ports listen on 9100 to 9102. 9101 being open is no sign for itself,
 * so there the next port is.
 */
static size_t second_door(uint16_t port)
{
	return DOOR_9100 + (port == 9101 ? 2 : 1);
}

static size_t own_door(uint16_t port)
{
	return DOOR_9100 + (size_t)(port - GUARD_PRINTER_FIRST_PORT);
}

enum verdict_now { NOT_YET, ALLOW, REFUSE };

/* What can be said of a port by now: a sign counts at once, its absence when all is known. */
static enum verdict_now judge(const struct host *host, uint16_t port, const char **why)
{
	const struct door *own = &host->doors[own_door(port)];
	const struct door *signs[] = {&host->doors[DOOR_LPD], &host->doors[DOOR_IPP],
	                              &host->doors[second_door(port)]};
	static const char *const texts[] = {"port 515 (LPD) is open", "port 631 (IPP) is open",
	                                    "port 9101 (JetDirect) is open"};
	bool is_known = own->state > DOOR_ASKED, is_told = own->state != DOOR_UNTOLD;

	*why = NULL;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (signs[i]->state == DOOR_OPEN || signs[i]->state == DOOR_BANNER)
			*why = i == 2 && port == 9101 ? "port 9102 (JetDirect) is open" : texts[i];
		is_known = is_known && signs[i]->state > DOOR_ASKED;
		is_told = is_told && signs[i]->state != DOOR_UNTOLD;
	}
	if (own->state == DOOR_BANNER)
		*why = "it speaks first, as a web server never does";
	if (*why)
		return REFUSE;
	if (own->state == DOOR_SHUT && !host->guard->conf.found_open)
		return ALLOW;
	if (!is_known)
		return NOT_YET;
	/* A printer takes one connection at a time: what was open and is not may be at work. */
	if (own->state == DOOR_SHUT)
		*why = "it was open, and takes no connection now";
	if (!is_told)
		*why = untold;
	return *why ? REFUSE : ALLOW;
}

static void want(struct door *door)
{
	if (door->state != DOOR_UNKNOWN)
		return;
	door->state = DOOR_ASKED;
	door->is_queued = true;
	door->host->knocks++;
	TAILQ_INSERT_TAIL(&door->host->guard->queue, door, link);
}

static void want_doors(struct host *host, uint16_t port)
{
	struct door *own = &host->doors[own_door(port)];

	own->was_open = host->guard->conf.found_open;
	want(own);
	if (!host->guard->conf.found_open && own->state == DOOR_ASKED)
		return;
	want(&host->doors[DOOR_LPD]);
	want(&host->doors[DOOR_IPP]);
	want(&host->doors[second_door(port)]);
}

/*
 * Nobody waits for them any more. So a host without waiters is only kept busy by knocks that are
 * under way, of which there are fewer than hosts: who is told GUARD_FULL does get a callback.
 */
static void unqueue(struct host *host)
{
	for (size_t i = 0; i < DOORS; i++) {
		struct door *door = &host->doors[i];

		if (!door->is_queued)
			continue;
		TAILQ_REMOVE(&host->guard->queue, door, link);
		*door = (struct door){.host = host};
		host->knocks--;
	}
}

_Static_assert((int)KNOCK_MAX < (int)GUARD_PRINTER_HOSTS, "see unqueue()");

/* Tells everyone of whom something can be said now. */
static void tell(struct host *host)
{
	struct guard_printer *g = host->guard;
	struct waiters told = STAILQ_HEAD_INITIALIZER(told), still = STAILQ_HEAD_INITIALIZER(still);
	struct waiter *w;

	while ((w = STAILQ_FIRST(&host->waiters))) {
		STAILQ_REMOVE_HEAD(&host->waiters, link);
		if (judge(host, w->endpoint.port, &w->why) != NOT_YET) {
			STAILQ_INSERT_TAIL(&told, w, link);
		} else {
			want_doors(host, w->endpoint.port);
			STAILQ_INSERT_TAIL(&still, w, link);
		}
	}
	STAILQ_CONCAT(&host->waiters, &still);
	if (STAILQ_EMPTY(&host->waiters))
		unqueue(host);
	/* From here on the host may be another one: callbacks ask about more. */
	while ((w = STAILQ_FIRST(&told))) {
		const struct waiter one = *w;

		STAILQ_REMOVE_HEAD(&told, link);
		STAILQ_INSERT_TAIL(&g->free, w, link);
		one.done(&one.endpoint, !one.why, one.why, one.arg);
	}
}

static void knock_at_doors(struct guard_printer *g);

static void on_knock(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                     size_t length, void *arg)
{
	struct door *door = arg;
	struct guard_printer *g = door->host->guard;

	(void)e;
	(void)banner;
	(void)length;
	if (result == KNOCK_SILENT && door->was_open && door->again < MORE_KNOCKS) {
		door->again++;
		door->is_queued = true;
		TAILQ_INSERT_TAIL(&g->queue, door, link);
		knock_at_doors(g);
		return;
	}
	switch (result) {
	case KNOCK_OPEN: door->state = DOOR_OPEN; break;
	case KNOCK_BANNER: door->state = DOOR_BANNER; break;
	case KNOCK_CLOSED:
	case KNOCK_SILENT:
	case KNOCK_UNREACHABLE: door->state = DOOR_SHUT; break;
	case KNOCK_UNTOLD: door->state = DOOR_UNTOLD; break;
	}
	door->host->knocks--;
	tell(door->host);
	knock_at_doors(g);
}

static void knock_at_doors(struct guard_printer *g)
{
	struct door *door;

	while (knock_room(g->knocker) > 0 && (door = TAILQ_FIRST(&g->queue))) {
		size_t i = (size_t)(door - door->host->doors);
		struct endpoint e = door->host->address;

		TAILQ_REMOVE(&g->queue, door, link);
		door->is_queued = false;
		e.port = door_ports[i];
		knock_start(g->knocker, &e, g->conf.connect_ms,
		            i >= DOOR_9100 ? g->conf.banner_ms : 0, on_knock, door);
	}
}

/* What could not be told once may be told now. */
static void forget_untold(struct host *host)
{
	for (size_t i = 0; i < DOORS; i++) {
		if (host->doors[i].state == DOOR_UNTOLD)
			host->doors[i].state = DOOR_UNKNOWN;
	}
}

enum guard_answer guard_printer_ask(struct guard_printer *g, const struct endpoint *e,
                                    const char **why, guard_cb *done, void *arg)
{
	struct waiter *w = STAILQ_FIRST(&g->free);
	struct host *host;

	if (!guard_printer_concerns(e))
		return GUARD_ALLOWED;
	if (g->has_proxy) {
		*why = untold;
		return GUARD_REFUSED;
	}
	if (!w)
		return GUARD_FULL;
	host = find_host(g, e);
	if (!host)
		return GUARD_FULL;
	if (STAILQ_EMPTY(&host->waiters))
		forget_untold(host);
	switch (judge(host, e->port, why)) {
	case ALLOW: return GUARD_ALLOWED;
	case REFUSE: return GUARD_REFUSED;
	case NOT_YET: break;
	}
	STAILQ_REMOVE_HEAD(&g->free, link);
	*w = (struct waiter){.endpoint = *e, .done = done, .arg = arg};
	STAILQ_INSERT_TAIL(&host->waiters, w, link);
	want_doors(host, e->port);
	knock_at_doors(g);
	return GUARD_PENDING;
}
