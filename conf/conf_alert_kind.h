/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What alerts that are not HTTP need beyond the rows of the schema. */
#pragma once

#include "conf/conf_diag.h"

/* `at`: where the alert begins. Returns 0 or what conf_fail() returned. */
int conf_alert_check_kind(const struct conf_alert *alert, struct conf_mark at,
                          const struct conf_diag *diag);
