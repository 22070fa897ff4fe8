/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/sink_conf.h"

#include "conf/conf_schema.h"
#include "conf/conf_value.h"

#include <string.h>

static const char prefix[] = "alerts[].";

struct conf_alert *sink_conf_take(struct conf_alert *from)
{
	struct conf_alert *conf = malloc(sizeof(*conf));

	if (!conf)
		return NULL;
	*conf = *from;
	memset(from, 0, sizeof(*from));
	return conf;
}

void sink_conf_free(struct conf_alert *conf)
{
	if (conf)
		conf_table_free(&conf_table, prefix, conf);
	free(conf);
}

bool sink_conf_is_same_connection(const struct conf_alert *a, const struct conf_alert *b)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		if (conf_key_is_below(key, prefix) && (key->flags & CONF_KEY_CONNECTION) &&
		    !conf_value_is_same(key, a, b))
			return false;
	}
	return true;
}
