/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The helper's state, for the files alone that make up firewall.h. */
#pragma once

#include "common/host_id.h"
#include "daemon/firewall/firewall.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/road.h"
#include "daemon/firewall/sever.h"
#include "daemon/firewall/table.h"

struct firewall {
	struct table table;
	struct road road;
	struct shadow shadow;
	bool panicked;
	char host_id[HOST_ID_LEN]; /* for enforce_percent */
	struct policy_rate rate;   /* of new blocks */
	int64_t restore_until_ms;  /* those that stood before the start are none until then */
	bool has_filter;           /* there is a filter process */
	struct mnl_socket *diag;   /* for severing */
	struct block *cuts;        /* new blocks, until firewall_sever() */
	size_t n_cuts;
	int64_t drain_wake_ms; /* when firewall_drain() has something to do; 0: never */
	struct conf *running, *candidate;
	struct ipc_conf running_id, candidate_id;
};

/* The whole table, from the shadow, under the running configuration. Returns 0 or -errno. */
int firewall_install(struct firewall *fw, int64_t now_ms);
/* Its connections are to be ended by firewall_sever(). */
void firewall_note_cut(struct firewall *fw, const struct block *block);
/* If it is filtered, its connections from before have their time from now on. */
void firewall_begin_drain(struct firewall *fw, struct block *block, int64_t now_ms);
/* Undoes a panic. Returns 0 or -errno. */
int firewall_resume(struct firewall *fw, int64_t now_ms);

/* Does it ask for what stood before the start? */
bool firewall_is_restored(const struct firewall *fw, const struct firewall_request *request,
                          int64_t now_ms);
/* May a BLOCK be? `present` is what is blocked there already, or NULL. */
enum firewall_result firewall_check_block(const struct firewall *fw,
                                          const struct firewall_request *request,
                                          const struct block *present, int64_t now_ms);
/* The block that it asks for, in place of `present` (or NULL); nothing is counted yet. */
struct block firewall_make_block(struct firewall *fw, const struct firewall_request *request,
                                 const struct block *present, int64_t now_ms);
/* It is in the kernel in place of `present` (or NULL): connections that it cuts are to be ended. */
void firewall_note_change(struct firewall *fw, const struct block *block,
                          const struct block *present);
struct firewall_reply firewall_make_reply(const struct firewall *fw,
                                          const struct firewall_request *request,
                                          enum firewall_result result, int error, int64_t now_ms);

/*
 * The road to the filter, for endpoints that are not this host's own. Whether a configuration's
 * road would meet somebody else's: -EADDRINUSE and why, or what the kernel says. It is opened
 * before the configuration's table is there, and closed after that has replaced another, each if
 * the configuration asks for it.
 */
int firewall_check_road(struct firewall *fw, const struct conf *conf,
                        char reason[static ROAD_REASON_LEN]);
int firewall_open_road(struct firewall *fw, const struct conf *conf);
int firewall_close_road(struct firewall *fw, const struct conf *conf);
int firewall_remove_road(struct firewall *fw);
