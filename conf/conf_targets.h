/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What scan.targets and scan.ports mean together, by the scanner's own parsers. */
#pragma once

#include "conf/conf_diag.h"

/*
 * Every target and list of ports can be read, no target comes twice, and there are not more than
 * CONF_MAX_TARGETS endpoints in all. Returns 0 or what conf_fail() returned.
 */
int conf_targets_check(const struct conf *conf, const struct conf_diag *diag);
