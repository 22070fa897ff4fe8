/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What no row of the schema can say of an alert. What a key means, and what it needs beside it,
 * depends on the alert's type.
 */
#pragma once

#include "conf/conf_diag.h"

/* What a type has where the file does not say: people are told less often, and more at once. */
int64_t conf_alert_default_group_wait_ms(enum conf_alert_type type);
unsigned conf_alert_default_per_minute(enum conf_alert_type type);

/* `at`: where the alert begins. Returns 0 or what conf_fail() returned. */
int conf_alert_check(const struct conf_alert *alert, struct conf_mark at,
                     const struct conf_diag *diag);

/*
 * What is wrong with a URL for alerts of this type, as "has no valid host and port", or NULL; then
 * *expected is what it must be.
 */
const char *conf_alert_blame_url(enum conf_alert_type type, const char *url, const char **expected);

#define CONF_HEADER_EXPECTED "\"Name: value\" in printable ASCII, of at most 2048 bytes"

/* Likewise of a header that is to join this list; it may be none that the sender makes itself. */
const char *conf_alert_blame_header(const char *text, const struct conf_strings *list);
