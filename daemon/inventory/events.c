/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/events.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#define TRACEPOINT "events/sock/inet_sock_set_state/id"
/*
 * TCP_LISTEN is 10, TCP_CLOSE 7: begins to listen, or ceases to. Nothing else wakes us: each
 * connection that is taken is a copy of the listener, and goes from 10 to TCP_SYN_RECV. 6 is TCP:
 * a listener of MPTCP has one of TCP beneath it, which is the one that we list.
 */
#define FILTER "protocol == 6 && (newstate == 10 || (oldstate == 10 && newstate == 7))"

enum {
	RING_PAGES = 2, /* for each CPU: some 340 records */
	SELF_TEST_MS = 1000,
	MAX_RECORD_BYTES = 64,
};

struct ring {
	int fd;
	struct perf_event_mmap_page *page; /* the head; the records follow in the next pages */
};

struct events {
	int epoll;
	size_t page_bytes;
	size_t n_rings;
	struct ring rings[];
};

/* As PERF_SAMPLE_TID and PERF_SAMPLE_TIME lay it out. */
struct sample {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t time;
};

struct lost {
	struct perf_event_header header;
	uint64_t id, lost;
};

__attribute__((format(printf, 3, 4))) static int fail(char *why, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, EVENTS_WHY_LEN, format, args);
	va_end(args);
	return -error;
}

/* What nobody has mounted is mounted by us, without a place in any tree, and gone once read. */
static int open_detached(void)
{
	auto_close int fs = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
	auto_close int mount = -1;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mount < 0)
		return -errno;
	fs = openat(mount, TRACEPOINT, O_RDONLY | O_CLOEXEC);
	return fs < 0 ? -errno : steal_fd(&fs);
}

static int open_id(void)
{
	static const char *const places[] = {"/sys/kernel/tracing/" TRACEPOINT,
	                                     "/sys/kernel/debug/tracing/" TRACEPOINT};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		int fd = open(places[i], O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
	}
	return open_detached();
}

static int read_id(uint64_t *id, char *why)
{
	auto_close int fd = open_id();
	char text[32], *end;
	ssize_t n;

	if (fd < 0)
		return fail(why, -fd, "tracefs: %s: %s", TRACEPOINT, strerror(-fd));
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return fail(why, EIO, "tracefs: %s cannot be read", TRACEPOINT);
	text[n] = '\0';
	*id = strtoull(text, &end, 10);
	return end == text ? fail(why, EPROTO, "tracefs: %s has no number", TRACEPOINT) : 0;
}

/* Returns 0 also for a CPU that is off; its events come with the polls. */
static int open_ring(struct events *e, int cpu, uint64_t id, char *why)
{
	struct perf_event_attr attr = {
	    .type = PERF_TYPE_TRACEPOINT,
	    .size = sizeof(attr),
	    .config = id,
	    .sample_period = 1,
	    .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
	    .wakeup_events = 1,
	    .use_clockid = 1,
	    .clockid = CLOCK_MONOTONIC,
	};
	struct epoll_event wanted = {.events = EPOLLIN};
	struct ring *r = &e->rings[e->n_rings];
	auto_close int fd =
	    (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	void *page;

	if (fd < 0 && errno == ENODEV)
		return 0;
	if (fd < 0)
		return fail(why, errno, "perf_event_open: %s", strerror(errno));
	if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, FILTER) < 0)
		return fail(why, errno, "perf filter: %s", strerror(errno));
	page =
	    mmap(NULL, (1 + RING_PAGES) * e->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return fail(why, errno, "perf ring: %s", strerror(errno));
	r->page = page;
	r->fd = steal_fd(&fd);
	e->n_rings++;
	if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, r->fd, &wanted) < 0)
		return fail(why, errno, "epoll: %s", strerror(errno));
	return 0;
}

static int listen_once(void)
{
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return sock < 0 || listen(sock, 1) < 0 ? -errno : 0;
}

/* In a namespace that nobody sees. */
static int listen_elsewhere(void)
{
	auto_close int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int err;

	if (home < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	err = listen_once();
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("no way back to our network namespace: %s", strerror(errno));
		_exit(EXIT_FAILURE); /* as in visitor.c */
	}
	return err;
}

static void note_own(const struct events_record *r, void *arg)
{
	bool *seen = arg;

	*seen = *seen || r->process == getpid();
}

/* A kernel that takes all of the above and then says nothing would leave us blind. */
static int test_events(struct events *e, char *why)
{
	struct pollfd wait = {.fd = e->epoll, .events = POLLIN};
	bool seen = false;
	int err = listen_elsewhere();

	if (err < 0)
		return fail(why, -err, "trying events: %s", strerror(-err));
	if (poll(&wait, 1, SELF_TEST_MS) > 0)
		events_read(e, note_own, &seen);
	return seen ? 0 : fail(why, ENOTSUP, "the kernel said nothing of a listen() of our own");
}

int events_open(struct events **out, char why[static EVENTS_WHY_LEN])
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct events *e;
	uint64_t id = 0;
	int err = read_id(&id, why);

	if (err < 0)
		return err;
	if (cpus < 1)
		return fail(why, EINVAL, "the number of CPUs is not known");
	e = calloc(1, sizeof(*e) + (size_t)cpus * sizeof(e->rings[0]));
	if (!e)
		return fail(why, ENOMEM, "out of memory");
	e->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0)
		err = fail(why, errno, "epoll: %s", strerror(errno));
	for (int cpu = 0; err == 0 && cpu < (int)cpus; cpu++)
		err = open_ring(e, cpu, id, why);
	if (err == 0)
		err = test_events(e, why);
	if (err < 0) {
		events_free(e);
		return err;
	}
	*out = e;
	return 0;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_rings; i++) {
		munmap(e->rings[i].page, (1 + RING_PAGES) * e->page_bytes);
		close(e->rings[i].fd);
	}
	if (e->epoll >= 0)
		close(e->epoll);
	free(e);
}

int events_fd(const struct events *e)
{
	return e->epoll;
}

/* Out of the ring, which ends anywhere within a record. */
static void copy_out(const uint8_t *data, size_t size, uint64_t at, void *out, size_t length)
{
	size_t offset = (size_t)(at & (size - 1));
	size_t first = length < size - offset ? length : size - offset;

	memcpy(out, data + offset, first);
	memcpy((uint8_t *)out + first, data, length - first);
}

static uint64_t read_ring(const struct events *e, struct ring *r,
                          void (*record)(const struct events_record *, void *), void *arg)
{
	const uint8_t *data = (const uint8_t *)r->page + e->page_bytes;
	size_t size = RING_PAGES * e->page_bytes;
	/* Pairs with the kernel's barrier between a record and the head (perf_event.h). */
	uint64_t head = __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = r->page->data_tail, lost = 0;

	while (tail < head) {
		union {
			struct perf_event_header header;
			struct sample sample;
			struct lost lost;
			uint8_t bytes[MAX_RECORD_BYTES];
		} u = {0};

		copy_out(data, size, tail, &u.header, sizeof(u.header));
		if (u.header.size < sizeof(u.header))
			break; /* not the kernel's doing */
		copy_out(data, size, tail, &u,
		         u.header.size < sizeof(u) ? u.header.size : sizeof(u));
		if (u.header.type == PERF_RECORD_SAMPLE && u.header.size >= sizeof(u.sample)) {
			const struct events_record got = {
			    .task = (pid_t)u.sample.tid,
			    .process = (pid_t)u.sample.pid,
			    .time_ns = (int64_t)u.sample.time,
			};

			record(&got, arg);
		} else if (u.header.type == PERF_RECORD_LOST && u.header.size >= sizeof(u.lost)) {
			lost += u.lost.lost;
		}
		tail += u.header.size;
	}
	/* What was read may be written over from here on. */
	__atomic_store_n(&r->page->data_tail, head, __ATOMIC_RELEASE);
	return lost;
}

bool events_are_waiting(const struct events *e)
{
	for (size_t i = 0; i < e->n_rings; i++) {
		const struct perf_event_mmap_page *page = e->rings[i].page;

		if (__atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE) != page->data_tail)
			return true;
	}
	return false;
}

uint64_t events_read(struct events *e, void (*record)(const struct events_record *r, void *arg),
                     void *arg)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < e->n_rings; i++)
		lost += read_ring(e, &e->rings[i], record, arg);
	return lost;
}
