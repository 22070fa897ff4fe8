/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `pprofwall scan`. argv[0] is the verb. Prints to standard output and error and returns the exit
 * status; only main.c exits.
 */
#pragma once

enum {
	SCAN_NOTHING = 0,    /* nothing at or above --fail-on */
	SCAN_FOUND = 1,      /* something */
	SCAN_USAGE = 2,      /* command line or target files */
	SCAN_INCOMPLETE = 3, /* what was found until then has been written */
};

int scan_main(int argc, char **argv);
