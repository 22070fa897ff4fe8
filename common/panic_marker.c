/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/panic_marker.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { MARKER_MAX_BYTES = 4 * PANIC_MARKER_TEXT_LEN };

static const char reason_key[] = "reason: ";

static int open_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

bool panic_marker_exists(const char *directory)
{
	auto_close int dir = open_directory(directory);
	struct stat st;

	return dir >= 0 && fstatat(dir, PPROFWALL_PANIC_MARKER, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void sanitise(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

static int write_text(int fd, const char *who, const char *reason)
{
	char who_text[PANIC_MARKER_TEXT_LEN], reason_text[PANIC_MARKER_TEXT_LEN];
	char when[CLOCK_TEXT_LEN];

	snprintf(who_text, sizeof(who_text), "%s", who ? who : "");
	snprintf(reason_text, sizeof(reason_text), "%s", reason ? reason : "");
	sanitise(who_text);
	sanitise(reason_text);
	clock_format_wall(clock_wall_ms(), when);
	return dprintf(fd, "time: %s\nwho: %s\n%s%s\n", when, who_text, reason_key, reason_text) < 0
	           ? -errno
	           : 0;
}

int panic_marker_set(const char *directory, const char *who, const char *reason)
{
	auto_close int dir = open_directory(directory);
	auto_close int fd = -1;

	if (dir < 0)
		return dir;
	fd = openat(dir, PPROFWALL_PANIC_MARKER,
	            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	/* Its existence is what counts: on a full disk an empty file does as well. */
	(void)write_text(fd, who, reason);
	return 0;
}

static int sync_fd(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

static int open_marker(int dir)
{
	struct stat st;
	auto_close int fd =
	    openat(dir, PPROFWALL_PANIC_MARKER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EINVAL;
}

int panic_marker_sync(const char *directory)
{
	auto_close int dir = open_directory(directory);
	auto_close int fd = -1;
	int error;

	if (dir < 0)
		return dir;
	fd = open_marker(dir);
	if (fd < 0)
		return fd;
	error = sync_fd(fd);
	return error ? error : sync_fd(dir);
}

int panic_marker_clear(const char *directory)
{
	auto_close int dir = open_directory(directory);

	if (dir < 0)
		return dir;
	if (unlinkat(dir, PPROFWALL_PANIC_MARKER, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return sync_fd(dir);
}

int panic_marker_read(const char *directory, char reason[static PANIC_MARKER_TEXT_LEN])
{
	auto_close int dir = open_directory(directory);
	auto_close int fd = -1;
	char text[MARKER_MAX_BYTES + 1];
	const char *found;
	ssize_t length;

	if (dir < 0)
		return dir;
	fd = open_marker(dir);
	if (fd < 0)
		return fd;
	length = read(fd, text, MARKER_MAX_BYTES);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	found = strstr(text, reason_key);
	found = found ? found + strlen(reason_key) : "";
	snprintf(reason, PANIC_MARKER_TEXT_LEN, "%.*s", (int)strcspn(found, "\n"), found);
	return 0;
}
