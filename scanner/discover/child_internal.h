/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What child_main.c knows of the shell besides child.h, which is the engines'. */
#pragma once

#include "scanner/discover/discover.h"
#include "scanner/discover/frame_queue.h"

/* `conf` must outlive it. Returns 0 or -ENOMEM. */
int discover_child_new(const struct discover_conf *conf, int sock, struct discover_child **out);
void discover_child_free(struct discover_child *c);
/* The engine has returned: what it said last waits in the queue. */
int discover_child_finish(struct discover_child *c);
struct frame_queue *discover_child_queue(struct discover_child *c);
