/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's state as one page for people: exposures, breakers and their clocks, who would be
 * cut, alerts and their delivery. It loads nothing and has no script. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct status_page {
	const json_t
	    *status; /* the answers of the control socket (docs/control.md); NULL: none yet */
	const json_t *impact; /* likewise; NULL: not known */
	const char *host;
	int64_t status_wall_ms; /* when that was */
	int64_t now_wall_ms;
	const char *silent; /* why there is no newer answer; NULL: this is the newest */
	unsigned refresh_s; /* the browser loads it again after so long; 0: never */
};

void status_page_write(const struct status_page *p, FILE *to);
