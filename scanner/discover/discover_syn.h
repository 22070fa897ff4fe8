/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine of `--method syn`: finds open ports by SYNs of its own, sent below the host's TCP.
 * Nothing is kept per packet; answers carry a keyed cookie. Endpoints that stay silent are asked
 * again as often as the loss that was measured demands (syn_plan.h), at a rate that the network
 * and this host can keep up with (rate.h).
 */
#pragma once

#include "scanner/discover/child.h"

struct discover_syn;

/*
 * Opens every socket: needs CAP_NET_RAW; discover_syn_run() needs no privilege. Returns 0; or
 * -errno (-EPERM: not allowed to) and one line in `why`.
 */
int discover_syn_open(const struct discover_limits *limits, struct discover_syn **out,
                      char why[static 256]);
/* Until the parent has no more work: 0; or -errno. */
int discover_syn_run(struct discover_syn *s, struct discover_child *c);
/* NULL is allowed. */
void discover_syn_free(struct discover_syn *s);
