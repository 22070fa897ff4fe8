/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pprofwall-agent: gives up root, then serves (agent.c). Started by pprofwalld alone. */
#include "common/log.h"
#include "daemon/agent/agent.h"
#include "daemon/startup.h"

int main(int argc, char **argv)
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_NONE};
	char why[SANDBOX_ERROR_LEN];
	const char *config;

	log_init("pprofwall-agent", LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, &config)) {
		log_error("started by pprofwalld, not by hand");
		return 2;
	}
	startup_ignore_signals();
	if (sandbox_drop(&spec, why) < 0) {
		log_error("%s", why);
		return 1;
	}
	return agent_run(IPC_PARENT_FD, config);
}
