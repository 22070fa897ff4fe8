/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a compromised agent can send: whatever the bytes, nothing is admitted that the policy
 * promises to refuse.
 */
#include "daemon/firewall/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_admitted(const struct firewall_request *r)
{
	static const uint8_t zero[16];

	require(r->verb == FIREWALL_BLOCK && !r->fallback && r->restored <= 1);
	require(r->port && r->port != 22 && r->port != 9464);
	require(r->rule == 0 || r->rule == 1 || r->rule == 2);
	require(r->timeout_ms >= 1000 && r->timeout_ms <= FIREWALL_TIMEOUT_MAX_MS);
	if (r->family == AF_INET) {
		require(r->address[0] && r->address[0] < 224);
		require(!memcmp(r->address + 4, zero, 12));
		require(r->address[0] != 127 || r->rule == 2);
	} else {
		require(r->family == AF_INET6 && r->address[0] != 0xff);
		require(memcmp(r->address, zero, sizeof(zero)));
	}
}

static void check_allow(const uint8_t *data, size_t size)
{
	static struct prefix entries[FIREWALL_ALLOW_MAX];
	struct firewall_allow head;

	if (firewall_wire_check_allow(data, size, &head, entries))
		return;
	require(size == sizeof(head) + head.count * sizeof(struct firewall_prefix));
	for (uint32_t i = 0; i < head.count; i++) {
		const struct firewall_prefix again = firewall_prefix_from(&entries[i]);

		require(!memcmp(data + sizeof(head) + i * sizeof(again), &again, sizeof(again)));
		require(entries[i].bits <= (entries[i].family == AF_INET ? 32 : 128));
	}
}

static void check_blocks(const uint8_t *data, size_t size)
{
	static struct firewall_request read[FIREWALL_AT_ONCE];
	const size_t count = firewall_wire_read_blocks(data, size, read);

	require(!count || count * sizeof(*read) == size);
	require(!count || !memcmp(data, read, size));
	for (size_t i = 0; i < count; i++)
		require(read[i].verb == FIREWALL_BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "name";
	uint16_t ports[] = {22};
	struct conf_breaker breakers[] = {{.name = name},
	                                  {.name = name, .seal_local = true},
	                                  {.name = name, .action = CONF_ACTION_ALERT}};
	struct conf conf = {.mode = CONF_MODE_ENFORCE, .breakers = breakers, .n_breakers = 3};
	struct firewall_request r;

	conf.protect.ports.items = ports;
	conf.protect.ports.count = 1;
	conf.metrics.enabled = true;
	conf.metrics.listen.port = 9464;
	check_allow(data, size);
	check_blocks(data, size);
	if (firewall_wire_check(data, size, &r))
		return 0;
	require(size == sizeof(r) && !memcmp(data, &r, size));
	if (r.verb == FIREWALL_BLOCK && policy_check_block(&conf, &r) == FIREWALL_OK)
		check_admitted(&r);
	return 0;
}
