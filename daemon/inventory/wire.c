/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/wire.h"

#include <string.h>

static bool is_zero(const void *bytes, size_t length)
{
	const uint8_t *b = bytes;
	uint8_t any = 0;

	for (size_t i = 0; i < length; i++)
		any |= b[i];
	return any == 0;
}

static bool is_address(const struct inventory_request *r)
{
	if (r->family == AF_INET)
		return is_zero(r->address + 4, sizeof(r->address) - 4);
	return r->family == AF_INET6;
}

static bool no_address(const struct inventory_request *r)
{
	return !r->port && is_zero(r->address, sizeof(r->address));
}

static bool is_well_formed(const struct inventory_request *r)
{
	switch (r->verb) {
	case INVENTORY_WATCH:
		return !r->family && no_address(r) && !r->netns && !r->timeout_ms &&
		       r->poll_ms >= INVENTORY_POLL_MIN_MS && r->poll_ms <= INVENTORY_POLL_MAX_MS;
	case INVENTORY_UNWATCH:
	case INVENTORY_LOGINS:
		return !r->family && no_address(r) && !r->netns && !r->timeout_ms && !r->poll_ms;
	case INVENTORY_PEERS:
		return is_address(r) && r->port && r->netns && !r->timeout_ms && !r->poll_ms;
	case INVENTORY_CONNECT:
		return is_address(r) && !is_zero(r->address, sizeof(r->address)) && r->port &&
		       !r->netns && !r->poll_ms && r->timeout_ms >= INVENTORY_TIMEOUT_MIN_MS &&
		       r->timeout_ms <= INVENTORY_TIMEOUT_MAX_MS;
	case INVENTORY_SOCKET:
		return (r->family == AF_INET || r->family == AF_INET6) && no_address(r) &&
		       r->netns && !r->timeout_ms && !r->poll_ms;
	default: return false;
	}
}

bool inventory_wire_check(const void *bytes, size_t length, struct inventory_request *out)
{
	struct inventory_request r;

	if (length != sizeof(r))
		return false;
	memcpy(&r, bytes, sizeof(r));
	if (r.version != INVENTORY_WIRE_VERSION || r.zero || !is_well_formed(&r))
		return false;
	*out = r;
	return true;
}

bool inventory_is_vantage(const struct endpoint *e)
{
	static const uint8_t net4[3] = {169, 254, 213};
	static const uint8_t net6[14] = {0xfd, 0x70, 0x70, 0x77, 0x61, 0x6c};

	if (e->family == AF_INET)
		return memcmp(e->address, net4, sizeof(net4)) == 0 && e->address[3] < 128;
	return memcmp(e->address, net6, sizeof(net6)) == 0;
}
