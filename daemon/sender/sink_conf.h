/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the sender keeps of an alert of the configuration: all of it, with its secrets, taken over
 * from a configuration that was checked. Wiped when it is freed.
 */
#pragma once

#include "conf/conf.h"

/*
 * Moves the alert, with all that it owns, to memory of its own; NULL when out of memory, and then
 * nothing was moved. What stays behind is empty, and is freed as ever.
 */
struct conf_alert *sink_conf_take(struct conf_alert *from);
/* NULL is allowed. */
void sink_conf_free(struct conf_alert *conf);

/* True if both go to the same place in the same way: rows of the schema with CONF_KEY_CONNECTION.
 */
bool sink_conf_is_same_connection(const struct conf_alert *a, const struct conf_alert *b);
