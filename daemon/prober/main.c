/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-prober --uid N --gid N: started by the parent, with its sockets on descriptors 3 and 4.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/ipc.h"
#include "daemon/prober/prober.h"
#include "daemon/startup.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(base, struct event_base *, event_base_free)
AUTO_CLEANUP(prober, struct prober *, prober_free)
#define auto_base   __attribute__((cleanup(cleanup_base)))
#define auto_prober __attribute__((cleanup(cleanup_prober)))

enum { EXIT_USAGE = 2 };

/* The last thing before the first answer: libraries are set up, and need no files any more. */
static int serve(struct event_base *base, struct prober *prober)
{
	char why[SANDBOX_ERROR_LEN];
	int err;

	if (sandbox_filter(SANDBOX_FILTER_NETWORK, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	err = prober_announce(prober);
	if (err < 0) {
		log_error("parent: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	event_base_dispatch(base);
	return prober_exit_status(prober);
}

int main(int argc, char **argv)
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_NETWORK};
	auto_signatures struct signatures *signatures = NULL;
	auto_base struct event_base *base = NULL;
	auto_prober struct prober *prober = NULL;
	char why[SANDBOX_ERROR_LEN], missing[CONF_ERROR_LEN];
	int err;

	log_init("pprofwall-prober", LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, NULL) ||
	    !startup_take_socket(IPC_PARENT_FD) || !startup_take_socket(IPC_PEER_FD)) {
		log_error("started by pprofwalld, not by hand");
		return EXIT_USAGE;
	}
	startup_ignore_signals();
	/* One descriptor for each endpoint under way and some that libcurl still keeps; with fewer,
	 * probes wait for each other. */
	startup_raise_descriptor_limit();
	if (sandbox_drop(&spec, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	/* The last file that is read. Verdicts do not depend on it, names and advice do. */
	signatures = signatures_take_shipped(IPC_DATA_FD, missing);
	if (!signatures)
		log_warning("without signatures: %s", missing);
	base = event_base_new();
	err = base ? prober_new(base, IPC_PARENT_FD, IPC_PEER_FD, signatures, &prober) : -ENOMEM;
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	return serve(base, prober);
}
