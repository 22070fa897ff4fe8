/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `pprofwall merge`: joins what the shards of a sweep have written. argv[0] is the verb. Prints to
 * standard output and error and returns the exit status; only main.c exits.
 */
#pragma once

/* As of a scan: what is not whole outweighs what was found. */
enum {
	MERGE_NOTHING = 0,
	MERGE_FOUND = 1,      /* confirmed or likely, at least low, and not accepted */
	MERGE_USAGE = 2,      /* command line, or files that do not belong together */
	MERGE_INCOMPLETE = 3, /* shards are missing or incomplete, or it could not be written */
};

int merge_main(int argc, char **argv);
