/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call filters: allow-lists. What is on no list fails with EPERM, so that a library that
 * tries something new gets an error it can handle. What only an attacker would ask for (running a
 * program, another identity, looking into other processes, the kernel's most attacked doors) kills
 * the process: the parent sees SIGSYS, and the endpoint that was being probed is quarantined.
 *
 * Nothing may create threads or processes (clone is on no list), nor map executable memory.
 */
#include "common/sandbox.h"

#include "common/cleanup.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

AUTO_CLEANUP(filter, scmp_filter_ctx, seccomp_release)
#define auto_filter __attribute__((cleanup(cleanup_filter)))

/* Names that the build's libseccomp does not know yet are left out: on no list means EPERM. */
static const int killed[] = {
    /* running programs */
    SCMP_SYS(execve), SCMP_SYS(execveat),
    /* other processes */
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_getfd),
    /* mounts and namespaces */
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(setns),
    SCMP_SYS(unshare), SCMP_SYS(open_by_handle_at),
    /* code in the kernel, and its most attacked doors */
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(bpf), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open), SCMP_SYS(keyctl),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(personality), SCMP_SYS(iopl),
    SCMP_SYS(ioperm), SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    /* another identity */
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid), SCMP_SYS(setregid), SCMP_SYS(setresuid),
    SCMP_SYS(setresgid), SCMP_SYS(setgroups), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
    SCMP_SYS(capset)};

/* What a process with a loop, a heap and a few descriptors does. */
static const int basic[] = {
    /* descriptors that are open */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(fstat64),
    SCMP_SYS(fcntl), SCMP_SYS(fcntl64), SCMP_SYS(dup),
    /* memory; mmap and mprotect are below, without PROT_EXEC */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    /* the loop; pipe and eventfd are how libevent and libcurl wake themselves, and socketpair,
     * which is below */
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_create), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64), SCMP_SYS(select), SCMP_SYS(_newselect), SCMP_SYS(pselect6),
    SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    SCMP_SYS(eventfd2), SCMP_SYS(pipe2),
    /* signals */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigreturn),
    SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
    /* time and randomness */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom),
    /* the process itself */
    SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(sched_yield), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid),
    SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid),
    SCMP_SYS(getresgid), SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(uname),
    SCMP_SYS(sysinfo), SCMP_SYS(sched_getaffinity), SCMP_SYS(exit), SCMP_SYS(exit_group)};

/* On sockets that exist; which ones can be made is decided by the rules on socket(2) below. */
static const int sockets[] = {
    SCMP_SYS(bind),       SCMP_SYS(connect),     SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(send),       SCMP_SYS(sendto),      SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),   SCMP_SYS(recv),        SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),    SCMP_SYS(recvmmsg),    SCMP_SYS(recvmmsg_time64),
    SCMP_SYS(shutdown)};

/* Reading files: the CA bundle and its directory of hashes, resolv.conf, hosts. */
static const int reading[] = {SCMP_SYS(newfstatat), SCMP_SYS(stat),      SCMP_SYS(lstat),
                              SCMP_SYS(stat64),     SCMP_SYS(fstatat64), SCMP_SYS(statx),
                              SCMP_SYS(getdents64), SCMP_SYS(readlink),  SCMP_SYS(readlinkat),
                              SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2)};

enum { SOCKET_TYPE_MASK = 0xf }; /* without SOCK_NONBLOCK and SOCK_CLOEXEC */

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = seccomp_rule_add(filter, action, calls[i], 0);
	return rc;
}

/* Allowed only with a certain argument; on 32 bits some calls have another name. */
struct conditional {
	int call;
	struct scmp_arg_cmp argument;
};

#define ARG_IS(index, value)                                                                       \
	{                                                                                          \
		index, SCMP_CMP_EQ, value, 0                                                       \
	}
#define ARG_WITHOUT(index, flags)                                                                  \
	{                                                                                          \
		index, SCMP_CMP_MASKED_EQ, flags, 0                                                \
	}

static const struct conditional basic_conditional[] = {
    /* ioctl: non-blocking, bytes waiting, and stdio's "is it a terminal?". */
    {SCMP_SYS(ioctl), ARG_IS(1, FIONBIO)},
    {SCMP_SYS(ioctl), ARG_IS(1, FIONREAD)},
    {SCMP_SYS(ioctl), ARG_IS(1, TCGETS)},
    {SCMP_SYS(ioctl), ARG_IS(1, TIOCGWINSZ)},
    {SCMP_SYS(mmap), ARG_WITHOUT(2, PROT_EXEC)},
    {SCMP_SYS(mmap2), ARG_WITHOUT(2, PROT_EXEC)},
    {SCMP_SYS(mprotect), ARG_WITHOUT(2, PROT_EXEC)},
    /* The C library's fstat(); a path together with this flag tells no more than stat(2). */
    {SCMP_SYS(newfstatat), ARG_IS(3, AT_EMPTY_PATH)},
    /* Limits may be read, not set. */
    {SCMP_SYS(prlimit64), ARG_IS(2, 0)},
    /* No datagrams: such a socket could send to any path, the notify socket of systemd's too. */
    {SCMP_SYS(socketpair), {1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_STREAM}},
    /* sandbox_filter() asks whether it is in force. */
    {SCMP_SYS(prctl), ARG_IS(0, PR_GET_SECCOMP)}};

/* fcntl.h's O_TMPFILE contains O_DIRECTORY, which is harmless. */
#define OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

static const struct conditional reading_conditional[] = {
    {SCMP_SYS(openat), ARG_WITHOUT(2, OPEN_WRITES)}, {SCMP_SYS(open), ARG_WITHOUT(1, OPEN_WRITES)}};

static int add_conditional(scmp_filter_ctx filter, const struct conditional *list, size_t count)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, list[i].call, 1,
		                            &list[i].argument);
	return rc;
}

static int add_basic(scmp_filter_ctx filter)
{
	/* abort(), and nobody else's process. */
	const struct conditional own_tgkill = {SCMP_SYS(tgkill), ARG_IS(0, (scmp_datum_t)getpid())};
	int rc = add_all(filter, SCMP_ACT_ALLOW, basic, ARRAY_LEN(basic));

	if (rc == 0)
		rc = add_conditional(filter, basic_conditional, ARRAY_LEN(basic_conditional));
	return rc < 0 ? rc : add_conditional(filter, &own_tgkill, 1);
}

static int add_socket(scmp_filter_ctx filter, int family, int type, int protocol)
{
	const struct scmp_arg_cmp arguments[] = {
	    {0, SCMP_CMP_EQ, (scmp_datum_t)family, 0},
	    {1, SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, (scmp_datum_t)type},
	    {2, SCMP_CMP_EQ, (scmp_datum_t)protocol, 0}};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
	                              ARRAY_LEN(arguments), arguments);
}

static int add_inet(scmp_filter_ctx filter, int type, int protocol)
{
	static const int families[] = {AF_INET, AF_INET6};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++) {
		rc = add_socket(filter, families[i], type, 0);
		if (rc == 0)
			rc = add_socket(filter, families[i], type, protocol);
	}
	return rc;
}

/*
 * Nothing of AF_PACKET and AF_NETLINK can be opened: what the discoverer has of them is narrowed
 * by the filters that were attached to it, and by having no capability.
 */
static int add_discover(scmp_filter_ctx filter)
{
	int rc = add_all(filter, SCMP_ACT_ALLOW, sockets, ARRAY_LEN(sockets));

	return rc < 0 ? rc : add_inet(filter, SOCK_STREAM, IPPROTO_TCP);
}

/* Clients, whom it cannot choose. The sockets that listen are made for it, and it makes none. */
static int add_filter(scmp_filter_ctx filter)
{
	int rc = add_discover(filter);

	return rc < 0 ? rc : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(accept4), 0);
}

static int add_network(scmp_filter_ctx filter)
{
	int rc = add_discover(filter);

	return rc < 0 ? rc : add_inet(filter, SOCK_DGRAM, IPPROTO_UDP);
}

static int add_reading(scmp_filter_ctx filter)
{
	int rc = add_all(filter, SCMP_ACT_ALLOW, reading, ARRAY_LEN(reading));

	return rc < 0
	           ? rc
	           : add_conditional(filter, reading_conditional, ARRAY_LEN(reading_conditional));
}

/* nftables; and sock_diag, to end connections that a block has cut. */
static int add_netlink(scmp_filter_ctx filter)
{
	static const int protocols[] = {NETLINK_NETFILTER, NETLINK_SOCK_DIAG};
	int rc = add_all(filter, SCMP_ACT_ALLOW, sockets, ARRAY_LEN(sockets));

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(protocols); i++) {
		rc = add_socket(filter, AF_NETLINK, SOCK_RAW, protocols[i]);
		if (rc == 0)
			rc = add_socket(filter, AF_NETLINK, SOCK_DGRAM, protocols[i]);
	}
	return rc;
}

/*
 * As above; and listening sockets for the filter process. None can be connected, nor one accepted:
 * what strangers send is not for a process with CAP_NET_ADMIN.
 */
static int add_wall(scmp_filter_ctx filter)
{
	static const int protocols[] = {NETLINK_NETFILTER, NETLINK_SOCK_DIAG};
	static const int calls[] = {
	    SCMP_SYS(bind),        SCMP_SYS(listen), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	    SCMP_SYS(getsockname), SCMP_SYS(recv),   SCMP_SYS(recvfrom),   SCMP_SYS(recvmsg)};
	const struct scmp_arg_cmp sendto_as_is = {3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0};
	const struct scmp_arg_cmp sendmsg_as_is = {2, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0};
	int rc = add_all(filter, SCMP_ACT_ALLOW, calls, ARRAY_LEN(calls));

	if (rc == 0)
		rc = add_inet(filter, SOCK_STREAM, IPPROTO_TCP);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(protocols); i++)
		rc = add_socket(filter, AF_NETLINK, SOCK_RAW, protocols[i]);
	if (rc == 0)
		rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
		                            &sendto_as_is);
	return rc < 0 ? rc
	              : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
	                                       &sendmsg_as_is);
}

/*
 * Reading files; into network namespaces, and no others; netlink to ask for sockets and addresses;
 * TCP sockets, made inside a namespace for the prober, or to connect from our own.
 */
static int add_inventory(scmp_filter_ctx filter)
{
	static const int protocols[] = {NETLINK_ROUTE, NETLINK_SOCK_DIAG};
	const struct scmp_arg_cmp network = {1, SCMP_CMP_EQ, CLONE_NEWNET, 0};
	int rc = add_all(filter, SCMP_ACT_ALLOW, sockets, ARRAY_LEN(sockets));

	if (rc == 0)
		rc = add_reading(filter);
	if (rc == 0)
		rc = add_inet(filter, SOCK_STREAM, IPPROTO_TCP);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(protocols); i++)
		rc = add_socket(filter, AF_NETLINK, SOCK_RAW, protocols[i]);
	return rc < 0
	           ? rc
	           : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(setns), 1, &network);
}

/* Only for writing, and only what is not there yet; send(2) on the socket it was given. */
static int add_new_files(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp makes_one = {2, SCMP_CMP_MASKED_EQ,
	                                       O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC,
	                                       O_WRONLY | O_CREAT | O_EXCL};
	int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, &makes_one);

	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 0);
	return rc < 0 ? rc : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(send), 0);
}

/* A new file, whole and on disk, takes the place of an old one. */
static int add_replacing(scmp_filter_ctx filter)
{
	static const int calls[] = {SCMP_SYS(fsync),    SCMP_SYS(renameat),   SCMP_SYS(renameat2),
	                            SCMP_SYS(unlinkat), SCMP_SYS(newfstatat), SCMP_SYS(fstatat64),
	                            SCMP_SYS(recvfrom), SCMP_SYS(recv)};
	int rc = add_new_files(filter);

	return rc < 0 ? rc : add_all(filter, SCMP_ACT_ALLOW, calls, ARRAY_LEN(calls));
}

static int add_rules(scmp_filter_ctx filter, enum sandbox_filter kind)
{
	int rc = 0;

	/* A rule on arguments cannot stand beside one without: what is not allowed of setns() fails
	 * as everything on no list does. */
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(killed); i++) {
		if (kind != SANDBOX_FILTER_INVENTORY || killed[i] != SCMP_SYS(setns))
			rc = add_all(filter, SCMP_ACT_KILL_PROCESS, &killed[i], 1);
	}
	if (rc == 0)
		rc = add_basic(filter);
	if (rc < 0)
		return rc;
	switch (kind) {
	case SANDBOX_FILTER_NETWORK: return add_network(filter);
	case SANDBOX_FILTER_SENDER:
		rc = add_network(filter);
		/* syslog and the journal take datagrams. Nobody who has power over the host does,
		 * but systemd, and that from the service's main process alone (NotifyAccess). */
		if (rc == 0)
			rc = add_socket(filter, AF_UNIX, SOCK_DGRAM, 0);
		return rc < 0 ? rc : add_reading(filter);
	case SANDBOX_FILTER_FILES: return add_new_files(filter);
	case SANDBOX_FILTER_KEEPER: return add_replacing(filter);
	case SANDBOX_FILTER_DISCOVER: return add_discover(filter);
	case SANDBOX_FILTER_FILTER: return add_filter(filter);
	case SANDBOX_FILTER_NETLINK: return add_netlink(filter);
	case SANDBOX_FILTER_WALL: return add_wall(filter);
	case SANDBOX_FILTER_INVENTORY: return add_inventory(filter);
	case SANDBOX_FILTER_NONE: break;
	}
	return -EINVAL;
}

int sandbox_filter(enum sandbox_filter kind, char why[static SANDBOX_ERROR_LEN])
{
	auto_filter scmp_filter_ctx filter = NULL;
	int rc;

	if (kind == SANDBOX_FILTER_NONE || SANDBOX_SANITIZED)
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter) {
		snprintf(why, SANDBOX_ERROR_LEN, "seccomp: out of memory");
		return -ENOMEM;
	}
	/* A binary tree of the numbers, not a chain. Only speed: a refusal does not matter. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = add_rules(filter, kind);
	if (rc == 0)
		rc = seccomp_load(filter);
	if (rc < 0) {
		snprintf(why, SANDBOX_ERROR_LEN, "seccomp: %s", strerror(-rc));
		return rc;
	}
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2) {
		snprintf(why, SANDBOX_ERROR_LEN, "seccomp: the filter is not in force");
		return -EPERM;
	}
	return 0;
}
