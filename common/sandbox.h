/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping privileges, the whole of it on one screen (sandbox.c). Every step fails closed and is
 * read back from the kernel. Called once, early in main(), before any thread exists.
 *
 * What a child gets at its start depends on when the parent starts it:
 *
 * - First start: the parent still has everything, so a child's permitted and bounding sets are
 *   full, and sandbox_drop() takes away all but the listed capabilities. This is the only way to
 *   CAP_NET_ADMIN (firewall).
 * - Restart (prober, sender): the parent itself has dropped to SETUID, SETGID and KILL, with the
 *   same bounding set and no_new_privs. A program that uid 0 executes gets its bounding set as
 *   permitted set, and under no_new_privs never more than it had (capabilities(7), prctl(2)): so
 *   the child has these three, can become its own uid, and gives them up there. Without
 *   CAP_SETPCAP it cannot shrink its bounding set, which stays at the parent's three: nothing can
 *   be made of it, as with no_new_privs and empty inheritable and ambient sets no execve() gives
 *   a capability to a uid that is not 0. Hence the bounding set is verified only where
 *   CAP_SETPCAP was held; permitted, effective, inheritable and ambient are always exact.
 *
 * tests/unit/test_sandbox.c plays both.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SANDBOX_ERROR_LEN = 256 };

/*
 * 1 in a build whose sanitizer starts threads and ptraces itself to look for leaks: there the
 * process stays dumpable and unfiltered. The rest is dropped as ever.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* Which system calls stay; see sandbox_filter.c for the lists and their reasons. */
enum sandbox_filter {
	SANDBOX_FILTER_NONE = 0, /* agent, parent: no filter, but no privileges either */
	SANDBOX_FILTER_NETWORK,  /* prober, the CLI while it scans: TCP and UDP sockets, no files */
	SANDBOX_FILTER_SENDER,   /* as above, reading files (CA bundle, resolv.conf), and datagrams
	                            to other processes of the host */
	SANDBOX_FILTER_FILES,    /* evidence: makes new files, and nothing else; no sockets */
	SANDBOX_FILTER_KEEPER,   /* replaces files in folders that are open; no sockets */
	SANDBOX_FILTER_NETLINK,  /* AF_NETLINK and the sockets it was given */
	SANDBOX_FILTER_WALL,     /* firewall: as above, and makes sockets that listen, for others */
	SANDBOX_FILTER_INVENTORY, /* reads files, enters network namespaces, asks netlink */
	SANDBOX_FILTER_FILTER,    /* new TCP sockets, and clients on those that listen; no files */
	SANDBOX_FILTER_DISCOVER,  /* the sockets it was given (packet, netlink), and new TCP ones */
};

struct sandbox_spec {
	uid_t uid;               /* what to become; 0 only for the parent */
	gid_t gid;               /* 0 only together with uid 0 */
	bool keep_uid;           /* run by an ordinary user: leave uid and gid as they are */
	const int *capabilities; /* CAP_* that stay in the permitted and effective sets */
	unsigned n_capabilities;
	enum sandbox_filter filter;
};

/*
 * Sets no_new_privs, groups, gid, uid and capabilities, drops the bounding set (to nothing; for
 * uid 0 to the listed capabilities, which is what its children start from), makes the process
 * undumpable, and then reads all of it back. On failure writes one line to `why` and returns
 * -errno; the process must then exit. An undumpable process cannot open its own /proc/self/fd.
 * The seccomp filter is a step of its own, to be taken last, when libraries have been initialised.
 */
int sandbox_drop(const struct sandbox_spec *spec, char why[static SANDBOX_ERROR_LEN]);
/*
 * Loads the filter, after sandbox_drop() (it needs no_new_privs), into every thread that there is
 * by now: none can be made afterwards. Does nothing where SANDBOX_SANITIZED.
 */
int sandbox_filter(enum sandbox_filter filter, char why[static SANDBOX_ERROR_LEN]);

/*
 * For a process that can do with less: copies those of `wanted` that are in the permitted set (an
 * old kernel, a container may not have all) to `held`, with room for n. Returns how many.
 */
unsigned sandbox_choose_held(const int *wanted, unsigned n, int *held);

/* A uid or gid, from 1, in plain decimal. Returns 0 or -EINVAL. */
int sandbox_parse_id(const char *text, uint32_t *out);
/*
 * Looks up a user by name, or reads a number (its group then has the same number). Returns 0,
 * -ENOENT for a name that does not exist, -EINVAL for 0 or nonsense.
 */
int sandbox_find_user(const char *user, uid_t *uid, gid_t *gid);
