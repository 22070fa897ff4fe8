/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a compromised agent can send: whatever the bytes, no request is admitted that is not whole.
 */
#include "daemon/inventory/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[16];
	struct inventory_request r;

	if (!inventory_wire_check(data, size, &r))
		return 0;
	require(size == sizeof(r) && memcmp(data, &r, size) == 0);
	require(r.version == INVENTORY_WIRE_VERSION && !r.zero);
	require(r.verb >= INVENTORY_WATCH && r.verb <= INVENTORY_SOCKET);
	require(r.family == 0 || r.family == AF_INET || r.family == AF_INET6);
	require((r.verb == INVENTORY_WATCH) == (r.poll_ms != 0));
	require((r.verb == INVENTORY_CONNECT) == (r.timeout_ms != 0));
	require((r.verb == INVENTORY_PEERS || r.verb == INVENTORY_SOCKET) == (r.netns != 0));
	require((r.verb == INVENTORY_PEERS || r.verb == INVENTORY_CONNECT) == (r.port != 0));
	require(r.verb != INVENTORY_CONNECT || memcmp(r.address, none, sizeof(none)) != 0);
	require(r.family != AF_INET || memcmp(r.address + 4, none, 12) == 0);
	return 0;
}
