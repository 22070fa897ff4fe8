/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/allow_file.h"

#include "common/cleanup.h"
#include "scanner/sweep/exclude.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

AUTO_CLEANUP(exclude_set, struct exclude_set *, exclude_set_free)
#define auto_exclude_set __attribute__((cleanup(cleanup_exclude_set)))

static int fail(const char *path, int err, char why[static ALLOW_FILE_ERROR_LEN])
{
	if (err == -EACCES || err == -EPERM)
		snprintf(why, ALLOW_FILE_ERROR_LEN,
		         "%.300s: %s; the agent, uid %u, must be able to read it", path,
		         strerror(-err), (unsigned)geteuid());
	else
		snprintf(why, ALLOW_FILE_ERROR_LEN, "%.300s: %s", path, strerror(-err));
	return err;
}

static struct allow_file_id id_from(const struct stat *st)
{
	return (struct allow_file_id){
	    .device = st->st_dev,
	    .inode = st->st_ino,
	    .size = st->st_size,
	    .modified = st->st_mtim,
	    .changed = st->st_ctim,
	};
}

/* Neither a FIFO, which would hold us up, nor a device, which would never end. */
static FILE *open_list(const char *path, struct allow_file_id *id,
                       char why[static ALLOW_FILE_ERROR_LEN])
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *in;

	if (fd < 0 || fstat(fd, &st) < 0) {
		fail(path, -errno, why);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > ALLOW_FILE_MAX_BYTES) {
		snprintf(why, ALLOW_FILE_ERROR_LEN,
		         "%.300s: %s; expected a file of at most %d bytes", path,
		         S_ISREG(st.st_mode) ? "too large" : "no regular file",
		         ALLOW_FILE_MAX_BYTES);
		errno = EINVAL;
		return NULL;
	}
	*id = id_from(&st);
	in = fdopen(fd, "r");
	if (in)
		steal_fd(&fd);
	else
		fail(path, -errno, why);
	return in;
}

static int copy_out(const struct exclude_set *set, const char *path, struct prefix **out,
                    size_t *count, char why[static ALLOW_FILE_ERROR_LEN])
{
	size_t n = exclude_set_count(set);
	struct prefix *list;

	/* Cut short by a full disk, or by a writer that failed: nobody means to list nobody. */
	if (n == 0 || n > ALLOW_FILE_MAX) {
		snprintf(why, ALLOW_FILE_ERROR_LEN,
		         "%.300s: %zu prefixes; expected 1 to %d of them", path, n, ALLOW_FILE_MAX);
		return n ? -E2BIG : -ENODATA;
	}
	list = calloc(n, sizeof(*list));
	if (!list)
		return fail(path, -ENOMEM, why);
	for (size_t i = 0; i < n; i++)
		list[i] = *exclude_set_at(set, i);
	*out = list;
	*count = n;
	return 0;
}

int allow_file_read(const char *path, struct prefix **out, size_t *count, struct allow_file_id *id,
                    char why[static ALLOW_FILE_ERROR_LEN])
{
	auto_exclude_set struct exclude_set *set = exclude_set_new();
	char reason[EXCLUDE_ERROR_LEN] = "";
	auto_fclose FILE *in = NULL;
	int err;

	if (!set)
		return fail(path, -ENOMEM, why);
	in = open_list(path, id, why);
	if (!in)
		return errno ? -errno : -EINVAL;
	err = exclude_set_read_stream(set, in, path, reason);
	if (err < 0) {
		snprintf(why, ALLOW_FILE_ERROR_LEN, "%s", reason);
		return err;
	}
	err = exclude_set_seal(set);
	return err < 0 ? fail(path, err, why) : copy_out(set, path, out, count, why);
}

int allow_file_identify(const char *path, struct allow_file_id *id)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	*id = id_from(&st);
	return 0;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool allow_file_is_same(const struct allow_file_id *a, const struct allow_file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       is_same_time(&a->modified, &b->modified) && is_same_time(&a->changed, &b->changed);
}

struct allow_watch {
	int fd;
	struct event *event;
	allow_watch_cb *cb;
	void *arg;
};

static void dispatch(struct allow_watch *w, const char *bytes, size_t length)
{
	const struct inotify_event *e;

	for (size_t at = 0; at + sizeof(*e) <= length; at += sizeof(*e) + e->len) {
		e = (const void *)(bytes + at);
		if (e->mask & IN_Q_OVERFLOW)
			w->cb(-1, NULL, false, w->arg);
		else
			w->cb(e->wd, e->len > 0 ? e->name : NULL, e->mask & IN_MODIFY, w->arg);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	/* Room for some events with names of any length; the rest is read the next time. */
	_Alignas(
	    struct inotify_event) char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t length = read(fd, bytes, sizeof(bytes));

	(void)what;
	if (length > 0)
		dispatch(arg, bytes, (size_t)length);
}

int allow_watch_new(struct event_base *base, allow_watch_cb *cb, void *arg,
                    struct allow_watch **out)
{
	struct allow_watch *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->cb = cb;
	w->arg = arg;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	err = w->fd < 0 ? -errno : 0;
	if (!err)
		w->event = event_new(base, w->fd, EV_READ | EV_PERSIST, on_readable, w);
	if (!err && (!w->event || event_add(w->event, NULL) < 0))
		err = -ENOMEM;
	if (err) {
		allow_watch_free(w);
		return err;
	}
	*out = w;
	return 0;
}

void allow_watch_free(struct allow_watch *w)
{
	if (!w)
		return;
	if (w->event)
		event_free(w->event);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

int allow_watch_add(struct allow_watch *w, const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int wd;

	if (!slash || (size_t)(slash - path) >= sizeof(directory))
		return -ENAMETOOLONG;
	snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int)(slash - path),
	         path);
	wd =
	    inotify_add_watch(w->fd, directory,
	                      IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
	                          IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
	return wd < 0 ? -errno : wd;
}

void allow_watch_remove(struct allow_watch *w, int directory)
{
	inotify_rm_watch(w->fd, directory);
}
