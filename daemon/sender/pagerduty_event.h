/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events as PagerDuty's Events API, version 2, takes them: an incident is opened, acknowledged and
 * resolved by its dedup_key, which is made of host, endpoint and rule. Pure.
 */
#pragma once

#include "conf/conf.h"

#include <jansson.h>

enum { PAGERDUTY_KEY_MAX_LEN = 255, PAGERDUTY_SUMMARY_MAX_BYTES = 1024 };

/* False for what is no incident, and changes none. */
bool pagerduty_has(const json_t *event);
/* What to POST, the routing key (the alert's secret) included; NULL: out of memory. */
json_t *pagerduty_make(const struct conf_alert *conf, json_t *event);
