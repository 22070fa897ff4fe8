/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of hosts and networks that may accept every port (see guard_accept_all.h):
 * tables of constant size. What has no place any more is forgotten, the least known first. Pure;
 * one thread.
 */
#pragma once

#include "common/prefix.h"
#include "common/siphash.h"

enum {
	GUARD_HOSTS = 16384,
	GUARD_NETWORKS = 4096,
	GUARD_NETWORK_HOSTS = 8, /* that accept every port, before their network is looked at */
	GUARD_FIRST_RANDOM_PORT = 40000,
	GUARD_LAST_RANDOM_PORT = 60999,
};

enum guard_seen {
	GUARD_SEEN_PASS = 1,
	GUARD_SEEN_CHECK,         /* this one may pass, but the host is to be looked at now */
	GUARD_SEEN_HOST_ASIDE,    /* it accepts every port */
	GUARD_SEEN_NETWORK_ASIDE, /* all of its network does */
};

struct guard_hosts;

/* `ports` are those of the sweep; they are copied. NULL when memory is out. */
struct guard_hosts *guard_hosts_new(const struct siphash_key *key, const uint16_t *ports,
                                    size_t n_ports);
void guard_hosts_free(struct guard_hosts *h);

/* How many open ports make a host one to be looked at: 5; fewer where fewer are asked for. */
unsigned guard_hosts_threshold(size_t n_ports);

/* One more port of the host is open. */
enum guard_seen guard_hosts_see(struct guard_hosts *h, const struct endpoint *e);
/*
 * The host was looked at. One that passed is looked at again when it has shown four times as many
 * ports: a lost SYN makes a middlebox look honest. Returns true when its network is to be looked
 * at now.
 */
bool guard_hosts_judge(struct guard_hosts *h, const struct endpoint *e, bool accepts_all);
/* The network was looked at; one that passed is looked at again after twice as many hosts. */
void guard_hosts_judge_network(struct guard_hosts *h, const struct endpoint *e, bool accepts_all);
bool guard_hosts_is_aside(const struct guard_hosts *h, const struct endpoint *e);

/* The /24 or /64 that an endpoint is in. */
struct prefix guard_hosts_network(const struct endpoint *e);
/*
 * The i-th random port for a host, i < 3: no two the same, none of the sweep's (unless that asks
 * for all of them). Nobody without the key can tell it beforehand.
 */
uint16_t guard_hosts_random_port(const struct guard_hosts *h, const struct endpoint *e, unsigned i);
/* The i-th random address in the endpoint's network; scope as there, port 0. They may repeat. */
void guard_hosts_random_address(const struct guard_hosts *h, const struct endpoint *e, unsigned i,
                                struct endpoint *out);
