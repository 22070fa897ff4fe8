/* SPDX-License-Identifier: GPL-2.0-or-later */
/* systemd's readiness protocol (sd_notify(3)); does nothing where libsystemd was left out. */
#pragma once

#include <stdbool.h>

/* Puts standard error into the journal, when there is one and it does not go there already. */
void notify_log_to_journal(void);

void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);
void notify_watchdog(void);
