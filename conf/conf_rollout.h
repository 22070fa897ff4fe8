/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A staged roll-out: `enforce_percent` of a fleet's hosts enforce, the rest observe. Each host has
 * a number of its own, drawn once and for all from its id and `enforce_salt`, and is in as soon as
 * the percentage is above it: who is in at 10% is also in at 20%. The agent and the firewall ask
 * the same function. Pure.
 */
#pragma once

#include "conf/conf.h"

/* Hundredths of a percent: 0..9999, spread evenly over hosts. */
unsigned conf_rollout_draw(const char *host_id, const char *salt);

/*
 * Notes the host's number in conf->rollout, and makes a configuration that says enforce one that
 * observes where the host is not in yet. To be called once, after loading.
 */
void conf_rollout_apply(struct conf *conf, const char *host_id);
