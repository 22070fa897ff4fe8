/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each filter in a forked child: what its process needs works, what it does not need fails, and
 * what only an attacker asks for ends it by SIGSYS. Raw system calls, since the C library has its
 * own ideas. In a build with AddressSanitizer sandbox_filter() does nothing, so these are skipped.
 */
#include "common/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the above */
#include <cmocka.h>

#include "common/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			dprintf(2, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,             \
			        strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

#define CHECK_EPERM(call)                                                                          \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHECK((call) == -1 && errno == EPERM);                                             \
	} while (0)

static const struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = 0x7f000001};

/* Runs `body` in a child under the filter and returns its wait status. */
static int run_filtered(enum sandbox_filter filter, void (*body)(int), int fd)
{
	char why[SANDBOX_ERROR_LEN] = "";
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0); /* no core files of it */
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
		CHECK(sandbox_filter(filter, why) == 0);
		body(fd);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void check_runtime(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;
	struct stat st;
	char *big = malloc(1 << 20);

	CHECK(epoll >= 0 && epoll_wait(epoll, &event, 1, 1) == 0);
	CHECK(big);
	memset(big, 1, 1 << 20);
	free(big);
	CHECK(fstat(2, &st) == 0);
}

static void check_forbidden_everywhere(void)
{
	struct rlimit limit = {1, 1};
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	CHECK_EPERM(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
	CHECK_EPERM(open("/etc/hostname", O_WRONLY | O_CLOEXEC));
	CHECK_EPERM(open("/tmp/pprofwall-test", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	CHECK_EPERM(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	CHECK_EPERM(unlink("/tmp/pprofwall-test"));
	CHECK_EPERM(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_EPERM(socket(AF_PACKET, SOCK_RAW, 0));
	CHECK_EPERM(socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
	CHECK_EPERM(socket(AF_VSOCK, SOCK_STREAM, 0));
	CHECK_EPERM(fork());
	CHECK_EPERM(kill(getppid(), SIGTERM));
	CHECK_EPERM(syscall(SYS_tgkill, getppid(), getppid(), 0));
	CHECK_EPERM(syscall(SYS_prlimit64, 0, 7, &limit, NULL));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	          MAP_FAILED &&
	      errno == EPERM);
}

static void check_tcp(int port)
{
	struct sockaddr_in to = loopback;
	struct pollfd ready = {.events = POLLIN};
	char text[8] = "";
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	auto_close int udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);

	to.sin_addr.s_addr = htonl(loopback.sin_addr.s_addr);
	to.sin_port = (in_port_t)port;
	CHECK(sock >= 0 && udp >= 0);
	CHECK(connect(sock, (const struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
	ready.fd = sock;
	CHECK(poll(&ready, 1, 5000) == 1);
	CHECK(recv(sock, text, sizeof(text), 0) == 5 && !memcmp(text, "hello", 5));
}

static void be_network(int port)
{
	check_runtime();
	check_tcp(port);
	check_forbidden_everywhere();
	CHECK_EPERM(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(access("/etc/hostname", R_OK));
	CHECK_EPERM(socket(AF_UNIX, SOCK_DGRAM, 0));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

static void be_sender(int port)
{
	char text[64];
	struct stat st;
	auto_close int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	auto_close int local = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_closedir DIR *directory = opendir("/etc");

	CHECK(local >= 0);
	CHECK_EPERM(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) > 0);
	CHECK(stat("/etc/passwd", &st) == 0);
	CHECK(directory && readdir(directory));
	check_runtime();
	check_tcp(port);
	check_forbidden_everywhere();
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

/* Answers one connection with "hello", from a child that is waited for. */
static void with_server(enum sandbox_filter filter, void (*body)(int))
{
	struct sockaddr_in at = loopback;
	socklen_t length = sizeof(at);
	pid_t server;
	int status;
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(loopback.sin_addr.s_addr);
	assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &length), 0);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		int client = accept(listener, NULL, NULL);

		_exit(client >= 0 && write(client, "hello", 5) == 5 ? 0 : 1);
	}
	status = run_filtered(filter, body, at.sin_port);
	if (status)
		kill(server, SIGKILL); /* it may still wait for the connection */
	assert_int_equal(waitpid(server, NULL, 0), server);
	assert_int_equal(status, 0);
}

static void test_network(void **state)
{
	(void)state;
	with_server(SANDBOX_FILTER_NETWORK, be_network);
}

static void test_sender(void **state)
{
	(void)state;
	with_server(SANDBOX_FILTER_SENDER, be_sender);
}

static void be_netlink(int memfd)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	char text[8];
	auto_close int netfilter = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	auto_close int diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	check_runtime();
	CHECK(netfilter >= 0 && diag >= 0);
	CHECK(bind(netfilter, (const struct sockaddr *)&kernel, sizeof(kernel)) == 0);
	CHECK(pread(memfd, text, sizeof(text), 0) == 4 && !memcmp(text, "conf", 4));
	check_forbidden_everywhere();
	CHECK_EPERM(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
}

/* The firewall: listens for others. */
static void be_wall(int memfd)
{
	struct sockaddr_in at = loopback;
	socklen_t length = sizeof(at);
	char text[8];
	auto_close int netfilter = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	auto_close int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_close int other = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(loopback.sin_addr.s_addr);
	check_runtime();
	CHECK(netfilter >= 0 && diag >= 0 && listener >= 0 && other >= 0);
	CHECK(bind(listener, (const struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&at, &length) == 0);
	CHECK(pread(memfd, text, sizeof(text), 0) == 4 && !memcmp(text, "conf", 4));
	check_forbidden_everywhere();
	CHECK_EPERM(accept(listener, NULL, NULL));
	CHECK_EPERM(connect(other, (const struct sockaddr *)&at, sizeof(at)));
	CHECK_EPERM(sendto(other, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&at, sizeof(at)));
	CHECK_EPERM(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static void test_netlink(void **state)
{
	auto_close int memfd = memfd_create("conf", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(memfd, "conf", 4), 4);
	assert_int_equal(run_filtered(SANDBOX_FILTER_NETLINK, be_netlink, memfd), 0);
	assert_int_equal(run_filtered(SANDBOX_FILTER_WALL, be_wall, memfd), 0);
}

/* The discoverer: TCP, the sockets that it was given, no UDP. */
static void be_discover(int port)
{
	struct sockaddr_in to = loopback;
	struct pollfd ready = {.events = POLLIN};
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	auto_close int sock6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	char text[8] = "";
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};

	check_runtime();
	to.sin_addr.s_addr = htonl(loopback.sin_addr.s_addr);
	to.sin_port = (in_port_t)port;
	CHECK(sock >= 0 && sock6 >= 0);
	CHECK(connect(sock, (const struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
	ready.fd = sock;
	CHECK(poll(&ready, 1, 5000) == 1);
	CHECK(recvmmsg(sock, &message, 1, 0, NULL) == 1 && message.msg_len == 5);
	CHECK(sendmmsg(sock, &message, 1, MSG_NOSIGNAL) == 1 || errno == EPIPE ||
	      errno == ECONNRESET);
	check_forbidden_everywhere();
	CHECK_EPERM(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK_EPERM(socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP));
	CHECK_EPERM(socket(AF_PACKET, SOCK_DGRAM, 0));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static void test_discover(void **state)
{
	(void)state;
	with_server(SANDBOX_FILTER_DISCOVER, be_discover);
}

/* The filter: TCP, clients on sockets that listen already, and none of its own that do. */
static void be_filter(int port)
{
	struct sockaddr_in to = loopback;
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check_runtime();
	to.sin_addr.s_addr = htonl(loopback.sin_addr.s_addr);
	to.sin_port = (in_port_t)port;
	CHECK(sock >= 0);
	CHECK(accept4(sock, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EINVAL);
	CHECK_EPERM(listen(sock, 1));
	CHECK(connect(sock, (const struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS);
	check_forbidden_everywhere();
	CHECK_EPERM(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(socket(AF_INET, SOCK_DGRAM, 0));
	CHECK_EPERM(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	CHECK_EPERM(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void test_filter(void **state)
{
	(void)state;
	with_server(SANDBOX_FILTER_FILTER, be_filter);
}

/* New files, and names for them, in a folder that is open; nothing is read or written over. */
static void be_keeper(int folder)
{
	struct stat st;
	int fd = openat(folder, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	check_runtime();
	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 && close(fd) == 0);
	CHECK(renameat(folder, "new", folder, "name") == 0);
	CHECK(fstatat(folder, "name", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == 1);
	CHECK_EPERM(openat(folder, "name", O_RDONLY | O_CLOEXEC));
	CHECK_EPERM(openat(folder, "name", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	CHECK_EPERM(openat(folder, "name", O_WRONLY | O_TRUNC | O_CLOEXEC));
	CHECK(unlinkat(folder, "name", 0) == 0);
	CHECK_EPERM(syscall(SYS_fchmod, folder, 0777));
	CHECK_EPERM(syscall(SYS_fchown, folder, 0, 0));
	CHECK_EPERM(syscall(SYS_linkat, folder, "name", folder, "other", 0));
	CHECK_EPERM(syscall(SYS_symlinkat, "/etc/shadow", folder, "other"));
	CHECK_EPERM(socket(AF_INET, SOCK_STREAM, 0));
	CHECK_EPERM(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_EPERM(fork());
}

static void test_keeper(void **state)
{
	char path[] = "/tmp/test_sandbox_filter.XXXXXX";
	auto_close int folder = -1;
	int status;

	(void)state;
	assert_non_null(mkdtemp(path));
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	status = run_filtered(SANDBOX_FILTER_KEEPER, be_keeper, folder);
	assert_int_equal(rmdir(path), 0); /* it has left nothing */
	assert_int_equal(status, 0);
}

/* Opens a file when it is told to, and says how that went. */
static void *open_when_told(void *arg)
{
	const int *pair = arg;
	char byte;
	int fd;

	if (read(pair[0], &byte, 1) != 1)
		return NULL;
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	byte = fd < 0 && errno == EPERM ? 'y' : 'n';
	CHECK(write(pair[0], &byte, 1) == 1);
	return NULL;
}

/* One that was there before the filter. */
static void test_threads(void **state)
{
	char why[SANDBOX_ERROR_LEN], byte = 0;
	pthread_t thread;
	int pair[2], status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
		CHECK(pthread_create(&thread, NULL, open_when_told, pair) == 0);
		CHECK(sandbox_filter(SANDBOX_FILTER_NETWORK, why) == 0);
		CHECK(write(pair[1], "!", 1) == 1 && read(pair[1], &byte, 1) == 1);
		CHECK(byte == 'y');
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(pthread_create(&thread, NULL, open_when_told, pair) == EPERM);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void do_execve(int unused)
{
	char *const argv[] = {NULL};

	(void)unused;
	execve("/bin/true", argv, argv);
}

static void do_ptrace(int unused)
{
	(void)unused;
	syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void do_setuid(int unused)
{
	(void)unused;
	syscall(SYS_setuid, 0);
}

static void do_unshare(int unused)
{
	(void)unused;
	syscall(SYS_unshare, 0x10000000);
}

static void do_io_uring(int unused)
{
	(void)unused;
	syscall(SYS_io_uring_setup, 1, NULL);
}

static void do_bpf(int unused)
{
	(void)unused;
	syscall(SYS_bpf, 0, NULL, 0);
}

static void test_killed(void **state)
{
	void (*const calls[])(int) = {do_execve,  do_ptrace,   do_setuid,
	                              do_unshare, do_io_uring, do_bpf};
	const enum sandbox_filter filters[] = {SANDBOX_FILTER_NETWORK, SANDBOX_FILTER_SENDER,
	                                       SANDBOX_FILTER_NETLINK, SANDBOX_FILTER_WALL,
	                                       SANDBOX_FILTER_KEEPER,  SANDBOX_FILTER_DISCOVER,
	                                       SANDBOX_FILTER_FILTER};

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(filters); f++) {
		for (size_t c = 0; c < ARRAY_LEN(calls); c++) {
			int status = run_filtered(filters[f], calls[c], -1);

			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGSYS);
		}
	}
}

/* abort() must still say so to the parent. */
static void do_abort(int unused)
{
	(void)unused;
	abort();
}

static void test_abort(void **state)
{
	int status = run_filtered(SANDBOX_FILTER_NETWORK, do_abort, -1);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void be_unfiltered(int unused)
{
	(void)unused;
	CHECK(access("/etc/passwd", R_OK) == 0);
}

static void test_none(void **state)
{
	(void)state;
	assert_int_equal(run_filtered(SANDBOX_FILTER_NONE, be_unfiltered, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_network), cmocka_unit_test(test_sender),
	    cmocka_unit_test(test_netlink), cmocka_unit_test(test_discover),
	    cmocka_unit_test(test_filter),  cmocka_unit_test(test_keeper),
	    cmocka_unit_test(test_threads), cmocka_unit_test(test_killed),
	    cmocka_unit_test(test_abort),   cmocka_unit_test(test_none),
	};

	if (SANDBOX_SANITIZED) {
		print_message("built with AddressSanitizer, no filter: skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
