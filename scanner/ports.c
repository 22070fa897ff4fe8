/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/target.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * Where Go servers have been seen to serve profiles, most rewarding first. top10 is the first ten,
 * top30 the first thirty, top60 all of it.
 */
static const uint16_t ranked_ports[] = {
    6060,  8080,  9090,  9100, 9093,  9091,  8086,  2379, 8428,  3100, /* top10 */
    9115,  2375,  10902, 4151, 10080, 8500,  12345, 8081, 14269, 1777, /* top30 */
    10250, 6443,  10249, 5001, 4646,  3200,  8429,  4161, 9080,  2019,
    8880,  8427,  8480,  8481, 8482,  10257, 10259, 6061, 6062,  6063, /* top60 */
    6053,  1234,  2345,  1633, 5572,  3903,  65432, 8082, 9009,  4040,
    9876,  10245, 10254, 9104, 9116,  9102,  3000,  8000, 8443,  443,
};
static const uint16_t classic_ports[] = {8080, 8000, 3000, 9000};
static const uint16_t tls_first_ports[] = {443, 8443, 6443, 10250, 10257, 10259};

static const struct {
	const char *name;
	const uint16_t *ports;
	size_t count;
} named_lists[] = {
    {"classic", classic_ports, ARRAY_LEN(classic_ports)},
    {"top10", ranked_ports, 10},
    {"top30", ranked_ports, 30},
    {"top60", ranked_ports, ARRAY_LEN(ranked_ports)},
};

_Static_assert(ARRAY_LEN(ranked_ports) == 60, "top60 has sixty ports");

/* A list being read: which ports it has, so that none comes twice. */
struct builder {
	port_list_find_fn *find; /* or NULL */
	const void *arg;
	uint16_t *ports;
	size_t count;
	uint8_t seen[65536 / 8];
};

static void add_port(struct builder *b, uint16_t port)
{
	uint8_t bit = (uint8_t)(1U << (port % 8));

	if (b->seen[port / 8] & bit)
		return;
	b->seen[port / 8] |= bit;
	b->ports[b->count++] = port;
}

static bool add_named_list(struct builder *b, const char *name)
{
	size_t count;
	const uint16_t *found = b->find ? b->find(name, &count, b->arg) : NULL;

	if (found) {
		for (size_t p = 0; p < count; p++)
			add_port(b, found[p]);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(named_lists); i++) {
		if (strcmp(named_lists[i].name, name) != 0)
			continue;
		for (size_t p = 0; p < named_lists[i].count; p++)
			add_port(b, named_lists[i].ports[p]);
		return true;
	}
	return false;
}

static int add_item(struct builder *b, char *item, char why[static TARGET_ERROR_LEN])
{
	char *dash = strchr(item, '-');
	uint16_t first, last;

	if (*item == '\0') {
		snprintf(why, TARGET_ERROR_LEN, "empty item in a list of ports");
		return -EINVAL;
	}
	if (add_named_list(b, item))
		return 0;
	if (dash)
		*dash = '\0';
	if (endpoint_parse_port(item, &first) < 0 ||
	    endpoint_parse_port(dash ? dash + 1 : item, &last) < 0) {
		if (dash)
			*dash = '-';
		snprintf(why, TARGET_ERROR_LEN,
		         "'%.40s' is no port; expected 1 to 65535, a range such as 8080-8090, or "
		         "classic, top10, top30, top60",
		         item);
		return -EINVAL;
	}
	if (first > last) {
		snprintf(why, TARGET_ERROR_LEN, "the range of ports %u-%u runs backwards",
		         (unsigned)first, (unsigned)last);
		return -EINVAL;
	}
	for (unsigned port = first; port <= last; port++)
		add_port(b, (uint16_t)port);
	return 0;
}

int port_list_parse_named(const char *text, port_list_find_fn *find, const void *arg,
                          struct port_list *out, char why[static TARGET_ERROR_LEN])
{
	auto_free struct builder *b = calloc(1, sizeof(*b));
	auto_free uint16_t *ports = calloc(PORT_LIST_MAX, sizeof(*ports));
	auto_free char *copy = strdup(text);
	char *rest = copy;
	uint16_t *exact;

	if (!b || !ports || !copy) {
		snprintf(why, TARGET_ERROR_LEN, "out of memory");
		return -ENOMEM;
	}
	b->ports = ports;
	b->find = find;
	b->arg = arg;
	while (rest) {
		int err = add_item(b, strsep(&rest, ","), why);

		if (err < 0)
			return err;
	}
	exact = b->count > 0 ? realloc(ports, b->count * sizeof(*ports)) : NULL;
	if (exact)
		ports = exact;
	out->ports = steal_ptr(&ports);
	out->count = b->count;
	return 0;
}

int port_list_parse(const char *text, struct port_list *out, char why[static TARGET_ERROR_LEN])
{
	return port_list_parse_named(text, NULL, NULL, out, why);
}

void port_list_free(struct port_list *list)
{
	free(list->ports);
	*list = (struct port_list){0};
}

bool port_is_tls_first(uint16_t port)
{
	for (size_t i = 0; i < ARRAY_LEN(tls_first_ports); i++) {
		if (tls_first_ports[i] == port)
			return true;
	}
	return false;
}
