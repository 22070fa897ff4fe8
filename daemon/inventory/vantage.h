/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network namespace of our own, joined to the host's by a pair of virtual Ethernet devices, with
 * a default route through the host. What connects from there comes in on an interface, as a
 * stranger's packets do, and no exception of the wall knows it: a refusal there is a refusal
 * everywhere. Nobody listens in it, and it ends with whoever holds it.
 *
 *	host                              vantage
 *	pprofwall0  169.254.213.N/31  <-> eth0  169.254.213.N+1/31
 *	            fd70:7077:616c::2/127       fd70:7077:616c::3/127
 */
#pragma once

#include "common/endpoint.h"
#include "daemon/inventory/wire.h"

#include <event2/event.h>

#define VANTAGE_HOST_LINK "pprofwall0"

enum { VANTAGE_WHY_LEN = 128, VANTAGE_MAX_CONNECTS = 64 };

struct vantage;

/*
 * Makes it; needs CAP_NET_ADMIN and CAP_SYS_ADMIN, once. The process is in its own namespace again
 * afterwards. Clears away what a forerunner has left. Returns 0, or -errno with one line in `why`.
 */
int vantage_make(struct vantage **out, char why[static VANTAGE_WHY_LEN]);
/* Takes over a descriptor of one that was made before. Returns 0 or -errno. */
int vantage_take(int fd, struct vantage **out, char why[static VANTAGE_WHY_LEN]);
/* Connections under way are not answered any more. */
void vantage_free(struct vantage *v);

/* Its descriptor, which remains its, and its inode number. */
int vantage_fd(const struct vantage *v);
uint64_t vantage_netns(const struct vantage *v);

/* A new TCP socket that lives there, or -errno. */
int vantage_socket(const struct vantage *v, int family);

typedef void vantage_done(enum inventory_result result, int error, void *arg);
/*
 * Connects from there, and says what came of it: `done` is called once, from the loop, never from
 * within this call. `arg` is from malloc(), and freed after that. Returns 0, or with `arg` left to
 * the caller -EAGAIN when VANTAGE_MAX_CONNECTS are under way, or -errno.
 */
int vantage_connect(struct vantage *v, struct event_base *base, const struct endpoint *to,
                    uint32_t timeout_ms, vantage_done *done, void *arg);
