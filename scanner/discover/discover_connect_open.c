/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/discover/discover_connect_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>

enum {
	SPARE_FILES = 64,     /* descriptors that are not for sockets under way */
	FAST_PER_SEC = 65536, /* about as many connects as one core begins */
	WINDOW_MIN = 1024,
};

static int fit_files(unsigned *concurrency)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)*concurrency + SPARE_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			return -errno;
	}
	if (limit.rlim_cur <= SPARE_FILES)
		return -EMFILE;
	if (limit.rlim_cur < wanted)
		*concurrency = (unsigned)(limit.rlim_cur - SPARE_FILES);
	return 0;
}

/*
 * The first endpoint of a window may stay silent while the connects of a whole timeout are begun
 * behind it, and they must fit in the other windows, or the pipeline would drain. Not more than
 * that: what is open is probed again after an interruption.
 */
static uint32_t size_window(const struct discover_connect *k, uint64_t rate_per_sec)
{
	uint64_t rate = rate_per_sec && rate_per_sec < FAST_PER_SEC ? rate_per_sec : FAST_PER_SEC;
	uint64_t meanwhile = rate * (uint64_t)(k->timeout_ns / 1000000) / 1000;
	uint64_t size = meanwhile / (DISCOVER_WINDOWS - 2) + 1;

	if (size < WINDOW_MIN)
		return WINDOW_MIN;
	return size < DISCOVER_WINDOW_MAX ? (uint32_t)size : DISCOVER_WINDOW_MAX;
}

static void set_limits(struct discover_connect *k, const struct discover_limits *limits)
{
	k->timeout_ns = limits->timeout_ms * 1000000;
	if (limits->retries > 0)
		k->options.syn_retries = limits->retries < 127 ? (unsigned)limits->retries : 127;
	/* The kernel sends no SYN less than once more (TCP_SYNCNT): so be ahead of its second. */
	if (limits->retries == 0 && k->timeout_ns > SECOND_NS * 95 / 100)
		k->timeout_ns = SECOND_NS * 95 / 100;
	k->options.source = limits->source;
	k->options.interface = limits->interface;
	pacer_init(&k->pacer, limits->rate_per_sec, clock_monotonic_ns());
	k->window_max = size_window(k, limits->rate_per_sec);
}

static void list_slots(struct discover_connect *k)
{
	TAILQ_INIT(&k->idle);
	TAILQ_INIT(&k->busy);
	for (unsigned i = 0; i < k->concurrency; i++) {
		k->slot[i].socket.fd = -1;
		TAILQ_INSERT_TAIL(&k->idle, &k->slot[i], link);
	}
}

AUTO_CLEANUP(engine, struct discover_connect *, discover_connect_free)
#define auto_engine __attribute__((cleanup(cleanup_engine)))

static int pace_hosts(struct discover_connect *k, uint64_t per_host_per_sec)
{
	uint64_t seed;

	if (!per_host_per_sec)
		return 0;
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -EIO;
	return host_pace_new(per_host_per_sec, seed, &k->host_pace);
}

static int open_parts(struct discover_connect *k, const struct discover_limits *limits,
                      const char **what)
{
	int err;

	*what = "epoll";
	k->options.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (k->options.epoll_fd < 0)
		return -errno;
	set_limits(k, limits);
	/* A source or an interface that cannot be is an error here, not one of every endpoint. */
	*what = "a socket with this source address and interface";
	err = connect_options_open(&k->options);
	if (err)
		return err;
	*what = "the table of hosts";
	err = pace_hosts(k, limits->per_host_per_sec);
	if (err)
		return err;
	*what = "the kernel's connection tracking";
	return conntrack_init(&k->conntrack);
}

int discover_connect_open(const struct discover_limits *limits, struct discover_connect **out,
                          char why[static DISCOVER_CONNECT_ERROR_LEN])
{
	unsigned concurrency = limits->concurrency ? limits->concurrency : 1;
	const char *what = "descriptors";
	auto_engine struct discover_connect *k = NULL;
	int err = fit_files(&concurrency);

	if (!err) {
		what = "memory";
		k = calloc(1, sizeof(*k) + concurrency * sizeof(k->slot[0]));
		err = k ? 0 : -ENOMEM;
	}
	if (!err) {
		k->concurrency = concurrency;
		k->options.epoll_fd = k->options.way_fd[0] = k->options.way_fd[1] = -1;
		k->conntrack.count_fd = k->conntrack.max_fd = -1;
		k->child_fd = -1;
		list_slots(k);
		err = open_parts(k, limits, &what);
	}
	if (err) {
		snprintf(why, DISCOVER_CONNECT_ERROR_LEN, "%s: %s", what, strerror(-err));
		return err;
	}
	*out = steal_ptr(&k);
	return 0;
}

void discover_connect_free(struct discover_connect *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < k->concurrency; i++)
		connect_socket_close(&k->slot[i].socket);
	if (k->options.epoll_fd >= 0)
		close(k->options.epoll_fd);
	connect_options_close(&k->options);
	conntrack_fini(&k->conntrack);
	host_pace_free(k->host_pace);
	free(k);
}

unsigned discover_connect_concurrency(const struct discover_connect *k)
{
	return k->concurrency;
}
