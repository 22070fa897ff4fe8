/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_output.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/evidence.h"
#include "scanner/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

struct sink {
	const char *name; /* for errors */
	struct output *output;
	int fd; /* ours to close unless it is standard output */
};

struct scan_output {
	const struct scan_options *options;
	struct sink sinks[SCAN_MAX_OUTPUTS + 1];
	size_t n_sinks;
	struct evidence *evidence;   /* or NULL */
	struct exchange_book *book;  /* NULL when nobody wants exchanges */
	bool stuck;                  /* explanations are not read, and a signal came */
	char evidence_dir[PATH_MAX]; /* absolute */
};

__attribute__((format(printf, 3, 4))) static int fail(char *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SCAN_OUTPUT_ERROR_LEN, format, args);
	va_end(args);
	return err;
}

/* From where a report lies to the evidence: a relative link where it lies above, or absolute. */
static void make_links(const struct scan_output *s, const char *report, char links[static PATH_MAX])
{
	char copy[PATH_MAX], folder[PATH_MAX];
	size_t length;

	links[0] = '\0';
	if (!s->evidence)
		return;
	snprintf(links, PATH_MAX, "%.*s/", PATH_MAX - 2, s->evidence_dir);
	snprintf(copy, sizeof(copy), "%s", report ? report : "x");
	if (!realpath(dirname(copy), folder))
		return;
	length = strlen(folder);
	if (strncmp(s->evidence_dir, folder, length) != 0)
		return;
	if (s->evidence_dir[length] == '\0')
		snprintf(links, PATH_MAX, "./");
	else if (s->evidence_dir[length] == '/')
		snprintf(links, PATH_MAX, "./%.*s/", PATH_MAX - 4, s->evidence_dir + length + 1);
}

static int begin_sink(struct scan_output *s, const char *scan_id, const char *report, int fd,
                      enum output_format format, char *why)
{
	struct sink *sink = &s->sinks[s->n_sinks];
	char links[PATH_MAX];
	const struct output_context context = {
	    .scan_id = scan_id, .started_ms = clock_wall_ms(), .evidence_links = links};
	int err;

	make_links(s, report, links);
	*sink = (struct sink){.name = report ? report : "standard output", .fd = fd};
	s->n_sinks++; /* also when it fails: its descriptor is to be closed */
	err = output_new(fd, format, &context, &sink->output);
	return err < 0 ? fail(why, err, "%s: %s", sink->name, strerror(-err)) : 0;
}

/* A run that was killed may have left half a line. */
static int end_last_line(const char *path, int fd)
{
	auto_close int reader = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	off_t size = reader < 0 ? 0 : lseek(reader, 0, SEEK_END);
	char last;

	if (size <= 0 || pread(reader, &last, 1, size - 1) != 1 || last == '\n')
		return 0;
	return write(fd, "\n", 1) == 1 ? 0 : -errno;
}

/*
 * Command lines that are not redacted are for nobody else. What an interrupted run has found is
 * kept where more lines can follow it.
 */
static int open_file(struct scan_output *s, const char *scan_id, const char *path, char *why)
{
	const struct scan_options *o = s->options;
	enum output_format format = o->format_given ? o->format : output_format_of_file(path);
	bool append = o->goes_on && output_format_appends(format);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC),
	              o->show_secrets ? 0600 : 0666);
	int err = fd < 0 ? -errno : append ? end_last_line(path, fd) : 0;

	if (err < 0) {
		if (fd >= 0)
			close(fd);
		return fail(why, err, "%s: %s", path, strerror(-err));
	}
	return begin_sink(s, scan_id, path, fd, format, why);
}

/* First of all: the process that it forks is not to have the files. */
static int open_evidence(struct scan_output *s, const char *scan_id, char *why)
{
	char reason[EVIDENCE_ERROR_LEN];
	const struct scan_options *o = s->options;
	int err = 0;

	if (o->evidence)
		err = evidence_open(o->evidence, scan_id, o->show_secrets, &s->evidence, reason);
	if (err < 0)
		return fail(why, err, "--evidence: %s", reason);
	if (o->evidence && !realpath(o->evidence, s->evidence_dir))
		return fail(why, -errno, "--evidence: %s: %s", o->evidence, strerror(errno));
	if (o->evidence || o->explain) {
		s->book = exchange_book_new();
		if (!s->book)
			return fail(why, -ENOMEM, "out of memory");
	}
	return 0;
}

static int open_all(struct scan_output *s, const char *scan_id, char *why)
{
	const struct scan_options *o = s->options;
	int err = open_evidence(s, scan_id, why);

	for (size_t i = 0; !err && i < o->n_outputs; i++)
		err = open_file(s, scan_id, o->outputs[i], why);
	if (!err && scan_options_prints(o))
		err = begin_sink(s, scan_id, NULL, STDOUT_FILENO, o->format, why);
	return err;
}

int scan_output_open(const struct scan_options *options, const char *scan_id,
                     struct scan_output **out, char why[static SCAN_OUTPUT_ERROR_LEN])
{
	struct scan_output *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return fail(why, -ENOMEM, "out of memory");
	s->options = options;
	err = open_all(s, scan_id, why);
	if (err < 0) {
		scan_output_free(s);
		return err;
	}
	*out = s;
	return 0;
}

bool scan_output_wants_exchanges(const struct scan_output *s)
{
	return s->book != NULL;
}

int scan_output_note(struct scan_output *s, const struct probe_request *request,
                     const struct probe_exchange *exchange)
{
	return exchange_book_add(s->book, request, exchange);
}

void scan_output_forget(struct scan_output *s, const struct probe_request *request)
{
	if (s->book)
		exchange_log_free(exchange_book_take(s->book, request));
}

static int explain(struct scan_output *s, const struct finding *f, const struct exchange_log *log,
                   char *why)
{
	auto_free char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int err;

	if (!to)
		return fail(why, -ENOMEM, "out of memory");
	explain_write(to, f, log, s->options->show_secrets);
	err = fclose(to) == 0 ? 0 : -ENOMEM;
	if (!err)
		err = s->stuck ? -EINTR : output_write_text(STDOUT_FILENO, text, size);
	s->stuck = s->stuck || err == -EINTR;
	return err < 0 ? fail(why, err, "standard output: %s", strerror(-err)) : 0;
}

int scan_output_write(struct scan_output *s, const struct probe_request *request,
                      const struct finding *f, bool show, char why[static SCAN_OUTPUT_ERROR_LEN])
{
	struct exchange_log *log = s->book ? exchange_book_take(s->book, request) : NULL;
	struct evidence_files files = {0};
	int err = 0;

	if (show && s->evidence) {
		err = evidence_keep(s->evidence, f, log, &files);
		if (err < 0)
			fail(why, err, "%s: evidence cannot be kept: %s", s->options->evidence,
			     strerror(-err));
	}
	if (!err && s->options->explain)
		err = explain(s, f, log, why);
	for (size_t i = 0; !err && show && i < s->n_sinks; i++) {
		err = output_write(s->sinks[i].output, f, &files);
		if (err < 0)
			fail(why, err, "cannot write a finding: %s: %s", s->sinks[i].name,
			     strerror(-err));
	}
	exchange_log_free(log);
	return err;
}

int scan_output_finish(struct scan_output *s, bool complete, const struct sweep_trailer *trailer,
                       char why[static SCAN_OUTPUT_ERROR_LEN])
{
	struct evidence *evidence = s->evidence;
	int first;

	s->evidence = NULL;
	first = evidence_close(evidence);
	if (first < 0)
		fail(why, first, "%s: evidence cannot be kept: %s", s->options->evidence,
		     strerror(-first));
	for (size_t i = 0; i < s->n_sinks; i++) {
		int err = trailer ? output_write_trailer(s->sinks[i].output, trailer) : 0;

		if (!err)
			err = output_finish(s->sinks[i].output, complete && !first);

		if (err < 0 && !first)
			first = fail(why, err, "%s: %s", s->sinks[i].name, strerror(-err));
	}
	return first;
}

void scan_output_free(struct scan_output *s)
{
	if (!s)
		return;
	evidence_close(s->evidence);
	exchange_book_free(s->book);
	for (size_t i = 0; i < s->n_sinks; i++) {
		output_free(s->sinks[i].output);
		if (s->sinks[i].fd != STDOUT_FILENO)
			close(s->sinks[i].fd);
	}
	free(s);
}
