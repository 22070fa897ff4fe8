/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf.h"
#include "conf/conf_document.h"
#include "conf/conf_reader.h"
#include "conf/conf_schema.h"
#include "conf/conf_value.h"

#include <string.h>

struct conf *conf_load(const char *file, const void *bytes, size_t length,
                       char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	auto_conf struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf) {
		conf_fail_memory(&diag, (struct conf_mark){1, 1});
		return NULL;
	}
	if (conf_document_load(bytes, length, conf_table.least, conf_read_document, conf, &diag) <
	    0)
		return NULL;
	return steal_ptr(&conf);
}

struct conf *conf_load_fd(const char *file, int fd, char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	size_t length;
	auto_free char *bytes = conf_document_read_fd(fd, &length, &diag);
	struct conf *conf;

	if (!bytes)
		return NULL;
	conf = conf_load(file, bytes, length, error);
	explicit_bzero(bytes, length);
	return conf;
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	if (conf->has_unmatched)
		free(conf->breakers[conf->n_breakers].name);
	if (conf->breakers) {
		/* One list, as it was allocated: a filter has no key that a breaker has not. */
		conf->n_filters = 0;
		conf->listed.filters = NULL;
		conf->listed.breakers = conf->breakers;
		conf->listed.n_breakers = conf->n_breakers;
	}
	conf_table_free(&conf_table, "", conf);
	free(conf);
}

bool conf_has_filter(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_breakers; i++) {
		if (conf->breakers[i].action == CONF_ACTION_FILTER)
			return true;
	}
	return false;
}

void conf_forget_secrets(struct conf *conf)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		/* Only alerts have any, so far. */
		if (!(key->flags & CONF_KEY_SECRET))
			continue;
		for (size_t j = 0; j < conf->n_alerts; j++)
			conf_value_wipe(key, &conf->alerts[j]);
	}
}

const char *conf_find_fixed_change(const struct conf *running, const struct conf *next)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		if ((key->flags & CONF_KEY_RESTART) && !conf_value_is_same(key, running, next))
			return key->path;
	}
	return NULL;
}
