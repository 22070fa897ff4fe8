/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_source.h"

#include "common/cleanup.h"
#include "scanner/idn.h"
#include "scanner/sweep/space.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 16384, READS_AT_ONCE = 64 };

/* One argument: a target, or the lines of a file. */
struct item {
	const char *argument; /* without the '@'; "standard input" for "-" */
	int fd;               /* -1: the argument is itself the target */
	off_t start;          /* where a regular file was when we got it */
	bool done;
};

struct scan_source {
	const struct port_list *ports;
	struct if_nameindex *interfaces; /* NULL: their names cannot be told */
	struct item *items;
	size_t count, at;
	uint64_t endpoints; /* of what was checked */
	bool has_pipe;
	enum input_format format;
	/* Of the file being read. */
	struct input *input;
	bool was_truncated; /* that is why it was SCAN_SOURCE_UNREADABLE */
	bool was_broken;    /* or that */
	char chunk[CHUNK_BYTES];
};

static int fail(const char *name, int error, char *why)
{
	snprintf(why, SCAN_SOURCE_ERROR_LEN, "%.200s: %s", name, strerror(error));
	return -error;
}

static int open_item(struct item *item, const char *argument, char *why)
{
	struct stat st;
	int flags;

	item->argument = argument;
	item->fd = -1;
	if (strcmp(argument, "-") == 0) {
		item->argument = "standard input";
		item->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	} else if (argument[0] == '@') {
		item->argument = argument + 1;
		/* Not to hang on a FIFO that nobody writes to. */
		item->fd = open(argument + 1, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	} else {
		return 0;
	}
	if (item->fd < 0)
		return fail(item->argument, errno, why);
	if (fstat(item->fd, &st) == 0 && S_ISDIR(st.st_mode))
		return fail(item->argument, EISDIR, why);
	/* Of standard input others may have read a part. */
	item->start = lseek(item->fd, 0, SEEK_CUR);
	/* O_NONBLOCK on standard input would be everybody's who shares it: reads follow poll(2). */
	flags = fcntl(item->fd, F_GETFL);
	if (argument[0] == '@' && flags >= 0)
		fcntl(item->fd, F_SETFL, flags & ~O_NONBLOCK);
	return 0;
}

static void end_file(struct scan_source *s)
{
	input_free(s->input);
	s->input = NULL;
	s->was_truncated = s->was_broken = false;
}

static void rewind_source(struct scan_source *s)
{
	s->at = 0;
	end_file(s);
	for (size_t i = 0; i < s->count; i++)
		s->items[i].done = false;
}

/* Mistakes show before the first packet; pipes cannot be read twice and are left for later. */
static int check_all(struct scan_source *s, char *why)
{
	struct target target;
	enum scan_source_result result;

	for (size_t i = 0; i < s->count; i++) {
		struct stat st;
		bool regular =
		    s->items[i].fd >= 0 && fstat(s->items[i].fd, &st) == 0 && S_ISREG(st.st_mode);

		s->items[i].done = s->items[i].fd >= 0 && !regular;
		s->has_pipe = s->has_pipe || s->items[i].done;
	}
	do {
		result = scan_source_next(s, &target, why);
		if (result == SCAN_SOURCE_TARGET &&
		    __builtin_add_overflow(s->endpoints, target_count(&target, s->ports),
		                           &s->endpoints))
			s->endpoints = UINT64_MAX;
		/* What an interrupted scanner has left is used; that it is not all is said then. */
	} while (result == SCAN_SOURCE_TARGET || result == SCAN_SOURCE_LATER ||
	         (result == SCAN_SOURCE_UNREADABLE && s->was_truncated));
	if (result != SCAN_SOURCE_END)
		return result == SCAN_SOURCE_BAD || s->was_broken ? -EINVAL : -EIO;
	for (size_t i = 0; i < s->count; i++) {
		/* Pipes are not seekable, and have not been read. */
		if (s->items[i].fd >= 0)
			lseek(s->items[i].fd, s->items[i].start, SEEK_SET);
	}
	rewind_source(s);
	return 0;
}

int scan_source_open(char **arguments, size_t count, const struct port_list *ports,
                     struct scan_source **out, char why[static SCAN_SOURCE_ERROR_LEN])
{
	return scan_source_open_as(arguments, count, INPUT_AUTO, ports, out, why);
}

int scan_source_open_as(char **arguments, size_t count, enum input_format format,
                        const struct port_list *ports, struct scan_source **out,
                        char why[static SCAN_SOURCE_ERROR_LEN])
{
	struct scan_source *s = calloc(1, sizeof(*s));
	int err = 0;

	snprintf(why, SCAN_SOURCE_ERROR_LEN, "out of memory");
	if (!s)
		return -ENOMEM;
	s->ports = ports;
	s->format = format;
	s->interfaces = if_nameindex();
	s->items = calloc(count, sizeof(*s->items));
	if (!s->items)
		err = -ENOMEM;
	while (!err && s->count < count) {
		err = open_item(&s->items[s->count], arguments[s->count], why);
		s->count++;
	}
	if (!err)
		err = check_all(s, why);
	if (err < 0) {
		scan_source_close(s);
		return err;
	}
	*out = s;
	return 0;
}

bool scan_source_count(const struct scan_source *s, uint64_t *out)
{
	*out = s->endpoints;
	return !s->has_pipe;
}

void scan_source_close(struct scan_source *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		if (s->items[i].fd >= 0)
			close(s->items[i].fd);
	}
	if (s->interfaces)
		if_freenameindex(s->interfaces);
	input_free(s->input);
	free(s->items);
	free(s);
}

int scan_source_descriptor(const struct scan_source *s)
{
	return s->at < s->count ? s->items[s->at].fd : -1;
}

/* From the list made at the start: later, in the sandbox, the kernel is not asked any more. */
static int find_scope(const struct scan_source *s, struct target *target,
                      char reason[static TARGET_ERROR_LEN])
{
	const struct if_nameindex *i = s->interfaces;

	while (i && i->if_index && strcmp(i->if_name, target->zone) != 0)
		i++;
	if (!i || !i->if_index) {
		snprintf(reason, TARGET_ERROR_LEN, "there is no interface '%s'", target->zone);
		return -EINVAL;
	}
	target->scope_id = i->if_index;
	return 0;
}

static int parse(const struct scan_source *s, const char *text, struct target *out,
                 char reason[static TARGET_ERROR_LEN])
{
	char ascii[IDN_TEXT_LEN];
	int err = idn_to_ascii(text, ascii, reason);

	if (!err)
		err = target_parse_labelled(ascii, out, reason);

	if (!err && out->zone[0])
		err = find_scope(s, out, reason);
	if (err < 0)
		return err;
	if (target_count(out, s->ports) > SWEEP_SPACE_MAX) {
		snprintf(reason, TARGET_ERROR_LEN,
		         "more endpoints than can be counted (2^62); expected a longer prefix");
		return -EINVAL;
	}
	return 0;
}

/* "FILE:LINE:COLUMN: what"; a line as a whole has no column. */
static void say_where(const struct scan_source *s, const struct input_item *item,
                      const char *reason, char *why)
{
	const char *file = s->items[s->at].argument;

	if (item->column > 0)
		snprintf(why, SCAN_SOURCE_ERROR_LEN, "%.200s:%lu:%lu: %s", file, item->line,
		         item->column, reason);
	else
		snprintf(why, SCAN_SOURCE_ERROR_LEN, "%.200s:%lu: %s", file, item->line, reason);
}

static enum scan_source_result take_target(struct scan_source *s, const struct input_item *item,
                                           struct target *out, char *why)
{
	char reason[TARGET_ERROR_LEN];

	if (parse(s, item->text, out, reason) == 0)
		return SCAN_SOURCE_TARGET;
	say_where(s, item, reason, why);
	return SCAN_SOURCE_BAD;
}

/* SCAN_SOURCE_TARGET here means: the input has something new, be it the end. */
static enum scan_source_result feed(struct scan_source *s, char *why)
{
	struct item *item = &s->items[s->at];
	struct pollfd ready = {.fd = item->fd, .events = POLLIN};
	ssize_t n;

	if (poll(&ready, 1, 0) == 0)
		return SCAN_SOURCE_WAIT;
	n = read(item->fd, s->chunk, sizeof(s->chunk));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return SCAN_SOURCE_WAIT;
	if (n < 0) {
		fail(item->argument, errno, why);
		item->done = true;
		return SCAN_SOURCE_UNREADABLE;
	}
	input_feed(s->input, s->chunk, (size_t)n);
	return SCAN_SOURCE_TARGET;
}

static enum scan_source_result next_of_file(struct scan_source *s, struct target *out, char *why)
{
	char reason[INPUT_ERROR_LEN];
	struct input_item found;

	if (!s->input)
		s->input = input_new(s->format);
	if (!s->input) {
		fail(s->items[s->at].argument, ENOMEM, why);
		s->items[s->at].done = true;
		return SCAN_SOURCE_UNREADABLE;
	}
	for (unsigned reads = 0; reads < READS_AT_ONCE;) {
		enum input_result result = input_next(s->input, &found, reason);
		enum scan_source_result fed;

		switch (result) {
		case INPUT_TARGET: return take_target(s, &found, out, why);
		case INPUT_BAD: say_where(s, &found, reason, why); return SCAN_SOURCE_BAD;
		case INPUT_BROKEN:
		case INPUT_TRUNCATED:
			say_where(s, &found, reason, why);
			s->was_broken = result == INPUT_BROKEN;
			s->was_truncated = result == INPUT_TRUNCATED;
			s->items[s->at].done = true;
			return SCAN_SOURCE_UNREADABLE;
		case INPUT_END: return SCAN_SOURCE_END;
		case INPUT_MORE:
			fed = feed(s, why);
			if (fed != SCAN_SOURCE_TARGET)
				return fed;
			reads++;
			break;
		}
	}
	return SCAN_SOURCE_LATER;
}

static enum scan_source_result next_of_item(struct scan_source *s, struct target *out, char *why)
{
	struct item *item = &s->items[s->at];
	char reason[TARGET_ERROR_LEN];

	if (item->done)
		return SCAN_SOURCE_END;
	if (item->fd >= 0)
		return next_of_file(s, out, why);
	item->done = true;
	if (parse(s, item->argument, out, reason) == 0)
		return SCAN_SOURCE_TARGET;
	snprintf(why, SCAN_SOURCE_ERROR_LEN, "%.200s: %s", item->argument, reason);
	return SCAN_SOURCE_BAD;
}

enum scan_source_result scan_source_next(struct scan_source *s, struct target *out,
                                         char why[static SCAN_SOURCE_ERROR_LEN])
{
	while (s->at < s->count) {
		enum scan_source_result result = next_of_item(s, out, why);

		if (result != SCAN_SOURCE_END)
			return result;
		s->at++;
		end_file(s);
	}
	return SCAN_SOURCE_END;
}
