/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/keeper.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/keeper_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { END_MS = 5000 }; /* a disk that hangs is not to keep the scan from its end */

struct keeper {
	int socket;
	bool stopped, ended, dead;
	bool has[KEEPER_WRITTEN];
	bool told[KEEPER_WRITTEN]; /* the failure that lasts */
	uint64_t sequence;
	struct keeper_shared *shared;
};

AUTO_CLEANUP(keeper, struct keeper *, keeper_free)
#define auto_keeper __attribute__((cleanup(cleanup_keeper)))

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, KEEPER_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

/* Opens the folder of a path: what is renamed meanwhile stays the same folder. */
static int open_target(const char *path, struct keeper_target *t, char *why)
{
	const char *slash, *name;
	auto_free char *folder = NULL;

	*t = (struct keeper_target){.directory = -1, .path = path};
	if (!path)
		return 0;
	slash = strrchr(path, '/');
	name = slash ? slash + 1 : path;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return fail(why, -EISDIR, "%s: is no file's name", path);
	if (strlen(name) >= sizeof(t->name))
		return fail(why, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
	strcpy(t->name, name);
	folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!folder)
		return fail(why, -ENOMEM, "%s", strerror(ENOMEM));
	t->directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->directory < 0)
		return fail(why, -errno, "%s: its folder: %s", path, strerror(errno));
	return 0;
}

static int open_targets(const struct keeper_conf *conf, struct keeper_child *c, char *why)
{
	const char *const paths[KEEPER_FILES] = {[KEEPER_STATE] = conf->state,
	                                         [KEEPER_METRICS] = conf->metrics,
	                                         [KEEPER_STOP] = conf->stop};
	int err = 0;

	for (unsigned i = 0; i < KEEPER_FILES; i++)
		c->targets[i].directory = -1;
	for (unsigned i = 0; !err && i < KEEPER_FILES; i++)
		err = open_target(paths[i], &c->targets[i], why);
	return err;
}

static void close_targets(struct keeper_child *c)
{
	for (unsigned i = 0; i < KEEPER_FILES; i++)
		cleanup_close(&c->targets[i].directory);
}

/* Its first words. */
static int hear_hello(struct keeper *k, char *why)
{
	struct keeper_hello hello;
	ssize_t got;

	do
		got = recv(k->socket, &hello, sizeof(hello), 0);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(hello))
		return fail(why, -EPIPE, "the process that keeps files ended at its start");
	if (hello.error)
		return fail(why, hello.error, "%.*s", KEEPER_ERROR_LEN - 1, hello.why);
	return 0;
}

static int start_child(struct keeper *k, struct keeper_child *c, char *why)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(why, -errno, "socketpair: %s", strerror(errno));
	k->socket = pair[0];
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		c->socket = pair[1];
		c->shared = k->shared;
		keeper_child_run(c);
	}
	close(pair[1]);
	if (pid < 0)
		return fail(why, -errno, "fork: %s", strerror(errno));
	return hear_hello(k, why);
}

static void *share(size_t bytes)
{
	/* Without a file, -1 is what mmap(2) wants. */
	// cppcheck-suppress invalidFunctionArg
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

int keeper_start(const struct keeper_conf *conf, struct keeper **out,
                 char why[static KEEPER_ERROR_LEN])
{
	auto_keeper struct keeper *k = calloc(1, sizeof(*k));
	struct keeper_child child = {.socket = -1};
	void *shared = share(sizeof(struct keeper_shared));
	int err;

	if (!k || shared == MAP_FAILED) {
		if (shared != MAP_FAILED)
			munmap(shared, sizeof(struct keeper_shared));
		return fail(why, -ENOMEM, "%s", strerror(ENOMEM));
	}
	k->socket = -1;
	k->shared = shared;
	k->has[KEEPER_STATE] = conf->state != NULL;
	k->has[KEEPER_METRICS] = conf->metrics != NULL;
	err = open_targets(conf, &child, why);
	if (!err)
		err = start_child(k, &child, why);
	close_targets(&child);
	if (err)
		return err;
	*out = steal_ptr(&k);
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	cleanup_close(&k->socket);
	munmap(k->shared, sizeof(*k->shared));
	free(k);
}

int keeper_descriptor(const struct keeper *k)
{
	return k->socket;
}

/* Takes one of its bytes, if there is one. */
static bool hear(struct keeper *k, int flags)
{
	char byte = 0;
	ssize_t got = recv(k->socket, &byte, 1, flags);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	k->dead = k->dead || got <= 0;
	k->stopped = k->stopped || byte == KEEPER_STOPPED;
	k->ended = k->ended || byte == KEEPER_ENDED;
	return got > 0;
}

bool keeper_was_stopped(struct keeper *k)
{
	while (hear(k, MSG_DONTWAIT))
		;
	return k->stopped;
}

/* Returns 0, -EAGAIN when the pair is full of what it has not read yet, or -EPIPE. */
static int say(const struct keeper *k, char byte)
{
	ssize_t sent;

	do
		sent = send(k->socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return 0;
	return errno == EAGAIN ? -EAGAIN : -EPIPE;
}

static struct keeper_slot *claim(struct keeper *k, enum keeper_file file)
{
	for (unsigned i = 0; i < KEEPER_SLOTS; i++) {
		struct keeper_slot *slot = &k->shared->slots[file][i];
		uint32_t empty = KEEPER_EMPTY;

		if (atomic_compare_exchange_strong(&slot->state, &empty, KEEPER_FILLING))
			return slot;
	}
	return NULL;
}

/* What waited until now is old. One at most: hence there is always an empty slot. */
static void take_back_others(struct keeper *k, enum keeper_file file,
                             const struct keeper_slot *newest)
{
	for (unsigned i = 0; i < KEEPER_SLOTS; i++) {
		struct keeper_slot *slot = &k->shared->slots[file][i];
		uint32_t full = KEEPER_FULL;

		if (slot != newest)
			atomic_compare_exchange_strong(&slot->state, &full, KEEPER_EMPTY);
	}
}

/* Each failure once, until it is over. */
static int tell_failure(struct keeper *k, enum keeper_file file)
{
	int err = atomic_load(&k->shared->failed[file]);
	bool is_new = err && !k->told[file];

	k->told[file] = err != 0;
	return is_new ? err : 0;
}

static int put(struct keeper *k, enum keeper_file file, const char *bytes, size_t n)
{
	struct keeper_slot *slot;
	int failure, err;

	if (!k->has[file])
		return -ENOENT;
	if (n > KEEPER_MAX_BYTES)
		return -EMSGSIZE;
	slot = claim(k, file);
	if (!slot)
		return -EPIPE;
	failure = tell_failure(k, file);
	memcpy(slot->bytes, bytes, n);
	atomic_store(&slot->length, (uint32_t)n);
	atomic_store(&slot->sequence, ++k->sequence);
	atomic_store(&slot->state, KEEPER_FULL);
	take_back_others(k, file, slot);
	err = say(k, KEEPER_WAKE);
	if (err == -EAGAIN)
		err = 0; /* there are enough already to wake it */
	return err ? err : failure;
}

int keeper_put_state(struct keeper *k, const char *bytes, size_t n)
{
	return put(k, KEEPER_STATE, bytes, n);
}

int keeper_put_metrics(struct keeper *k, const char *bytes, size_t n)
{
	return put(k, KEEPER_METRICS, bytes, n);
}

/* Returns 0 or -ETIMEDOUT. */
static int wait_for(struct keeper *k, short events, int64_t until_ms)
{
	struct pollfd ready = {.fd = k->socket, .events = events};
	int64_t left_ms = until_ms - clock_monotonic_ms();

	if (left_ms <= 0)
		return -ETIMEDOUT;
	if (poll(&ready, 1, (int)left_ms) > 0 && (ready.revents & (POLLIN | POLLHUP)))
		hear(k, MSG_DONTWAIT);
	return 0;
}

int keeper_end(struct keeper *k)
{
	int64_t until_ms = clock_monotonic_ms() + END_MS;
	int err;

	k->ended = false;
	while ((err = say(k, KEEPER_END)) == -EAGAIN) {
		err = wait_for(k, POLLIN | POLLOUT, until_ms);
		if (err)
			return err;
	}
	while (!err && !k->ended && !k->dead)
		err = wait_for(k, POLLIN, until_ms);
	if (err == -ETIMEDOUT)
		return err;
	if (err || !k->ended)
		return -EPIPE;
	for (unsigned file = 0; !err && file < KEEPER_WRITTEN; file++)
		err = atomic_load(&k->shared->failed[file]);
	return err;
}
