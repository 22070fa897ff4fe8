/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/worker.h"

#include "common/log.h"
#include "daemon/ipc.h"
#include "daemon/startup.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(base, struct event_base *, event_base_free)
#define auto_base __attribute__((cleanup(cleanup_base)))

enum { EXIT_USAGE = 2, CALLBACKS_AT_ONCE = 64 };

static int fail(const char *what, const char *why)
{
	log_error("%s%s%s", what, *what ? ": " : "", why);
	return EXIT_FAILURE;
}

/* Libraries are set up, and need no files any more. */
static int serve(const struct worker *worker, struct event_base *base, void *self)
{
	char why[SANDBOX_ERROR_LEN];
	int err;

	if (sandbox_filter(worker->filter, why) < 0)
		return fail("", why);
	err = worker->announce ? worker->announce(self) : 0;
	if (err < 0)
		return fail("parent", strerror(-err));
	event_base_dispatch(base);
	return worker->exit_status(self);
}

static int create_and_serve(const struct worker *worker, struct event_base *base,
                            const struct signatures *signatures, unsigned descriptors)
{
	void *self = NULL;
	int err = base ? worker->create(base, signatures, descriptors, &self) : -ENOMEM, status;

	if (err < 0)
		return fail("cannot start", strerror(-err));
	status = serve(worker, base, self);
	worker->destroy(self);
	return status;
}

/*
 * What has more to do puts itself at the end of the queue: without a limit, as long as one does,
 * the loop would look neither at sockets nor at the time.
 */
static struct event_base *create_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config &&
	    event_config_set_max_dispatch_interval(config, NULL, CALLBACKS_AT_ONCE, 0) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

int worker_main(const struct worker *worker, int argc, char **argv)
{
	struct sandbox_spec spec = {.filter = worker->filter};
	auto_signatures struct signatures *signatures = NULL;
	auto_base struct event_base *base = NULL;
	char why[SANDBOX_ERROR_LEN], missing[CONF_ERROR_LEN];
	unsigned descriptors;

	log_init(worker->name, LOG_LEVEL_INFO);
	if (!startup_read_arguments(argc, argv, &spec, NULL) ||
	    !startup_take_socket(IPC_PARENT_FD) || !startup_take_socket(IPC_PEER_FD)) {
		log_error("started by pprofwalld, not by hand");
		return EXIT_USAGE;
	}
	startup_ignore_signals();
	descriptors = startup_raise_descriptor_limit();
	if (sandbox_drop(&spec, why) < 0)
		return fail("", why);
	signatures = signatures_take_shipped(IPC_DATA_FD, missing); /* the last file that is read */
	if (!signatures)
		log_warning("without signatures: %s", missing);
	base = create_base();
	return create_and_serve(worker, base, signatures, descriptors);
}
