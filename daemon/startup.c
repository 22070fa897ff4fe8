/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/startup.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

bool startup_read_arguments(int argc, char **argv, struct sandbox_spec *spec, const char **config)
{
	static const struct option known[] = {
	    {"uid", required_argument, NULL, 'u'},
	    {"gid", required_argument, NULL, 'g'},
	    {"config", required_argument, NULL, 'c'},
	    {NULL, 0, NULL, 0},
	};
	uid_t uid = 0;
	gid_t gid = 0;
	const char *file = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'u' && sandbox_parse_id(optarg, &uid) == 0)
			continue;
		if (option == 'g' && sandbox_parse_id(optarg, &gid) == 0)
			continue;
		if (option != 'c' || !config)
			return false;
		file = optarg;
	}
	if (uid == 0 || gid == 0 || (config && !file) || optind != argc)
		return false;
	spec->uid = uid;
	spec->gid = gid;
	/* Started by an ordinary user as that user: in tests, and by hand. */
	spec->keep_uid = geteuid() != 0 && geteuid() == uid && getegid() == gid;
	if (config)
		*config = file;
	return true;
}

bool startup_take_socket(int fd)
{
	int type = 0;
	socklen_t length = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET &&
	       fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

void startup_ignore_signals(void)
{
	const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

unsigned startup_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return FD_SETSIZE;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return FD_SETSIZE;
	return limit.rlim_cur < UINT_MAX ? (unsigned)limit.rlim_cur : UINT_MAX;
}
