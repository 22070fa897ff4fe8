/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter process in its parts: filter.c (parent, agent), filter_firewall.c. */
#pragma once

#include "daemon/channel.h"
#include "daemon/filter/filter.h"
#include "daemon/filter/listeners.h"
#include "daemon/ipc.h"

struct filter {
	struct event_base *base;
	struct channel *parent, *agent, *firewall;
	const struct signatures *signatures;
	struct service service;
	struct rules rules;
	struct listeners *listeners;
	struct {
		uint64_t generation; /* 0: none */
		struct policy **policies;
		size_t n;
	} candidate;
	bool ready;
	struct event *tick;
	struct filter_stats told;
	int64_t stop_at_ms; /* when it is to end, whatever is still under way */
	int exit_status;
};

/* The peer broke the protocol, or memory is short: says so, and the process ends. */
void filter_refuse(struct filter *f, const char *peer, const char *why);
/* Nothing when there is no channel. */
void filter_send(struct filter *f, struct channel *ch, const char *peer, uint16_t type,
                 uint64_t seq, const void *body, size_t length);

/* filter_firewall.c */
/* IPC_PARENT_PEER: its socket, in place of an older one. */
void filter_take_firewall(struct filter *f, struct frame *frame);
/* service.ask_socket; `arg` is the filter. */
int filter_ask_socket(uint64_t seq, sa_family_t family, void *arg);
