/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the firewall lets the agent do. The agent has policies of its own; these are checked again
 * here, from the helper's own copy of the configuration, since the agent may be compromised. Pure:
 * no I/O, the time is passed in.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/wire.h"

/* Says why `conf` cannot be enforced at all (one line), or returns NULL. */
const char *policy_find_conf_error(const struct conf *conf);

/* A protected port of the configuration, or one that we listen on ourselves. */
bool policy_is_protected_port(const struct conf *conf, uint16_t port);

/*
 * May this endpoint be blocked under this rule (numbered as in wire.h)? OK, BAD_ADDRESS or
 * PROTECTED_PORT. Also asked of blocks that are in force when the configuration changes.
 */
enum firewall_result policy_check_endpoint(const struct conf *conf, const struct endpoint *e,
                                           uint32_t rule);
/* Does this rule (numbered as in wire.h) give what it blocks to the filter process? */
bool policy_is_filter(const struct conf *conf, uint32_t rule);
/* And may it refuse, under this configuration, what cannot be filtered? */
bool policy_may_fall_back(const struct conf *conf, uint32_t rule);
/* May the ledger count who connects there? OK or BAD_ADDRESS. */
enum firewall_result policy_check_ledger(const struct endpoint *e);
/* May the agent say whom this rule lets through? OK or BAD_RULE. */
enum firewall_result policy_check_allow(const struct conf *conf, uint32_t rule);
/* All that can be said of a BLOCK without knowing what is blocked already. */
enum firewall_result policy_check_block(const struct conf *conf,
                                        const struct firewall_request *request);

/*
 * New blocks of the last minute. Counted by whole seconds, 61 of them, so that no window of 60 s
 * ever lets more through than the cap.
 */
enum { POLICY_RATE_SECONDS = 61 };
struct policy_rate {
	int64_t second[POLICY_RATE_SECONDS];
	uint32_t count[POLICY_RATE_SECONDS];
};
uint64_t policy_rate_count(const struct policy_rate *rate, int64_t now_ms);
void policy_rate_record(struct policy_rate *rate, int64_t now_ms);

/* Is there room for a block that is not yet in force? OK or TOO_MANY. */
enum firewall_result policy_check_room(const struct conf *conf, size_t blocks);
/* And may it come now? OK, TOO_MANY or TOO_FAST. */
enum firewall_result policy_check_caps(const struct conf *conf, const struct policy_rate *rate,
                                       size_t blocks, int64_t now_ms);

/* The endpoint that a well-formed BLOCK or UNBLOCK names. */
struct endpoint policy_request_endpoint(const struct firewall_request *request);
