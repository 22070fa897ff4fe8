/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-inventory --uid N --gid N [--verify] [--no-events]: started by the parent, with its
 * sockets on descriptors 3 and 4, and on 5, if it is not the first, the vantage point of the one
 * before. --no-events is for tests: it polls, as where the kernel tells of no events.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/inventory/server.h"
#include "daemon/ipc.h"
#include "daemon/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>

AUTO_CLEANUP(base, struct event_base *, event_base_free)
AUTO_CLEANUP(server, struct server *, server_free)
#define auto_base   __attribute__((cleanup(cleanup_base)))
#define auto_server __attribute__((cleanup(cleanup_server)))

enum { EXIT_USAGE = 2, MAX_ARGUMENTS = 8 };

/* Two are ours; the rest is read as by all the others. */
static bool read_arguments(int argc, char **argv, struct sandbox_spec *spec, bool *verify,
                           bool *no_events)
{
	char *others[MAX_ARGUMENTS + 1] = {0};
	int n = 0;

	*verify = *no_events = false;
	for (int i = 0; i < argc; i++) {
		if (i && strcmp(argv[i], "--verify") == 0)
			*verify = true;
		else if (i && strcmp(argv[i], "--no-events") == 0)
			*no_events = true;
		else if (n < MAX_ARGUMENTS)
			others[n++] = argv[i];
		else
			return false;
	}
	return startup_read_arguments(n, others, spec, NULL);
}

/* A wall that cannot be verified, and listeners that are found by polling, are better than none. */
static struct vantage *find_vantage(bool verify)
{
	bool handed_over = fcntl(IPC_DATA_FD, F_GETFD) >= 0;
	char why[VANTAGE_WHY_LEN];
	struct vantage *vantage = NULL;
	int err;

	if (!verify)
		return NULL;
	err = handed_over ? vantage_take(IPC_DATA_FD, &vantage, why) : vantage_make(&vantage, why);
	if (err < 0)
		log_warning("blocks cannot be verified: %s", why);
	return vantage;
}

static int serve(struct event_base *base, struct server *server)
{
	char why[SANDBOX_ERROR_LEN];
	int err;

	if (sandbox_filter(SANDBOX_FILTER_INVENTORY, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	err = server_announce(server);
	if (err < 0) {
		log_error("parent: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	event_base_dispatch(base);
	return server_exit_status(server);
}

/* What could not be kept was never there; what it is good for is then done in another way, or not.
 */
static int drop_privileges(struct sandbox_spec *spec, int *held, char *why)
{
	/* Look at other users' processes, enter namespaces, go through /proc; events. */
	static const int wanted[] = {CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH,
	                             CAP_PERFMON};

	spec->capabilities = held;
	spec->n_capabilities = sandbox_choose_held(wanted, ARRAY_LEN(wanted), held);
	if (spec->n_capabilities < ARRAY_LEN(wanted))
		log_warning("not all capabilities are there: listeners of other namespaces, or "
		            "their owners, may be missing");
	return sandbox_drop(spec, why);
}

int main(int argc, char **argv)
{
	int held[8];
	struct sandbox_spec spec = {.filter = SANDBOX_FILTER_INVENTORY};
	auto_base struct event_base *base = NULL;
	auto_server struct server *server = NULL;
	struct vantage *vantage;
	struct events *events = NULL;
	char why[SANDBOX_ERROR_LEN], why_no_events[EVENTS_WHY_LEN] = "--no-events";
	bool verify, no_events;
	int err;

	log_init("pprofwall-inventory", LOG_LEVEL_INFO);
	if (!read_arguments(argc, argv, &spec, &verify, &no_events) ||
	    !startup_take_socket(IPC_PARENT_FD) || !startup_take_socket(IPC_PEER_FD)) {
		log_error("started by pprofwalld, not by hand");
		return EXIT_USAGE;
	}
	startup_ignore_signals();
	/* With what is about to be given up. */
	vantage = find_vantage(verify);
	if (!no_events && events_open(&events, why_no_events) < 0)
		log_warning("listeners are found by polling: %s", why_no_events);
	if (drop_privileges(&spec, held, why) < 0) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	base = event_base_new();
	err = base ? server_new(base, IPC_PARENT_FD, IPC_PEER_FD, events, why_no_events, vantage,
	                        &server)
	           : -ENOMEM;
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	return serve(base, server);
}
