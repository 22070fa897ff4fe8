/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-firewall: the only owner of the nftables table. Started by the parent as a helper, or
 * by root, for `pprofwall panic`, as a tool that deletes the table without any daemon.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/firewall/road.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/server.h"
#include "daemon/firewall/standalone.h"
#include "daemon/firewall/table.h"
#include "daemon/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

enum { EXIT_NOT_THERE = 1, EXIT_UNKNOWN = 2 }; /* of --table-exists */

struct options {
	bool delete_table, table_exists;
	uint32_t uid, gid, prober_uid, filter_uid; /* 0: not given */
};

AUTO_CLEANUP(firewall, struct firewall *, firewall_free)

static int remove_road(void)
{
	__attribute__((cleanup(road_close))) struct road road = {0};
	int err = road_open(&road);

	if (!err)
		err = road_remove(&road, NULL);
	if (!err)
		return EXIT_SUCCESS;
	log_error("the routing rules of the filter: %s", strerror(-err));
	return EXIT_FAILURE;
}

static int delete_table(void)
{
	__attribute__((cleanup(nft_close))) struct nft nft = {0};
	int err = nft_open(&nft);
	int companion;

	if (!err) {
		err = table_delete_of(&nft, NFPROTO_INET);
		/* Also when the other one could not be deleted: half a wall less is something. */
		companion = table_delete_of(&nft, NFPROTO_BRIDGE);
		if (!err && nft_bridge_table_exists(&nft) > 0)
			err = companion;
		if (!err)
			return remove_road();
	}
	if (err == -EPERM && geteuid() == 0)
		log_error("table inet " NFT_TABLE_NAME
		          " belongs to a process that runs; end that first");
	else
		log_error("table inet " NFT_TABLE_NAME ": %s", strerror(-err));
	return EXIT_FAILURE;
}

static int table_exists(void)
{
	__attribute__((cleanup(nft_close))) struct nft nft = {0};
	int exists = nft_open(&nft);

	if (!exists)
		exists = nft_table_exists(&nft);
	if (!exists && nft_bridge_table_exists(&nft) > 0)
		exists = 1;
	if (exists < 0) {
		log_error("table inet " NFT_TABLE_NAME ": %s", strerror(-exists));
		return EXIT_UNKNOWN;
	}
	return exists ? EXIT_SUCCESS : EXIT_NOT_THERE;
}

/*
 * SIGUSR1 is read from a descriptor; the end comes by STOP from the parent, so that a ^C or a
 * `systemctl stop` which reaches every process does not take the wall away in the wrong order.
 */
static int take_signals(int *fd)
{
	sigset_t panic;

	startup_ignore_signals();
	sigemptyset(&panic);
	sigaddset(&panic, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &panic, NULL))
		return -errno;
	*fd = signalfd(-1, &panic, SFD_CLOEXEC | SFD_NONBLOCK);
	return *fd < 0 ? -errno : 0;
}

static int prepare_peers(void)
{
	const int fds[] = {IPC_PARENT_FD, IPC_PEER_FD};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		int flags = fcntl(fds[i], F_GETFL);

		if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK) ||
		    fcntl(fds[i], F_SETFD, FD_CLOEXEC))
			return -errno;
	}
	return 0;
}

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, strerror(-err));
	return EXIT_FAILURE;
}

static int help_daemon(const struct options *o)
{
	static const int capabilities[] = {CAP_NET_ADMIN};
	const struct sandbox_spec spec = {
	    .uid = o->uid,
	    .gid = o->gid,
	    .capabilities = capabilities,
	    .n_capabilities = ARRAY_LEN(capabilities),
	    .filter = SANDBOX_FILTER_WALL,
	};
	__attribute__((cleanup(cleanup_firewall))) struct firewall *fw = NULL;
	auto_close int signal_fd = -1;
	char why[SANDBOX_ERROR_LEN];
	int err;

	err = take_signals(&signal_fd);
	if (err)
		return fail("signals", err);
	err = prepare_peers();
	if (err)
		return fail("descriptors 3 and 4", err);
	if (sandbox_drop(&spec, why)) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	/* Only now: a socket that was opened with other credentials is refused its requests. */
	err = firewall_new(o->prober_uid, o->filter_uid ? o->filter_uid : RULESET_NO_PROBER, &fw);
	if (err)
		return fail("netlink", err);
	if (sandbox_filter(spec.filter, why)) {
		log_error("%s", why);
		return EXIT_FAILURE;
	}
	err = server_run(fw, IPC_PARENT_FD, IPC_PEER_FD, signal_fd);
	return err ? fail("ended", err) : EXIT_SUCCESS;
}

static bool read_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
	    {"delete-table", no_argument, NULL, 'd'},
	    {"table-exists", no_argument, NULL, 'e'},
	    {"uid", required_argument, NULL, 'u'},
	    {"gid", required_argument, NULL, 'g'},
	    {"prober-uid", required_argument, NULL, 'p'},
	    {"filter-uid", required_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};
	bool valid = true;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		uint32_t *number = option == 'u'   ? &o->uid
		                   : option == 'g' ? &o->gid
		                   : option == 'f' ? &o->filter_uid
		                                   : &o->prober_uid;

		if (option == 'd')
			o->delete_table = true;
		else if (option == 'e')
			o->table_exists = true;
		else if (option == '?' || sandbox_parse_id(optarg, number))
			valid = false;
	}
	if (!valid || optind != argc)
		return false;
	if (o->delete_table || o->table_exists)
		return o->delete_table != o->table_exists && !o->uid && !o->gid && !o->prober_uid &&
		       !o->filter_uid;
	return o->uid && o->gid && o->prober_uid;
}

int main(int argc, char **argv)
{
	struct options o = {0};

	log_init("pprofwall-firewall", LOG_LEVEL_INFO);
	if (standalone_is_meant(argc, argv))
		return standalone_main(argc, argv);
	if (!read_options(argc, argv, &o)) {
		log_error(
		    "usage: pprofwall-firewall --uid N --gid N --prober-uid N [--filter-uid N] | "
		    "--delete-table | --table-exists");
		return EXIT_FAILURE;
	}
	if (o.delete_table)
		return delete_table();
	return o.table_exists ? table_exists() : help_daemon(&o);
}
