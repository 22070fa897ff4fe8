/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what the files and names of allow_from stand for (allow.h) to the firewall, in time: no
 * block of a rule goes in before the firewall has the rule's list. And what people are told of it.
 * Loop's thread.
 */
#pragma once

#include "daemon/agent/allow.h"
#include "daemon/agent/state.h"
#include "daemon/firewall/wire.h"

#include <event2/buffer.h>
#include <jansson.h>

struct agent;
struct admit;

_Static_assert((int)ALLOW_RULE_MAX == (int)FIREWALL_ALLOW_MAX, "a rule's list fits in a request");

int admit_new(struct agent *a, struct admit **out);
void admit_free(struct admit *ad);
/* As allow_check(); before a configuration is taken in place of another. */
int admit_check(const struct conf *conf, const char *config_path,
                char error[static CONF_ERROR_LEN]);
/* The agent's configuration is another one. Then restore, then give. */
int admit_configure(struct admit *ad);
/* Gives every list to the firewall: before any block is asked for. */
void admit_give(struct admit *ad);
/* What the state remembers of sources; those that no rule has any more are forgotten. */
void admit_restore(struct admit *ad, const struct state_snapshot *snapshot);
/* Every now and then. */
void admit_tick(struct admit *ad, int64_t now_ms);
/* The sender's answer about a name; the token has ALLOW_TOKEN. */
void admit_take_answer(struct admit *ad, uint64_t token, const struct ipc_addresses *answer);
/* Handler of the wall: the firewall's answer to a list. They come in the order of the lists. */
void admit_answered(struct admit *ad, uint32_t rule, const struct firewall_reply *reply);

enum admit_gate {
	ADMIT_OPEN = 0, /* the firewall has the list */
	ADMIT_WAIT,     /* it will in a moment: ask again */
	ADMIT_REFUSED,  /* it does not take it; said in the log, tried again */
};
/* May a first block of conf->breakers[rule] go in? */
enum admit_gate admit_gate(const struct admit *ad, unsigned rule);

/* As allow_merge(): for people. */
int admit_merge(const struct admit *ad, unsigned rule, struct prefix **out, size_t *count);

json_t *admit_report(const struct admit *ad);
void admit_expose(const struct admit *ad, struct evbuffer *out);
/* A line for each source that has never said anybody; false if there is one. */
bool admit_is_ready(const struct admit *ad, struct evbuffer *out);
