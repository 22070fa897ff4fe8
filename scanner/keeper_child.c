/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/keeper_child.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { LOOK_EVERY_MS = 500 };

static const mode_t modes[KEEPER_WRITTEN] = {[KEEPER_STATE] = 0600, [KEEPER_METRICS] = 0644};

/* Beside the file, and of no name that a collector of metrics would read. */
static void name_temporary(const struct keeper_target *t, char name[static KEEPER_NAME_LEN + 32])
{
	/* the file's own name may be as long as a name can be */
	snprintf(name, KEEPER_NAME_LEN + 32, ".%.*s.%d.tmp", 200, t->name, (int)getpid());
}

static int write_temporary(const struct keeper_target *t, const char *name, mode_t mode,
                           const struct keeper_slot *slot)
{
	size_t length = atomic_load(&slot->length);
	auto_close int fd =
	    openat(t->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int err;

	if (fd < 0)
		return -errno;
	if (length > KEEPER_MAX_BYTES)
		return -EMSGSIZE; /* whoever has taken the scan over can say anything */
	err = writer_write_all(fd, slot->bytes, length);
	if (!err && fsync(fd) < 0)
		err = -errno;
	/* where writes are late, this is where they fail */
	if (close(steal_fd(&fd)) < 0 && !err)
		err = -errno;
	return err;
}

static int replace(const struct keeper_target *t, mode_t mode, const struct keeper_slot *slot)
{
	char name[KEEPER_NAME_LEN + 32];
	int err;

	name_temporary(t, name);
	err = write_temporary(t, name, mode, slot);
	if (!err && renameat(t->directory, name, t->directory, t->name) < 0)
		err = -errno;
	if (err) {
		if (err != -EEXIST) /* then it is another's */
			unlinkat(t->directory, name, 0);
		return err;
	}
	/* Some file systems cannot sync a folder; the name is there at any rate. */
	fsync(t->directory);
	return 0;
}

/* The newest, or NULL: nothing waits. */
static struct keeper_slot *take(struct keeper_child *c, enum keeper_file file)
{
	struct keeper_slot *slots = c->shared->slots[file], *newest = NULL;
	uint32_t full = KEEPER_FULL;

	for (unsigned i = 0; i < KEEPER_SLOTS; i++) {
		if (atomic_load(&slots[i].state) == KEEPER_FULL &&
		    (!newest || atomic_load(&slots[i].sequence) > atomic_load(&newest->sequence)))
			newest = &slots[i];
	}
	if (!newest || !atomic_compare_exchange_strong(&newest->state, &full, KEEPER_TAKEN))
		return NULL; /* the scan has a newer one now, and says so */
	return newest;
}

/* Writes what is new, if anything is. */
static bool write_one(struct keeper_child *c, enum keeper_file file)
{
	struct keeper_slot *slot = take(c, file);
	uint64_t sequence;

	if (!slot)
		return false;
	sequence = atomic_load(&slot->sequence);
	/* an older one waits still if the scan died before it had taken it back */
	if (sequence > c->written[file] && c->targets[file].directory >= 0) {
		c->written[file] = sequence;
		atomic_store(&c->shared->failed[file],
		             replace(&c->targets[file], modes[file], slot));
	}
	atomic_store(&slot->state, KEEPER_EMPTY);
	return true;
}

static void write_all_new(struct keeper_child *c)
{
	bool more = true;

	while (more) {
		more = false;
		for (unsigned file = 0; file < KEEPER_WRITTEN; file++)
			more |= write_one(c, file);
	}
}

/* 1: it is there; 0: it is not; or -errno. */
static int look_for_stop(const struct keeper_child *c)
{
	const struct keeper_target *t = &c->targets[KEEPER_STOP];
	struct stat st;

	if (fstatat(t->directory, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

static int say(const struct keeper_child *c, char byte)
{
	return send(c->socket, &byte, 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Until the scan closes its end, or dies: what came until then is written either way. */
static void serve(struct keeper_child *c)
{
	bool looks = c->targets[KEEPER_STOP].directory >= 0;
	int64_t look_at = 0; /* at once */

	for (;;) {
		int64_t now = clock_monotonic_ms();
		struct pollfd ready = {.fd = c->socket, .events = POLLIN};
		char byte = 0;
		ssize_t got;

		/* The file may come and go: once seen is enough. */
		if (looks && now >= look_at) {
			look_at = now + LOOK_EVERY_MS;
			if (look_for_stop(c) == 1) {
				looks = false;
				say(c, KEEPER_STOPPED);
			}
		}
		if (poll(&ready, 1, looks ? (int)(look_at - now) : -1) <= 0)
			continue;
		got = recv(c->socket, &byte, 1, 0);
		if (got < 0 && errno == EINTR)
			continue;
		write_all_new(c);
		if (got <= 0 || (byte == KEEPER_END && say(c, KEEPER_ENDED) < 0))
			return;
	}
}

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, KEEPER_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

/* With the rights that it will have: the surest test is to do it. */
static int try_folder(const struct keeper_target *t, mode_t mode, char *why)
{
	char name[KEEPER_NAME_LEN + 32];
	auto_close int fd = -1;
	struct stat st;

	name_temporary(t, name);
	fd = openat(t->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return fail(why, -errno, "%s: cannot write in its folder: %s", t->path,
		            strerror(errno));
	unlinkat(t->directory, name, 0);
	if (fstatat(t->directory, t->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return fail(why, -EISDIR, "%s: is a folder", t->path);
	/* Root could put a file in the place of /dev/null. */
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return fail(why, -EINVAL, "%s: is no regular file", t->path);
	return 0;
}

static int try_folders(const struct keeper_child *c, char *why)
{
	int err = 0;

	for (unsigned file = 0; !err && file < KEEPER_WRITTEN; file++)
		if (c->targets[file].directory >= 0)
			err = try_folder(&c->targets[file], modes[file], why);
	if (!err && c->targets[KEEPER_STOP].directory >= 0) {
		err = look_for_stop(c);
		if (err < 0)
			return fail(why, err, "%s: cannot look for it: %s",
			            c->targets[KEEPER_STOP].path, strerror(-err));
		err = 0;
	}
	return err;
}

static int prepare(struct keeper_child *c, char *why)
{
	int kept[1 + KEEPER_FILES] = {c->socket}, *of[1 + KEEPER_FILES] = {&c->socket};
	size_t count = 1, written = 0;
	int err;

	/* those that are written to come first */
	for (unsigned file = 0; file < KEEPER_FILES; file++) {
		if (c->targets[file].directory < 0)
			continue;
		kept[count] = c->targets[file].directory;
		of[count++] = &c->targets[file].directory;
		written += file < KEEPER_WRITTEN;
	}
	err = writer_stand_apart(kept, count);
	if (err)
		return fail(why, err, "cannot stand apart: %s", strerror(-err));
	for (size_t i = 0; i < count; i++)
		*of[i] = kept[i];
	umask(0); /* the modes are what they are meant to be */
	/* where it only looks for a file need not be its own, unless there is nothing else */
	err = writer_drop_privileges(kept + 1, written ? written : count - 1, SANDBOX_FILTER_KEEPER,
	                             why);
	return err ? err : try_folders(c, why);
}

_Noreturn void keeper_child_run(struct keeper_child *c)
{
	struct keeper_hello hello = {0};

	_Static_assert((int)KEEPER_ERROR_LEN >= (int)SANDBOX_ERROR_LEN, "it fits");
	hello.error = prepare(c, hello.why);
	if (send(c->socket, &hello, sizeof(hello), MSG_NOSIGNAL) < 0 || hello.error)
		_exit(1);
	serve(c);
	_exit(0);
}
