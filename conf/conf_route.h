/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What alerts[].match and alerts[].quiet_hours may say beyond their keys' types. */
#pragma once

#include "conf/conf_diag.h"

/*
 * Events are known, ports and containers can be read, and quiet hours leave some time of the week.
 * Returns 0 or what conf_fail() returned.
 */
int conf_route_check(const struct conf_alert *alert, const struct conf_diag *diag);
