/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/wire.h"

#include <string.h>

const char *firewall_result_text(enum firewall_result result)
{
	switch (result) {
	case FIREWALL_OK: return "done";
	case FIREWALL_MALFORMED: return "malformed request";
	case FIREWALL_STALE: return "another configuration is in force";
	case FIREWALL_BAD_RULE: return "no such rule, or one that does not block";
	case FIREWALL_BAD_ADDRESS: return "the address cannot be blocked";
	case FIREWALL_BAD_TIMEOUT: return "the timeout is not within 1 s and 30 days";
	case FIREWALL_PROTECTED_PORT: return "the port is protected";
	case FIREWALL_TOO_MANY: return "firewall.max_blocks is reached";
	case FIREWALL_TOO_FAST: return "firewall.max_blocks_per_minute is reached";
	case FIREWALL_PANICKED: return "enforcement is off since a panic";
	case FIREWALL_NOT_FOUND: return "there is no such block";
	case FIREWALL_KERNEL: return "the kernel refused";
	case FIREWALL_END: return "end of the list";
	}
	return "unknown result";
}

static bool is_zero(const void *bytes, size_t length)
{
	const uint8_t *b = bytes;
	uint8_t any = 0;

	for (size_t i = 0; i < length; i++)
		any |= b[i];
	return any == 0;
}

/* An endpoint; whether it may be blocked is policy.c's question. */
static bool names_endpoint(const struct firewall_request *r)
{
	if (!r->port)
		return false;
	if (r->family == AF_INET)
		return is_zero(r->address + 4, sizeof(r->address) - 4);
	return r->family == AF_INET6;
}

static bool names_nothing(const struct firewall_request *r)
{
	return !r->port && !r->family && is_zero(r->address, sizeof(r->address)) && !r->rule;
}

enum firewall_result firewall_wire_check(const void *bytes, size_t length,
                                         struct firewall_request *out)
{
	struct firewall_request r;
	bool well_formed;

	if (length != sizeof(r))
		return FIREWALL_MALFORMED;
	memcpy(&r, bytes, sizeof(r));
	if (r.version != FIREWALL_WIRE_VERSION || r.fallback > (r.verb == FIREWALL_BLOCK) ||
	    r.restored > (r.verb == FIREWALL_BLOCK) || !is_zero(r.zero2, sizeof(r.zero2)))
		return FIREWALL_MALFORMED;
	switch (r.verb) {
	case FIREWALL_BLOCK: well_formed = names_endpoint(&r); break;
	case FIREWALL_UNBLOCK: well_formed = names_endpoint(&r) && !r.timeout_ms; break;
	case FIREWALL_LEDGER_ADD:
	case FIREWALL_LEDGER_REMOVE:
		well_formed = names_endpoint(&r) && !r.rule && !r.timeout_ms;
		break;
	case FIREWALL_LEDGER_LIST:
		well_formed = (names_endpoint(&r) || names_nothing(&r)) && !r.rule && !r.timeout_ms;
		break;
	case FIREWALL_LIST:
	case FIREWALL_PANIC:
	case FIREWALL_RESUME:
	case FIREWALL_STATUS: well_formed = names_nothing(&r) && !r.timeout_ms; break;
	default: well_formed = false;
	}
	if (!well_formed)
		return FIREWALL_MALFORMED;
	*out = r;
	return FIREWALL_OK;
}

static bool read_prefix(const struct firewall_prefix *from, struct prefix *out)
{
	const unsigned most = from->family == AF_INET ? 32 : 128;
	struct prefix p = {.family = from->family, .bits = from->bits};
	unsigned stray = 0;

	if (from->zero[0] || from->zero[1] || (p.family != AF_INET && p.family != AF_INET6) ||
	    p.bits > most)
		return false;
	memcpy(p.address, from->address, sizeof(p.address));
	for (unsigned bit = p.bits; bit < 8 * sizeof(p.address); bit++)
		stray |= p.address[bit / 8] & (0x80U >> bit % 8);
	if (stray)
		return false;
	*out = p;
	return true;
}

size_t firewall_wire_read_blocks(const void *bytes, size_t length,
                                 struct firewall_request out[static FIREWALL_AT_ONCE])
{
	const size_t count = length / sizeof(*out);
	const uint8_t *at = bytes;

	if (count > FIREWALL_AT_ONCE || length % sizeof(*out))
		return 0;
	for (size_t i = 0; i < count; i++)
		if (firewall_wire_check(at + i * sizeof(*out), sizeof(*out), &out[i]) ||
		    out[i].verb != FIREWALL_BLOCK)
			return 0;
	return count;
}

enum firewall_result firewall_wire_check_allow(const void *bytes, size_t length,
                                               struct firewall_allow *out,
                                               struct prefix entries[static FIREWALL_ALLOW_MAX])
{
	const uint8_t *at = bytes;
	struct firewall_allow r;

	if (length < sizeof(r))
		return FIREWALL_MALFORMED;
	memcpy(&r, at, sizeof(r));
	if (r.version != FIREWALL_WIRE_VERSION || r.zero || r.zero2 ||
	    r.count > FIREWALL_ALLOW_MAX ||
	    length != sizeof(r) + r.count * sizeof(struct firewall_prefix))
		return FIREWALL_MALFORMED;
	at += sizeof(r);
	for (uint32_t i = 0; i < r.count; i++, at += sizeof(struct firewall_prefix)) {
		struct firewall_prefix entry;

		memcpy(&entry, at, sizeof(entry));
		if (!read_prefix(&entry, &entries[i]))
			return FIREWALL_MALFORMED;
	}
	*out = r;
	return FIREWALL_OK;
}

struct firewall_prefix firewall_prefix_from(const struct prefix *p)
{
	struct firewall_prefix entry = {.family = (uint8_t)p->family, .bits = p->bits};

	memcpy(entry.address, p->address, sizeof(entry.address));
	return entry;
}
