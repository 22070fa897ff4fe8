/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line's verbs that talk to the daemon, one main each: argv[0] is the verb. They print
 * to standard output and error and return the exit status; only main.c exits.
 */
#pragma once

enum {
	VERB_OK = 0,
	VERB_REFUSED = 1,     /* the daemon said no; panic: the table is still there */
	VERB_USAGE = 2,       /* command line or configuration */
	VERB_UNREACHABLE = 3, /* no daemon, no permission, no answer in time */
};

int status_main(int argc, char **argv);
int blocks_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int block_main(int argc, char **argv);
int unblock_main(int argc, char **argv);
int ack_main(int argc, char **argv);
int unack_main(int argc, char **argv);
int reload_main(int argc, char **argv);
int resume_main(int argc, char **argv);
int panic_main(int argc, char **argv);
int test_alert_main(int argc, char **argv);
int check_config_main(int argc, char **argv);
