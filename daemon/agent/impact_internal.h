/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of impact*.c say to each other. Loop's thread. */
#pragma once

#include "daemon/agent/impact.h"

struct ledger *impact_ledger(const struct impact *impact);
struct agent *impact_agent(const struct impact *impact);

/* impact_look.c: asks inventory who is connected now; notes it when the answer comes. */
void impact_look(struct impact *impact, struct ledger_page *page);
/* One is under way; it is over, however it ended. */
void impact_begin_look(struct impact *impact);
void impact_end_look(struct impact *impact);
/* It could not be asked after all. */
void impact_cancel_look(struct impact *impact);
