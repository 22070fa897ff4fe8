/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs on a history file, one main each: argv[0] is the verb. They print to standard output
 * and error and return the exit status; only main.c exits.
 */
#pragma once

enum {
	REPORT_NOTHING = 0, /* nothing new and nothing worse; of `report` always */
	REPORT_NEW = 1, /* `diff`: something new, or changed to the worse, that is not accepted */
	REPORT_USAGE = 2,
	REPORT_CANNOT = 3, /* there is nothing to compare, or the file cannot be read */
};

/* What one sweep found against what was known before: new, fixed, changed, still there. */
int diff_main(int argc, char **argv);
/* Everything that was ever exposed, and how it stands after one sweep. */
int report_main(int argc, char **argv);
