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

#define CONF_HEADER_EXPECTED "\"Name: value\" in printable ASCII, of at most 2048 bytes"

/*
 * What is wrong with a header that is to join this list, as "is there twice", or NULL; it may be
 * none that the sender makes itself.
 */
const char *conf_alert_blame_header(const char *text, const struct conf_strings *list);
