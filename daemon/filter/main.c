/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-filter --uid N --gid N: started by the parent, with its sockets on descriptors 3 and 4,
 * and the signatures on 5.
 */
#include "daemon/filter/filter.h"
#include "daemon/ipc.h"
#include "daemon/worker.h"

/* Without signatures more is denied. It says that it is ready when it knows its rules. */
static int create(struct event_base *base, const struct signatures *signatures,
                  unsigned descriptors, void **out)
{
	struct filter *filter = NULL;
	int err = filter_new(base, IPC_PARENT_FD, IPC_PEER_FD, signatures, descriptors, &filter);

	*out = filter;
	return err;
}

static int exit_status(const void *filter)
{
	return filter_exit_status(filter);
}

static void destroy(void *filter)
{
	filter_free(filter);
}

int main(int argc, char **argv)
{
	static const struct worker worker = {
	    .name = "pprofwall-filter",
	    .filter = SANDBOX_FILTER_FILTER,
	    .create = create,
	    .exit_status = exit_status,
	    .destroy = destroy,
	};

	return worker_main(&worker, argc, argv);
}
