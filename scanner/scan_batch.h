/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a batch is put together. Internal to scan_feed.c. */
#pragma once

#include "scanner/scan_feed.h"

struct scan_draft;

/* All return 0 or -ENOMEM where nothing else is said. */
int scan_draft_new(uint64_t first_target, struct scan_draft **out);
void scan_draft_free(struct scan_draft *d);
uint64_t scan_draft_first(const struct scan_draft *d);
/* Of the input's targets, whoever's they are. */
void scan_draft_count(struct scan_draft *d);
uint64_t scan_draft_taken(const struct scan_draft *d);
/* `token` is for the spans of the target. */
int scan_draft_add_target(struct scan_draft *d, const struct target *target, uint32_t *token);
int scan_draft_add_network(struct scan_draft *d, const struct target *target, bool particular,
                           uint32_t token);
/* Of a name, or where the user says that it is. */
int scan_draft_add_address(struct scan_draft *d, const struct endpoint *address, uint16_t port,
                           uint32_t token);
/* Makes the batch and takes the draft: *d is NULL afterwards, also on failure. */
int scan_draft_finish(struct scan_draft **d, const struct scan_feed_conf *conf,
                      struct scan_batch **out);
