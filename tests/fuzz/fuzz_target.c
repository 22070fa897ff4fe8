/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line is read as a target and as a list of ports. What is accepted must hold its own
 * invariants: it can be walked, its first and last endpoints lie in it, its strings are closed.
 */
#include "scanner/target.h"

#include "common/cleanup.h"

#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

static void check_target(const struct target *t, const struct port_list *ports)
{
	uint64_t count = target_count(t, ports);
	const uint64_t places[] = {0, count / 2, count - 1};

	CHECK(memchr(t->host, '\0', sizeof(t->host)) && memchr(t->path, '\0', sizeof(t->path)));
	CHECK(t->path[0] == '\0' || t->path[0] == '/');
	CHECK(count > 0);
	if (t->host[0])
		return;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct endpoint e;

		target_at(t, ports, places[i], &e);
		CHECK(e.port != 0 && prefix_contains(&t->prefix, &e));
	}
}

static void check_ports(const struct port_list *list)
{
	auto_free uint8_t *seen = calloc(65536, 1);

	CHECK(seen && list->count > 0 && list->count <= PORT_LIST_MAX);
	for (size_t i = 0; i < list->count; i++) {
		CHECK(list->ports[i] != 0 && !seen[list->ports[i]]);
		seen[list->ports[i]] = 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint16_t two_ports[] = {80, 443};
	const struct port_list two = {two_ports, 2};
	auto_free char *text = malloc(size + 1);
	char why[TARGET_ERROR_LEN];
	struct port_list list;
	struct target t;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (target_parse(text, &t, why) == 0)
		check_target(&t, &two);
	else
		CHECK(!strpbrk(why, "\n\r"));
	if (port_list_parse(text, &list, why) == 0) {
		check_ports(&list);
		port_list_free(&list);
	}
	return 0;
}
