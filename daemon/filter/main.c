/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-filter --uid N --gid N: started by the parent, with its sockets on descriptors 3 and 4,
 * and the signatures on 5.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/filter/filter.h"
#include "daemon/ipc.h"
#include "daemon/startup.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(base, struct event_base *, event_base_free)
AUTO_CLEANUP(the_filter, struct filter *, filter_free)
#define auto_base       __attribute__((cleanup(cleanup_base)))
#define auto_the_filter __attribute__((cleanup(cleanup_the_filter)))

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv)
{
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_FILTER};
	auto_signatures struct signatures *signatures = NULL;
	auto_base struct event_base *base = NULL;
	auto_the_filter struct filter *filter = NULL;
	char why[SANDBOX_ERROR_LEN], missing[CONF_ERROR_LEN];
	unsigned descriptors;
	int err;

	log_init("pprofwall-filter", LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, NULL) ||
	    !startup_take_socket(IPC_PARENT_FD) || !startup_take_socket(IPC_PEER_FD)) {
		log_error("started by pprofwalld, not by hand");
		return EXIT_USAGE;
	}
	startup_ignore_signals();
	descriptors = startup_raise_descriptor_limit();
	if (sandbox_drop(&spec, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	/* The last file that is read. Without it more is denied. */
	signatures = signatures_take_shipped(IPC_DATA_FD, missing);
	if (!signatures)
		log_warning("without signatures: %s", missing);
	base = event_base_new();
	err = base ? filter_new(base, IPC_PARENT_FD, IPC_PEER_FD, signatures, descriptors, &filter)
	           : -ENOMEM;
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	if (sandbox_filter(spec.filter, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	event_base_dispatch(base);
	return filter_exit_status(filter);
}
