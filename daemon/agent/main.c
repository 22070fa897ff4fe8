/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pprofwall-agent: gives up root, then serves (agent.c). Started by pprofwalld alone. */
#include "common/log.h"
#include "common/sandbox.h"
#include "daemon/agent/agent.h"

#include <getopt.h>
#include <signal.h>

static bool read_id(const char *text, unsigned *out)
{
	uint64_t number;

	if (conf_parse_number(text, UINT32_MAX - 1, &number) < 0 || number == 0)
		return false;
	*out = (unsigned)number;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"uid", required_argument, NULL, 'u'},
	                                      {"gid", required_argument, NULL, 'g'},
	                                      {"config", required_argument, NULL, 'c'},
	                                      {0}};
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_NONE};
	char why[SANDBOX_ERROR_LEN];
	const char *config = NULL;
	bool good = true;
	int option;

	log_init("pprofwall-agent", LOG_LEVEL_INFO);
	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 'u': good = good && read_id(optarg, &spec.uid); break;
		case 'g': good = good && read_id(optarg, &spec.gid); break;
		case 'c': config = optarg; break;
		default: good = false; break;
		}
	}
	if (!good || !config || spec.uid == 0 || spec.gid == 0) {
		log_error("started by pprofwalld, not by hand");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* ^C reaches the whole group: the parent alone says when to stop, and in which order. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (sandbox_drop(&spec, why) < 0) {
		log_error("%s", why);
		return 1;
	}
	return agent_run(IPC_PARENT_FD, config);
}
