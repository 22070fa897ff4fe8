/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bare loop that the connect engine is measured against: socket, connect, epoll_ctl,
 * epoll_wait, getsockopt, close, and nothing else. One thread, no timers, no retries: only for
 * ranges where every endpoint answers.
 *
 *	connect_loop FIRST_ADDRESS ADDRESSES PORT[,PORT...] [CONCURRENCY]
 *
 * prints one line: endpoints, open ones, seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, MAX_PORTS = 64 };

struct range {
	uint32_t first, addresses;
	uint16_t port[MAX_PORTS];
	unsigned ports;
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(2);
}

static struct sockaddr_in endpoint(const struct range *r, uint64_t index)
{
	struct sockaddr_in to = {.sin_family = AF_INET};

	to.sin_addr.s_addr = htonl(r->first + (uint32_t)(index / r->ports));
	to.sin_port = htons(r->port[index % r->ports]);
	return to;
}

static void begin(int epoll_fd, const struct range *r, uint64_t index)
{
	struct sockaddr_in to = endpoint(r, index);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};

	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != EINPROGRESS)
		fail("connect");
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

/* Whether it is open. */
static bool finish(int fd)
{
	const struct linger reset = {.l_onoff = 1};
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		fail("getsockopt");
	if (error && error != ECONNREFUSED) {
		errno = error;
		fail("an endpoint that does not answer");
	}
	if (!error)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	return !error;
}

static uint64_t sweep(const struct range *r, uint64_t total, unsigned concurrency)
{
	struct epoll_event events[BATCH];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begun = 0, ended = 0, open = 0;

	if (epoll_fd < 0)
		fail("epoll_create1");
	while (ended < total) {
		for (; begun < total && begun - ended < concurrency; begun++)
			begin(epoll_fd, r, begun);
		int count = epoll_wait(epoll_fd, events, BATCH, 10000);

		if (count <= 0)
			fail("epoll_wait");
		for (int i = 0; i < count; i++)
			open += finish(events[i].data.fd);
		ended += (uint64_t)count;
	}
	close(epoll_fd);
	return open;
}

static void read_range(char **argv, struct range *r)
{
	struct in_addr first;
	char *port = argv[3];

	if (inet_pton(AF_INET, argv[1], &first) != 1)
		fail(argv[1]);
	r->first = ntohl(first.s_addr);
	r->addresses = (uint32_t)strtoul(argv[2], NULL, 10);
	while (r->ports < MAX_PORTS && *port) {
		r->port[r->ports++] = (uint16_t)strtoul(port, &port, 10);
		port += *port == ',';
	}
}

int main(int argc, char **argv)
{
	struct rlimit files;
	struct range r = {0};
	struct timespec before, after;
	unsigned concurrency = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1024;
	uint64_t total, open;

	if (argc < 4) {
		fputs("usage: connect_loop FIRST_ADDRESS ADDRESSES PORT[,PORT...] [CONCURRENCY]\n",
		      stderr);
		return 2;
	}
	read_range(argv, &r);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	total = (uint64_t)r.addresses * r.ports;
	clock_gettime(CLOCK_MONOTONIC, &before);
	open = sweep(&r, total, concurrency);
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("%llu %llu %.3f\n", (unsigned long long)total, (unsigned long long)open,
	       (double)(after.tv_sec - before.tv_sec) +
	           (double)(after.tv_nsec - before.tv_nsec) / 1e9);
	return 0;
}
