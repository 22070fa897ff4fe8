/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/conntrack.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Others add entries too: a look is due every so often, however much room there was. */
#define LOOK_INTERVAL_NS INT64_C(100000000)

/* Opened by the caller's own process: these files show the namespace of whoever opened them. */
#define COUNT_FILE "/proc/sys/net/netfilter/nf_conntrack_count"
#define MAX_FILE   "/proc/sys/net/netfilter/nf_conntrack_max"

int conntrack_init(struct conntrack *c)
{
	auto_close int count_fd = -1, max_fd = -1;

	*c = (struct conntrack){.count_fd = -1, .max_fd = -1, .look_ns = INT64_MIN};
	count_fd = open(COUNT_FILE, O_RDONLY | O_CLOEXEC);
	if (count_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	max_fd = open(MAX_FILE, O_RDONLY | O_CLOEXEC);
	if (max_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	c->count_fd = steal_fd(&count_fd);
	c->max_fd = steal_fd(&max_fd);
	return 0;
}

void conntrack_fini(struct conntrack *c)
{
	if (c->count_fd >= 0)
		close(c->count_fd);
	if (c->max_fd >= 0)
		close(c->max_fd);
	c->count_fd = c->max_fd = -1;
}

uint64_t conntrack_room(uint64_t count, uint64_t max)
{
	uint64_t limit =
	    max / 100 * CONNTRACK_SHARE_PERCENT + max % 100 * CONNTRACK_SHARE_PERCENT / 100;

	if (!max)
		return UINT64_MAX; /* 0: the kernel has no limit */
	return limit > count ? limit - count : 0;
}

static int read_number(int fd, uint64_t *out)
{
	char text[32], *end;
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
	unsigned long long value;

	if (len <= 0)
		return len ? -errno : -EIO;
	text[len] = '\0';
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text)
		return -EINVAL;
	*out = value;
	return 0;
}

unsigned conntrack_take(struct conntrack *c, int64_t now_ns, unsigned want)
{
	if (c->count_fd < 0)
		return want;
	if (now_ns >= c->look_ns) {
		if (read_number(c->count_fd, &c->count) || read_number(c->max_fd, &c->max))
			return want; /* unloaded meanwhile */
		c->allowed = conntrack_room(c->count, c->max);
		c->look_ns = now_ns + LOOK_INTERVAL_NS;
	}
	if (want > c->allowed)
		want = (unsigned)c->allowed;
	c->allowed -= want;
	return want;
}

void conntrack_return(struct conntrack *c, unsigned unused)
{
	c->allowed += unused;
}

int64_t conntrack_wait_ns(const struct conntrack *c, int64_t now_ns)
{
	if (c->count_fd < 0 || c->allowed || now_ns >= c->look_ns)
		return 0;
	return c->look_ns - now_ns;
}
