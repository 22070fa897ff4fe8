/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The road to the filter, as a configuration wants it: the part of firewall.h that is about it. */
#include "daemon/firewall/state.h"

#include <errno.h>
#include <string.h>

/* In observe mode no rule is enforced. */
static bool needs_road(const struct conf *conf)
{
	return conf->mode == CONF_MODE_ENFORCE && conf_has_filter(conf);
}

int firewall_check_road(struct firewall *fw, const struct conf *conf,
                        char reason[static ROAD_REASON_LEN])
{
	const struct road_spec spec = road_spec_from_conf(conf);
	int err;

	if (!needs_road(conf))
		return 0;
	err = road_check(&fw->road, &fw->table.nft, &spec, reason);
	if (err && err != -EADDRINUSE)
		snprintf(reason, ROAD_REASON_LEN, "policy routing: %s", strerror(-err));
	return err;
}

int firewall_open_road(struct firewall *fw, const struct conf *conf)
{
	const struct road_spec spec = road_spec_from_conf(conf);
	bool changed;

	return needs_road(conf) ? road_install(&fw->road, &spec, &changed) : 0;
}

int firewall_close_road(struct firewall *fw, const struct conf *conf)
{
	const struct road_spec spec = road_spec_from_conf(conf);

	return needs_road(conf) ? 0 : road_remove(&fw->road, &spec);
}

int firewall_remove_road(struct firewall *fw)
{
	struct road_spec spec;

	if (!fw->running)
		return road_remove(&fw->road, NULL);
	spec = road_spec_from_conf(fw->running);
	return road_remove(&fw->road, &spec);
}

uint32_t firewall_socket_mark(const struct firewall *fw)
{
	return fw->running ? fw->running->firewall.mark : 0;
}

int firewall_keep_road(struct firewall *fw, bool *restored)
{
	struct road_spec spec;

	*restored = false;
	if (!fw->running || fw->panicked || !needs_road(fw->running))
		return 0;
	spec = road_spec_from_conf(fw->running);
	return road_install(&fw->road, &spec, restored);
}
