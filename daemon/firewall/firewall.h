/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The helper's state and what it does with it: every request, configuration and panic comes here,
 * and the table in the kernel follows. No loop, no frames: main.c has those. Single-threaded.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/firewall/listeners.h"
#include "daemon/firewall/wire.h"
#include "daemon/ipc.h"

struct firewall;

/*
 * Opens the netlink sockets: call it after privileges were dropped and before the system call
 * filter. Returns 0 or -errno.
 */
int firewall_new(uid_t prober_uid, uid_t filter_uid, struct firewall **out);
/* Leaves the table as it is. */
void firewall_free(struct firewall *fw);

/* To be polled for reading while it is not -1; then firewall_read_monitor(). */
int firewall_monitor_fd(const struct firewall *fw);
/* *restored: somebody had changed our table, and it is whole again. Returns 0 or -errno. */
int firewall_read_monitor(struct firewall *fw, int64_t now_ms, bool *restored);

/* Checks a configuration, from the file behind `fd`, and keeps it as the candidate. */
void firewall_check_conf(struct firewall *fw, const struct ipc_conf *id, int fd,
                         struct ipc_result *result);
/* Puts the candidate in force, in one transaction; *first: it is the first one. */
void firewall_commit_conf(struct firewall *fw, const struct ipc_conf *id, int64_t now_ms,
                          struct ipc_result *result, bool *first);
void firewall_abort_conf(struct firewall *fw);

/* Deletes the table; nothing is blocked until RESUME. Returns 0 or -errno (try again). */
int firewall_panic(struct firewall *fw);
/*
 * At the start, the blocks that were left may be in force and yet to be read: while that is so,
 * nothing may be asked of firewall_serve() and all that comes after it here; firewall_read_on() one
 * part at a time. Everything else can be called at any time. Returns 0 or -errno.
 */
bool firewall_is_reading(const struct firewall *fw);
int firewall_read_on(struct firewall *fw, int64_t now_ms);

/* From time to time, that a successor finds the table as a good one: see stamp.h. */
void firewall_refresh_stamp(struct firewall *fw);
/* What the filter process's sockets carry. */
uint32_t firewall_socket_mark(const struct firewall *fw);
/* From time to time: *restored: somebody had changed the road to the filter. Returns 0 or -errno.
 */
int firewall_keep_road(struct firewall *fw, bool *restored);
/* The parent's STOP: keeps or deletes the table, as the configuration says. */
int firewall_stop(struct firewall *fw);

/*
 * The filter process. `listening`: there is one, which has no listeners yet; they are opened, and
 * the table leads to them. Else there is none, and each rule's on_failure holds.
 * Returns 0 or -errno.
 */
int firewall_set_filter(struct firewall *fw, bool listening, int64_t now_ms);
/* It does not answer, or does again: on_failure holds meanwhile. Returns 0 or -errno. */
int firewall_set_deaf(struct firewall *fw, bool deaf, int64_t now_ms);
/* Is any endpoint led to it? */
bool firewall_is_filtering(const struct firewall *fw);
/* What it is to be told: to be asked for after either, and after a commit. */
bool firewall_take_news(struct firewall *fw, struct listener_news *out);

/* What every reply carries; result OK. */
struct firewall_reply firewall_status(const struct firewall *fw);
/* One request other than LIST and LEDGER_LIST; the reply counts after the kernel's acknowledgement.
 */
struct firewall_reply firewall_serve(struct firewall *fw, const struct firewall_request *request,
                                     int64_t now_ms);
/*
 * BLOCKs that came one after the other, in one transaction if the kernel takes it, each with a
 * reply of its own. As many as are there at once: a transaction costs the more the more blocks
 * there are, whatever it changes.
 */
enum { FIREWALL_BLOCKS_AT_ONCE = 100000 }; /* firewall.max_blocks is no more */
void firewall_serve_blocks(struct firewall *fw, const struct firewall_request *requests,
                           struct firewall_reply *replies, size_t count, int64_t now_ms);
/*
 * To be called after the replies, before anything else is asked: what came together may have been
 * put without its counters. Cheap if not. Returns 0 or -errno (try again).
 */
int firewall_add_counters(struct firewall *fw, int64_t now_ms);
bool firewall_is_uncounted(const struct firewall *fw);
/*
 * LIST: one reply for each block and the end, in a malloc()ed array. Returns 0 or -ENOMEM; what the
 * kernel refuses to tell is the last reply's result.
 */
int firewall_list(struct firewall *fw, int64_t now_ms, struct firewall_reply **out, size_t *count);
/*
 * To be called after the reply: what a new block has cut of this host's own connections is ended.
 * *ended: how many. Returns 0 or -errno; -EOPNOTSUPP or -ENOENT from a kernel that cannot do it.
 */
int firewall_sever(struct firewall *fw, size_t *ended);
/*
 * Connections from before to endpoints that are filtered now: those that are idle after the rule's
 * `drain`, and somewhat later all others. To be called at firewall_drain_wake_ms() at the latest,
 * 0: never; the rest is as with firewall_sever().
 */
int firewall_drain(struct firewall *fw, int64_t now_ms, size_t *ended);
int64_t firewall_drain_wake_ms(const struct firewall *fw);
/* ALLOW, with its entries. */
struct firewall_reply firewall_allow(struct firewall *fw, const struct firewall_allow *request,
                                     const struct prefix *entries, int64_t now_ms);
/*
 * LEDGER_LIST: all peers in a malloc()ed array, and the reply that ends the list. Returns 0 or
 * -ENOMEM; what the kernel refuses to tell is in the reply.
 */
int firewall_list_peers(struct firewall *fw, const struct firewall_request *request,
                        struct firewall_peer **out, size_t *count, struct firewall_reply *end);
