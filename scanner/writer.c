/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/writer.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FIRST_FREE = 3, NOGROUP = 65534 };

/* To the numbers from FIRST_FREE on; first out of the way of each other. */
static int keep_only(int *descriptors, size_t count)
{
	const int end = FIRST_FREE + (int)count;

	for (size_t i = 0; i < count; i++) {
		descriptors[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, end);
		if (descriptors[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < count; i++) {
		if (dup3(descriptors[i], FIRST_FREE + (int)i, O_CLOEXEC) < 0)
			return -errno;
		descriptors[i] = FIRST_FREE + (int)i;
	}
	return close_range((unsigned)end, ~0U, 0) < 0 ? -errno : 0;
}

int writer_stand_apart(int *descriptors, size_t count)
{
	/* what ends the scan is not to end a file in its middle; the closed socket ends us */
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* who reads the scan's output is not to wait for us */
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	return keep_only(descriptors, count);
}

/* 0: there is no such one. */
static int find_owner(const int *directories, size_t count, struct stat *owner)
{
	struct stat st;

	*owner = (struct stat){0};
	for (size_t i = 0; i < count; i++) {
		if (fstat(directories[i], &st) < 0)
			return -errno;
		if (i > 0 && st.st_uid != owner->st_uid)
			st.st_uid = 0;
		*owner = st;
		if (st.st_uid == 0)
			return 0;
	}
	return 0;
}

int writer_drop_privileges(const int *directories, size_t count, enum sandbox_filter filter,
                           char why[static SANDBOX_ERROR_LEN])
{
	struct sandbox_spec spec = {.filter = filter};
	struct stat owner;
	int err = find_owner(directories, count, &owner);

	if (err < 0) {
		snprintf(why, SANDBOX_ERROR_LEN, "fstat: %s", strerror(-err));
		return err;
	}
	if (geteuid() != 0) {
		spec.keep_uid = true;
	} else if (owner.st_uid != 0) {
		spec.uid = owner.st_uid;
		spec.gid = owner.st_gid ? owner.st_gid : NOGROUP;
	}
	err = sandbox_drop(&spec, why);
	return err < 0 ? err : sandbox_filter(spec.filter, why);
}

int writer_write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}
