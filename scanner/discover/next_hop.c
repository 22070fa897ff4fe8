/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/next_hop.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/discover/neighbour.h"
#include "scanner/discover/neighbour_socket.h"
#include "scanner/discover/pacer.h"
#include "scanner/discover/rtnetlink.h"
#include "scanner/discover/segments.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

enum {
	QUESTIONS_PER_SEC_MAX = 20000, /* broadcasts: every host of the link reads them */
	ANSWERS_EVERY = 64,            /* questions after which answers are taken */
	NO_WAY = 0,                    /* of a segment: not asked yet */
};

struct link {
	struct rtnetlink_link is;
	struct endpoint address6; /* a link-local one, or none: to ask an IPv6 gateway for IPv4 */
};

/* How a segment's addresses are reached: what the kernel said, and whom to ask. */
struct way {
	int error;
	bool must_ask;
	struct neighbour_key gateway; /* family 0: the destination itself is on the link */
	uint32_t slot;                /* the gateway's */
	uint32_t link;                /* of h->links */
	struct next_hop hop;
};

struct scoped_way {
	uint32_t scope_id;
	uint32_t way;
};

struct next_hops {
	struct endpoint source;
	unsigned interface;
	int64_t now_ns;
	struct rtnetlink *kernel;
	struct neighbour_socket socket;
	struct neighbours *neighbours;
	struct pacer pacer;
	unsigned unread;             /* questions since answers were taken */
	struct segments segments[2]; /* IPv4, IPv6; a value is a way's index and one, or NO_WAY */
	struct link *links;
	size_t n_links;
	struct way *ways;
	size_t n_ways, ways_capacity;
	struct scoped_way *scoped; /* of link-local addresses: one for each link at most */
	size_t n_scoped;
};

/* Reading the kernel's tables */

static struct link *find_link(const struct next_hops *h, unsigned index)
{
	for (size_t i = 0; i < h->n_links; i++)
		if (h->links[i].is.index == index)
			return &h->links[i];
	return NULL;
}

static int take_link(void *context, const struct rtnetlink_link *is)
{
	struct next_hops *h = context;
	struct link *link = find_link(h, is->index), *list;

	if (!link) {
		list = reallocarray(h->links, h->n_links + 1, sizeof(*list));
		if (!list)
			return -ENOMEM;
		h->links = list;
		link = &list[h->n_links++];
	}
	*link = (struct link){.is = *is};
	return 0;
}

static int take_address(void *context, unsigned index, const struct endpoint *address)
{
	struct link *link = find_link(context, index);

	if (link && address->family == AF_INET6 && address->address[0] == 0xfe &&
	    (address->address[1] & 0xc0) == 0x80)
		link->address6 = *address;
	return 0;
}

static struct neighbour_key make_key(unsigned index, const struct endpoint *e)
{
	struct neighbour_key key = {.ifindex = index, .family = e->family};

	memcpy(key.address, e->address, sizeof(key.address));
	return key;
}

static int take_neighbour(void *context, const struct rtnetlink_neighbour *n)
{
	const int64_t fresh_ns = INT64_C(60000000000);
	struct next_hops *h = context;
	struct neighbour_key key = make_key(n->index, &n->address);

	neighbours_put(h->neighbours, &key, n->mac, n->is_permanent,
	               h->now_ns + (n->is_fresh ? fresh_ns : 0));
	return 0;
}

static int take_destination(void *context, const struct prefix *prefix)
{
	struct next_hops *h = context;

	return segments_cut(&h->segments[prefix->family == AF_INET6], prefix->address,
	                    prefix->bits);
}

/*
 * Where the choice of a source address can change though no route does: the prefixes of RFC 6724,
 * 2.1, and scopes.
 */
static int cut_by_label(struct next_hops *h)
{
	static const struct prefix labelled[] = {
	    {AF_INET6, 96, {0}},          {AF_INET6, 32, {0x20, 0x01}},
	    {AF_INET6, 16, {0x20, 0x02}}, {AF_INET6, 7, {0xfc}},
	    {AF_INET6, 10, {0xfe, 0x80}}, {AF_INET6, 10, {0xfe, 0xc0}},
	    {AF_INET6, 16, {0x3f, 0xfe}}, {AF_INET6, 8, {0xff}},
	};
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_LEN(labelled); i++)
		err = take_destination(h, &labelled[i]);
	return err;
}

static int read_tables(struct next_hops *h)
{
	const struct rtnetlink_visitor visitor = {.context = h,
	                                          .link = take_link,
	                                          .address = take_address,
	                                          .neighbour = take_neighbour,
	                                          .destination = take_destination};
	int err = rtnetlink_visit(h->kernel, &visitor);

	if (!err)
		err = cut_by_label(h);
	for (size_t i = 0; !err && i < ARRAY_LEN(h->segments); i++)
		err = segments_seal(&h->segments[i]);
	return err;
}

/* Asking for link addresses */

static bool has_source(const struct way *way, const struct link *link, uint16_t family,
                       struct endpoint *out)
{
	*out = way->hop.source;
	if (out->family == family)
		return true;
	*out = link->address6;
	return family == AF_INET6 && out->family == AF_INET6;
}

static bool ask(void *context, const struct neighbour_key *key, uint32_t asker)
{
	struct next_hops *h = context;
	const struct way *way = &h->ways[asker];
	const struct link *link = &h->links[way->link];
	struct neighbour_question q = {.family = key->family};
	struct endpoint source;

	if (!pacer_take(&h->pacer, h->now_ns, 1))
		return false;
	h->unread++;
	if (!has_source(way, link, key->family, &source))
		return true; /* nobody to ask as: as good as silent */
	memcpy(q.source, source.address, sizeof(q.source));
	memcpy(q.target, key->address, sizeof(q.target));
	memcpy(q.mac, link->is.mac, MAC_LEN);
	neighbour_socket_ask(&h->socket, key->ifindex, &q);
	return true;
}

static void take_answer(void *context, unsigned index, const struct neighbour_answer *answer)
{
	struct next_hops *h = context;
	struct neighbour_key key = {.ifindex = index, .family = answer->family};

	memcpy(key.address, answer->target, sizeof(key.address));
	neighbours_answer(h->neighbours, &key, answer->mac, h->now_ns);
}

static void take_answers(struct next_hops *h)
{
	h->unread = 0;
	neighbour_socket_receive(&h->socket, take_answer, h);
}

/* Ways */

/* What the routing table says about a destination, as connect(2) would see it. */
static int judge_type(const struct rtnetlink_route *route)
{
	switch (route->type) {
	case RTN_UNICAST: return route->is_encapsulated ? -EOPNOTSUPP : 0;
	case RTN_LOCAL:
	case RTN_ANYCAST: return -EOPNOTSUPP;
	case RTN_UNREACHABLE: return -EHOSTUNREACH;
	case RTN_BLACKHOLE: return -EINVAL;
	case RTN_PROHIBIT: return -EACCES;
	default: return -ENETUNREACH;
	}
}

/* Who has which link address where nobody is asked: as the kernel's arp_constructor() has it. */
static int judge_link(struct way *way, const struct rtnetlink_link *link)
{
	if (link->flags & IFF_LOOPBACK)
		return -EOPNOTSUPP;
	if (link->type != ARPHRD_ETHER)
		/* such a link has one other end, or writes its own headers */
		return link->flags & (IFF_NOARP | IFF_POINTOPOINT) ? 0 : -EOPNOTSUPP;
	if (link->mac_len != MAC_LEN)
		return -EOPNOTSUPP;
	way->hop.mac_len = MAC_LEN;
	if (link->flags & IFF_NOARP)
		memcpy(way->hop.mac, link->mac, MAC_LEN);
	else if (link->flags & IFF_POINTOPOINT)
		memcpy(way->hop.mac, link->broadcast, MAC_LEN);
	else
		way->must_ask = true;
	return 0;
}

static int fill_way(struct next_hops *h, const struct rtnetlink_route *route, struct way *way)
{
	const struct link *link = find_link(h, route->index);
	unsigned mtu;
	int err = judge_type(route);

	if (err)
		return err;
	if (!link)
		return -ENETUNREACH; /* it is younger than we are */
	if (route->source.family == 0)
		return -EADDRNOTAVAIL;
	err = judge_link(way, &link->is);
	if (err)
		return err;
	mtu = route->mtu ? route->mtu : link->is.mtu;
	way->link = (uint32_t)(link - h->links);
	way->hop.ifindex = (int)link->is.index;
	way->hop.mtu = (uint16_t)(mtu < UINT16_MAX ? mtu : UINT16_MAX);
	way->hop.source = route->source;
	way->hop.source.port = 0;
	if (route->gateway.family)
		way->gateway = make_key(link->is.index, &route->gateway);
	return 0;
}

/*
 * As connect(2) asks: once for a source address, and once more with it, since policy rules may go
 * by it.
 */
static int ask_kernel(struct next_hops *h, const struct endpoint *to, unsigned interface,
                      struct rtnetlink_route *route)
{
	struct rtnetlink_question q = {.to = *to, .source = h->source, .interface = interface};
	int err = rtnetlink_route(h->kernel, &q, route);

	if (err || h->source.family == to->family || route->type != RTN_UNICAST ||
	    route->source.family == 0)
		return err;
	q.source = route->source;
	return rtnetlink_route(h->kernel, &q, route);
}

static bool is_same(const struct way *a, const struct way *b)
{
	return a->error == b->error && a->must_ask == b->must_ask && a->link == b->link &&
	       a->hop.ifindex == b->hop.ifindex && a->hop.mtu == b->hop.mtu &&
	       a->hop.mac_len == b->hop.mac_len &&
	       memcmp(&a->gateway, &b->gateway, sizeof(a->gateway)) == 0 &&
	       endpoint_compare(&a->hop.source, &b->hop.source) == 0;
}

/* The index of a way, an old one if there is the same among the last ones; or -ENOMEM. */
static int64_t keep_way(struct next_hops *h, const struct way *way)
{
	const size_t recent = 64;
	size_t from = h->n_ways > recent ? h->n_ways - recent : 0;

	for (size_t i = from; i < h->n_ways; i++)
		if (is_same(&h->ways[i], way))
			return (int64_t)i;
	if (h->n_ways == h->ways_capacity) {
		size_t capacity = h->ways_capacity ? h->ways_capacity * 2 : 16;
		struct way *list = reallocarray(h->ways, capacity, sizeof(*list));

		if (!list)
			return -ENOMEM;
		h->ways = list;
		h->ways_capacity = capacity;
	}
	h->ways[h->n_ways] = *way;
	return (int64_t)h->n_ways++;
}

/* The kernel was too busy to say: ask it again. */
static bool is_passing(int err)
{
	return err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM || err == -EINTR;
}

static int64_t make_way(struct next_hops *h, const struct endpoint *to, unsigned interface)
{
	struct way way = {.slot = UINT32_MAX};
	struct rtnetlink_route route;

	way.error = ask_kernel(h, to, interface, &route);
	if (is_passing(way.error))
		return -EINPROGRESS;
	if (!way.error)
		way.error = fill_way(h, &route, &way);
	return keep_way(h, &way);
}

static bool is_link_local(const struct endpoint *e)
{
	return e->family == AF_INET6 && e->address[0] == 0xfe && (e->address[1] & 0xc0) == 0x80;
}

/* A link-local address is the same segment on every link. */
static int64_t find_scoped(struct next_hops *h, const struct endpoint *to)
{
	uint32_t scope = to->scope_id ? to->scope_id : h->interface;
	struct scoped_way *list;
	int64_t way;

	if (scope == 0)
		return -EINVAL; /* as connect(2) says */
	if (!find_link(h, scope) || (h->interface && h->interface != scope))
		return -ENETUNREACH;
	for (size_t i = 0; i < h->n_scoped; i++)
		if (h->scoped[i].scope_id == scope)
			return h->scoped[i].way;
	list = reallocarray(h->scoped, h->n_scoped + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	h->scoped = list;
	way = make_way(h, to, scope);
	if (way >= 0)
		list[h->n_scoped++] = (struct scoped_way){.scope_id = scope, .way = (uint32_t)way};
	return way;
}

static int64_t find_way(struct next_hops *h, const struct endpoint *to)
{
	uint32_t *value;
	int64_t way;

	if (is_link_local(to))
		return find_scoped(h, to);
	value = segments_at(&h->segments[to->family == AF_INET6], to->address);
	if (*value != NO_WAY)
		return (int64_t)*value - 1;
	way = make_way(h, to, h->interface);
	if (way >= 0)
		*value = (uint32_t)(way + 1);
	return way;
}

int next_hop_find(struct next_hops *h, const struct endpoint *to, int64_t now_ns,
                  const struct next_hop **out)
{
	struct neighbour_use use;
	struct neighbour_key key;
	const uint8_t *mac;
	struct way *way;
	int64_t index;
	int err;

	h->now_ns = now_ns;
	if (h->unread >= ANSWERS_EVERY)
		take_answers(h);
	index = find_way(h, to);
	if (index < 0)
		return (int)index;
	way = &h->ways[index];
	if (way->error)
		return way->error;
	if (way->must_ask) {
		bool is_gateway = way->gateway.family != 0;

		use = (struct neighbour_use){.asker = (uint32_t)index,
		                             .is_gateway = is_gateway,
		                             .slot = is_gateway ? &way->slot : NULL};
		key = is_gateway ? way->gateway : make_key((unsigned)way->hop.ifindex, to);
		err = neighbours_find(h->neighbours, &key, &use, now_ns, &mac);
		if (err)
			return err;
		memcpy(way->hop.mac, mac, MAC_LEN);
	}
	*out = &way->hop;
	return 0;
}

int next_hop_descriptor(const struct next_hops *h)
{
	return h->socket.epoll;
}

void next_hop_turn(struct next_hops *h, int64_t now_ns)
{
	h->now_ns = now_ns;
	take_answers(h);
	neighbours_turn(h->neighbours, now_ns);
}

uint64_t next_hops_silent(const struct next_hops *h)
{
	return neighbours_silent(h->neighbours);
}

void next_hops_set_rate(struct next_hops *h, uint64_t per_sec)
{
	if (per_sec == 0 || per_sec > QUESTIONS_PER_SEC_MAX)
		per_sec = QUESTIONS_PER_SEC_MAX;
	pacer_set_rate(&h->pacer, per_sec, h->now_ns);
}

/* Opening */

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, NEXT_HOP_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

/* Whether it is ours is the kernel's to say (AnyIP, ip_nonlocal_bind): as bind(2) would. */
static int check_source(const struct endpoint *source, char *why)
{
	char text[ENDPOINT_TEXT_LEN];
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(source, &address);
	auto_close int fd = socket(source->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0)
		return fail(why, -errno, "source %s: %s", endpoint_format_address(source, text),
		            errno == EADDRNOTAVAIL ? "not an address of this host"
		                                   : strerror(errno));
	return 0;
}

static int open_all(struct next_hops *h, char *why)
{
	struct siphash_key key;
	int err = getrandom(&key, sizeof(key), 0) == sizeof(key) ? 0 : -EIO;

	if (!err)
		err = neighbours_new(&key, ask, h, &h->neighbours);
	if (err)
		return fail(why, err, "%s", strerror(-err));
	err = rtnetlink_open(&h->kernel);
	if (!err)
		err = read_tables(h);
	if (err == -E2BIG)
		return fail(why, err, "the routing tables have more than %d prefixes",
		            SEGMENTS_MAX / 2);
	if (err)
		return fail(why, err, "cannot read the routing tables: %s", strerror(-err));
	if (h->interface && !find_link(h, h->interface))
		return fail(why, -ENODEV, "no interface has the index %u", h->interface);
	err = neighbour_socket_open(&h->socket);
	if (err)
		return fail(why, err, "cannot open a packet socket: %s", strerror(-err));
	return 0;
}

AUTO_CLEANUP(next_hops, struct next_hops *, next_hops_free)
#define auto_next_hops __attribute__((cleanup(cleanup_next_hops)))

int next_hops_open(const struct endpoint *source, unsigned interface, struct next_hops **out,
                   char why[static NEXT_HOP_ERROR_LEN])
{
	auto_next_hops struct next_hops *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return fail(why, -ENOMEM, "%s", strerror(ENOMEM));
	neighbour_socket_init(&h->socket);
	h->interface = interface;
	h->now_ns = clock_monotonic_ns();
	pacer_init(&h->pacer, QUESTIONS_PER_SEC_MAX, h->now_ns);
	if (source && source->family) {
		h->source = *source;
		h->source.port = 0;
		err = check_source(&h->source, why);
		if (err)
			return err;
	}
	err = open_all(h, why);
	if (err)
		return err;
	*out = steal_ptr(&h);
	return 0;
}

void next_hops_free(struct next_hops *h)
{
	if (!h)
		return;
	neighbour_socket_close(&h->socket);
	rtnetlink_close(h->kernel);
	neighbours_free(h->neighbours);
	for (size_t i = 0; i < ARRAY_LEN(h->segments); i++)
		segments_fini(&h->segments[i]);
	free(h->links);
	free(h->ways);
	free(h->scoped);
	free(h);
}
