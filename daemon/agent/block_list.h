/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control verb block_list: many endpoints, all of them or none. What can be told beforehand is
 * told before anything is asked of the firewall helper (protected ports, addresses, both caps);
 * if the helper refuses one nevertheless, what was made is taken back. Decisions are saved and
 * alerted when the whole list stands. One list at a time. Loop's thread.
 *
 * The firewall's wire knows blocks one by one: the list is asked for in steps, and other clients
 * of the loop come in between.
 */
#pragma once

#include "daemon/agent/agent.h"

/* Answers the request, now or later; `terms` are its reason, author and time. */
void block_list_start(struct agent *a, struct control_request *cr, const json_t *request,
                      const struct state_manual *terms);
/* The helper has counted: goes on where a list waits for it. */
void block_list_take_status(struct agent *a, const struct firewall_reply *reply);
/* The wall has answered for a watch that has `in_list`. */
void block_list_settled(struct agent *a, struct watch *w);
/* Gives up what has taken too long; to be called every now and then. */
void block_list_check_deadline(struct agent *a);
/* The agent ends; an answer that is owed is given. */
void block_list_free(struct agent *a);
