/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-prober --uid N --gid N: started by the parent, with its sockets on descriptors 3 and 4.
 */
#include "daemon/ipc.h"
#include "daemon/prober/prober.h"
#include "daemon/worker.h"

/*
 * Verdicts do not depend on the signatures, names and advice do. Descriptors: one for each endpoint
 * under way and some that libcurl still keeps; with fewer, probes wait for each other.
 */
static int create(struct event_base *base, const struct signatures *signatures,
                  unsigned descriptors, void **out)
{
	struct prober *prober = NULL;
	int err = prober_new(base, IPC_PARENT_FD, IPC_PEER_FD, signatures, &prober);

	(void)descriptors;
	*out = prober;
	return err;
}

static int announce(void *prober)
{
	return prober_announce(prober);
}

static int exit_status(const void *prober)
{
	return prober_exit_status(prober);
}

static void destroy(void *prober)
{
	prober_free(prober);
}

int main(int argc, char **argv)
{
	static const struct worker worker = {
	    .name = "pprofwall-prober",
	    .filter = SANDBOX_FILTER_NETWORK,
	    .create = create,
	    .announce = announce,
	    .exit_status = exit_status,
	    .destroy = destroy,
	};

	return worker_main(&worker, argc, argv);
}
