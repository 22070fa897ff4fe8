/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build_info.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "scanner/impact.h"
#include "scanner/merge.h"
#include "scanner/report.h"
#include "scanner/scan.h"
#include "scanner/scan_signatures.h"
#include "scanner/verbs.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int help_main(int argc, char **argv);
static int version_main(int argc, char **argv);

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* NULL: not listed */
} verbs[] = {
    {"scan", scan_main, "look for profiling endpoints that answer"},
    {"diff", diff_main, "what a sweep found that the one before had not, and what is fixed"},
    {"report", report_main, "all that a history of sweeps knows, with dates"},
    {"merge", merge_main, "join what the shards of a sweep have written"},
    {"status", status_main, "what the daemon watches and what it does"},
    {"blocks", blocks_main, "what is blocked now"},
    {"explain", explain_main, "what has happened to an endpoint, and why"},
    {"impact", impact_main, "whom a block would cut off"},
    {"block", block_main, "block an endpoint"},
    {"unblock", unblock_main, "let an endpoint through"},
    {"ack", ack_main, "take on an exposure: no reminder and no escalation for a while"},
    {"unack", unack_main, "let others hear of it again"},
    {"reload", reload_main, "make the daemon read its configuration again"},
    {"panic", panic_main, "lift every block, and keep them lifted"},
    {"resume", resume_main, "end the panic"},
    {"test-alert", test_alert_main,
     "send a test event to the alerts' sinks, and say what came of it"},
    {"check-config", check_config_main, "check a configuration file"},
    {"check-signatures", check_signatures_main, "check a file of signatures"},
    {"help", help_main, "this text"},
    {"--help", help_main, NULL},
    {"-h", help_main, NULL},
    {"version", version_main, NULL},
    {"--version", version_main, NULL},
};

static void print_help(FILE *out)
{
	fputs("usage: pprofwall VERB [OPTION]...\n\n", out);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (verbs[i].help)
			fprintf(out, "  %-16s %s\n", verbs[i].name, verbs[i].help);
	}
	fputs("\n`pprofwall VERB --help` says more; see also pprofwall(1).\n", out);
}

static int help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	print_help(stdout);
	return fflush(stdout) ? 3 : 0;
}

static int version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts("pprofwall " PPROFWALL_VERSION);
	return fflush(stdout) ? 3 : 0;
}

/*
 * One that is closed would become the next file or socket, and what we print would go there.
 * Opened the wrong way round, each fails like a closed one.
 */
static bool occupy_standard_streams(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd < (int)ARRAY_LEN(modes); fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	if (!occupy_standard_streams())
		return 3;
	log_init("pprofwall", LOG_LEVEL_INFO);
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	log_error("unknown verb '%.32s'; `pprofwall help` lists them", argv[1]);
	return 2;
}
