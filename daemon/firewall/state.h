/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The helper's state, for firewall.c and requests.c alone: the two halves of firewall.h. */
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
	bool has_filter;           /* there is a filter process */
	struct mnl_socket *diag;   /* for severing */
	struct block *cuts;        /* new blocks, until firewall_sever() */
	size_t n_cuts;
	struct conf *running, *candidate;
	struct ipc_conf running_id, candidate_id;
};

/* The whole table, from the shadow, under the running configuration. Returns 0 or -errno. */
int firewall_install(struct firewall *fw, int64_t now_ms);
/* Undoes a panic. Returns 0 or -errno. */
int firewall_resume(struct firewall *fw, int64_t now_ms);

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
