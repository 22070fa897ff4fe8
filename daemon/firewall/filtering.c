/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of firewall.h that is about the filter process. */
#include "daemon/firewall/set.h"
#include "daemon/firewall/state.h"

#include <errno.h>

static int replace_filters(struct firewall *fw, int64_t now_ms)
{
	int err;

	if (!fw->running || !fw->table.installed || !conf_has_filter(fw->running))
		return 0;
	err = table_replace_filters(&fw->table, fw->running, &fw->shadow);
	/* Then the table is not what we take it for. */
	return err ? firewall_install(fw, now_ms) : 0;
}

static bool is_filtered(const struct block *block, const void *conf)
{
	return set_is_filtered(conf, block);
}

bool firewall_is_filtering(const struct firewall *fw)
{
	return fw->running && fw->table.installed && conf_has_filter(fw->running) &&
	       blocks_any(fw->shadow.blocks, is_filtered, fw->running);
}

/*
 * Where on_failure is open, others have connected to the server itself while there was nobody to
 * read what they ask.
 */
static void drain_open_ones(struct firewall *fw, int64_t now_ms)
{
	auto_free struct block **list = NULL;
	size_t count;

	if (!conf_has_filter(fw->running) || blocks_list(fw->shadow.blocks, &list, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct conf *conf = fw->running;

		if (set_is_filtered(conf, list[i]) &&
		    conf->breakers[list[i]->rule - 1].filter.on_failure == CONF_ON_FAILURE_OPEN)
			firewall_begin_drain(fw, list[i], now_ms);
	}
}

int firewall_set_filter(struct firewall *fw, bool listening, int64_t now_ms)
{
	struct listeners *listeners;
	int open_error = 0, err;

	fw->has_filter = listening;
	fw->shadow.deaf = false;
	if (!fw->running)
		return 0;
	listeners = listeners_new(fw->running, NULL);
	if (!listeners)
		return -ENOMEM;
	if (listening)
		open_error = listeners_open(listeners, fw->running->firewall.mark);
	listeners_free(fw->shadow.listeners);
	fw->shadow.listeners = listeners;
	err = replace_filters(fw, now_ms);
	if (listening)
		drain_open_ones(fw, now_ms);
	return err ? err : open_error;
}

int firewall_set_deaf(struct firewall *fw, bool deaf, int64_t now_ms)
{
	if (fw->shadow.deaf == deaf)
		return 0;
	fw->shadow.deaf = deaf;
	if (!deaf)
		drain_open_ones(fw, now_ms);
	return replace_filters(fw, now_ms);
}

bool firewall_take_news(struct firewall *fw, struct listener_news *out)
{
	return fw->shadow.listeners && listeners_take(fw->shadow.listeners, out);
}
