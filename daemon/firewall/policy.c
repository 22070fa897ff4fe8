/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/policy.h"

#include <string.h>

const char *policy_find_conf_error(const struct conf *conf)
{
	uint32_t mark = conf->firewall.mark, mask = conf->firewall.mark_mask;

	/* Prerouting accepts what carries the mark: a mark of zero would accept everything on lo.
	 */
	if (!(mark & mask))
		return "firewall.mark: must not be zero within firewall.mark_mask";
	if (mark & ~mask)
		return "firewall.mark: has bits outside firewall.mark_mask";
	return NULL;
}

bool policy_is_protected_port(const struct conf *conf, uint16_t port)
{
	for (size_t i = 0; i < conf->protect.ports.count; i++)
		if (conf->protect.ports.items[i] == port)
			return true;
	return conf->metrics.enabled && conf->metrics.listen.port == port;
}

/* 0/8 is "this network"; 224/4 multicast; 240/4 reserved, with the broadcast address. */
static bool is_unblockable4(const uint8_t address[static 4])
{
	return address[0] == 0 || address[0] >= 224;
}

/*
 * ::, multicast, and IPv4-mapped: that is an IPv4 endpoint in disguise, which no IPv6 packet names
 * and which would pass the IPv4 checks by.
 */
static bool is_unblockable6(const uint8_t address[static 16])
{
	static const uint8_t unspecified[16];
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(address, unspecified, sizeof(unspecified)) || address[0] == 0xff ||
	       !memcmp(address, mapped, sizeof(mapped));
}

static const struct conf_breaker *rule_breaker(const struct conf *conf, uint32_t rule)
{
	return rule != FIREWALL_RULE_MANUAL && rule <= conf->n_breakers ? &conf->breakers[rule - 1]
	                                                                : NULL;
}

bool policy_is_filter(const struct conf *conf, uint32_t rule)
{
	const struct conf_breaker *breaker = rule_breaker(conf, rule);

	return breaker && breaker->action == CONF_ACTION_FILTER;
}

bool policy_may_fall_back(const struct conf *conf, uint32_t rule)
{
	return policy_is_filter(conf, rule) &&
	       rule_breaker(conf, rule)->filter.fallback == CONF_ACTION_DROP;
}

enum firewall_result policy_check_ledger(const struct endpoint *e)
{
	const bool bad =
	    e->family == AF_INET ? is_unblockable4(e->address) : is_unblockable6(e->address);

	return bad ? FIREWALL_BAD_ADDRESS : FIREWALL_OK;
}

enum firewall_result policy_check_allow(const struct conf *conf, uint32_t rule)
{
	const struct conf_breaker *breaker = rule_breaker(conf, rule);

	return breaker && breaker->allow_dynamic ? FIREWALL_OK : FIREWALL_BAD_RULE;
}

enum firewall_result policy_check_endpoint(const struct conf *conf, const struct endpoint *e,
                                           uint32_t rule)
{
	const struct conf_breaker *breaker = rule_breaker(conf, rule);

	if (policy_check_ledger(e))
		return FIREWALL_BAD_ADDRESS;
	/* Only host-local clients reach loopback, and only seal_local cuts those. */
	if (endpoint_is_loopback(e) && !(breaker && breaker->seal_local))
		return FIREWALL_BAD_ADDRESS;
	return policy_is_protected_port(conf, e->port) ? FIREWALL_PROTECTED_PORT : FIREWALL_OK;
}

enum firewall_result policy_check_block(const struct conf *conf,
                                        const struct firewall_request *request)
{
	struct endpoint e = policy_request_endpoint(request);
	enum firewall_result result;

	if (request->fallback && !policy_may_fall_back(conf, request->rule))
		return FIREWALL_BAD_RULE;
	if (request->rule != FIREWALL_RULE_MANUAL) {
		const struct conf_breaker *breaker = rule_breaker(conf, request->rule);

		/* While observing, only a person blocks. */
		if (!breaker || breaker->action == CONF_ACTION_ALERT ||
		    conf->mode != CONF_MODE_ENFORCE)
			return FIREWALL_BAD_RULE;
	}
	result = policy_check_endpoint(conf, &e, request->rule);
	if (result)
		return result;
	if (request->timeout_ms < FIREWALL_TIMEOUT_MIN_MS ||
	    request->timeout_ms > FIREWALL_TIMEOUT_MAX_MS)
		return FIREWALL_BAD_TIMEOUT;
	return FIREWALL_OK;
}

uint64_t policy_rate_count(const struct policy_rate *rate, int64_t now_ms)
{
	int64_t now = now_ms / 1000;
	uint64_t count = 0;

	for (size_t i = 0; i < POLICY_RATE_SECONDS; i++)
		if (now - rate->second[i] < POLICY_RATE_SECONDS)
			count += rate->count[i];
	return count;
}

void policy_rate_record(struct policy_rate *rate, int64_t now_ms)
{
	int64_t now = now_ms / 1000;
	size_t slot = (size_t)(now % POLICY_RATE_SECONDS);

	if (rate->second[slot] != now) {
		rate->second[slot] = now;
		rate->count[slot] = 0;
	}
	rate->count[slot]++;
}

enum firewall_result policy_check_room(const struct conf *conf, size_t blocks)
{
	return blocks >= conf->firewall.max_blocks ? FIREWALL_TOO_MANY : FIREWALL_OK;
}

enum firewall_result policy_check_caps(const struct conf *conf, const struct policy_rate *rate,
                                       size_t blocks, int64_t now_ms)
{
	enum firewall_result result = policy_check_room(conf, blocks);

	if (!result && policy_rate_count(rate, now_ms) >= conf->firewall.max_blocks_per_minute)
		result = FIREWALL_TOO_FAST;
	return result;
}

struct endpoint policy_request_endpoint(const struct firewall_request *request)
{
	struct endpoint e = {.family = request->family, .port = request->port};

	memcpy(e.address, request->address, sizeof(e.address));
	return e;
}
