/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/output.h"

#include "common/cleanup.h"
#include "scanner/output_format.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

static const struct output_format_ops *const formats[OUTPUT_FORMAT_COUNT] = {
    [OUTPUT_TABLE] = &output_table, [OUTPUT_NDJSON] = &output_ndjson, [OUTPUT_CSV] = &output_csv,
    [OUTPUT_SARIF] = &output_sarif, [OUTPUT_HTML] = &output_html,
};

int output_parse_format(const char *name, enum output_format *out)
{
	for (unsigned i = 0; i < OUTPUT_FORMAT_COUNT; i++) {
		if (strcmp(name, formats[i]->name) == 0) {
			*out = (enum output_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool has_ending(const char *path, const char *ending)
{
	size_t length = strlen(path), n = strlen(ending);

	return length > n && strcasecmp(path + length - n, ending) == 0;
}

enum output_format output_format_of_file(const char *path)
{
	for (unsigned i = 0; i < OUTPUT_FORMAT_COUNT; i++) {
		const char *const *endings = formats[i]->endings;

		for (size_t e = 0; e < OUTPUT_ENDINGS_MAX && endings[e]; e++)
			if (has_ending(path, endings[e]))
				return (enum output_format)i;
	}
	return OUTPUT_TABLE;
}

bool output_format_appends(enum output_format format)
{
	return format == OUTPUT_NDJSON || format == OUTPUT_TABLE;
}

const char *output_format_time(int64_t ms, char text[static OUTPUT_TIME_LEN])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    strftime(text, OUTPUT_TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, OUTPUT_TIME_LEN, "1970-01-01T00:00:00Z");
	return text;
}

const char *output_find_program(const struct finding *f)
{
	if (f->program)
		return f->program;
	if (f->module)
		return f->module;
	return f->command.count > 0 ? f->command.items[0] : NULL;
}

void output_put_uri(FILE *to, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "0123456789-._~/:@!$&'()*+,;=";

	for (const char *c = text; *c; c++) {
		if (strchr(plain, *c))
			fputc(*c, to);
		else
			fprintf(to, "%%%02X", (unsigned)(uint8_t)*c);
	}
}

char *output_make_uri(const struct finding *f)
{
	char endpoint[ENDPOINT_TEXT_LEN], *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	fprintf(to, "%s://", f->scheme ? f->scheme : "http");
	/* RFC 6874: the percent sign before a zone is written %25. */
	for (const char *c = endpoint_format(&f->endpoint, endpoint); *c; c++)
		fputs(*c == '%' ? "%25" : (const char[]){*c, '\0'}, to);
	output_put_uri(to, f->path ? f->path : "/");
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}

enum { PATIENCE_MS = 1000 };

/*
 * A reader may take its time, but a signal is to end the scan: its handler only wakes the loop that
 * we hold up. From the first one on the reader has a moment, and none after a second one.
 */
static int wait_for_reader(int fd, int *patience_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	for (;;) {
		int n = poll(&ready, 1, *patience_ms);

		if (n > 0)
			return 0; /* an error is the write's to tell */
		if (n < 0 && errno != EINTR)
			return -errno;
		if (*patience_ms >= 0)
			return -EINTR;
		*patience_ms = PATIENCE_MS;
	}
}

int output_write_text(int fd, const char *text, size_t length)
{
	int patience_ms = -1;

	while (length > 0) {
		int err = wait_for_reader(fd, &patience_ms);
		ssize_t n;

		if (err < 0)
			return err;
		/* so much never blocks in a pipe that is ready */
		n = write(fd, text, length < PIPE_BUF ? length : PIPE_BUF);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/* Writes a piece; in place, together with an end that leaves nothing of the last one. */
static int put(struct output *o, FILE *to, char **text, const size_t *size, bool complete)
{
	size_t piece = *size;
	int err;

	if (o->in_place) {
		err = o->ops->end(o, to, complete);
		if (err < 0)
			return err;
		fflush(to);
		while (!ferror(to) && *size < o->end_size) {
			fputc('\n', to);
			fflush(to);
		}
	}
	if (fflush(to) != 0 || ferror(to))
		return -ENOMEM;
	if (o->in_place) {
		if (lseek(o->fd, o->at, SEEK_SET) < 0)
			return -errno;
		o->at += (int64_t)piece;
		o->end_size = *size - piece;
	}
	if (o->stuck)
		return -EINTR;
	err = output_write_text(o->fd, *text, *size);
	o->stuck = err == -EINTR;
	return err;
}

enum piece { PIECE_BEGIN, PIECE_ROW, PIECE_TRAILER, PIECE_END };

/* `what`: a struct output_row, or a struct sweep_trailer. */
static int make(struct output *o, FILE *to, enum piece piece, const void *what, bool complete)
{
	switch (piece) {
	case PIECE_BEGIN: return o->ops->begin ? o->ops->begin(o, to) : 0;
	case PIECE_ROW: return o->ops->row(o, to, what);
	case PIECE_TRAILER: return o->ops->trailer(o, to, what);
	case PIECE_END: break;
	}
	/* In place, put() writes it. */
	return o->ops->end && !o->in_place ? o->ops->end(o, to, complete) : 0;
}

static int make_and_put(struct output *o, enum piece piece, const void *what, bool complete)
{
	auto_free char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int err;

	if (!to)
		return -ENOMEM;
	err = make(o, to, piece, what, complete);
	if (fflush(to) != 0 || ferror(to))
		err = -ENOMEM;
	if (!err)
		err = put(o, to, &text, &size, complete);
	fclose(to);
	return err;
}

static void find_out_about(struct output *o)
{
	const char *no_colour = getenv("NO_COLOR");
	struct stat st;
	int flags = fcntl(o->fd, F_GETFL);

	o->terminal = isatty(o->fd);
	o->colour = o->terminal && !(no_colour && *no_colour);
	if (!o->ops->end || flags < 0 || (flags & O_APPEND) || fstat(o->fd, &st) < 0 ||
	    !S_ISREG(st.st_mode))
		return;
	o->at = lseek(o->fd, 0, SEEK_CUR);
	o->in_place = o->at >= 0;
}

int output_new(int fd, enum output_format format, const struct output_context *context,
               struct output **out)
{
	struct output *o = calloc(1, sizeof(*o));
	int err;

	if (!o)
		return -ENOMEM;
	o->ops = formats[format];
	o->fd = fd;
	o->started_ms = context->started_ms;
	o->scan_id = strdup(context->scan_id ? context->scan_id : "");
	o->evidence_links = strdup(context->evidence_links ? context->evidence_links : "");
	/* However the user's terminal is set: what we write is UTF-8. */
	o->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	find_out_about(o);
	err = o->scan_id && o->evidence_links ? make_and_put(o, PIECE_BEGIN, NULL, false) : -ENOMEM;
	if (err < 0) {
		output_free(o);
		return err;
	}
	*out = o;
	return 0;
}

int output_write(struct output *o, const struct finding *f, const struct evidence_files *files)
{
	static const struct evidence_files none;
	const struct output_row row = {.finding = f, .files = files ? files : &none};
	int err;

	if (!o->vantage && f->vantage)
		o->vantage = strdup(f->vantage);
	o->severities[f->severity]++;
	o->high_risk += f->high_risk;
	err = make_and_put(o, PIECE_ROW, &row, false);
	o->rows++;
	return err;
}

int output_write_trailer(struct output *o, const struct sweep_trailer *t)
{
	return o->ops->trailer ? make_and_put(o, PIECE_TRAILER, t, false) : 0;
}

int output_finish(struct output *o, bool complete)
{
	return o->ops->end ? make_and_put(o, PIECE_END, NULL, complete) : 0;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	if (o->locale)
		freelocale(o->locale);
	free(o->scan_id);
	free(o->evidence_links);
	free(o->vantage);
	free(o);
}
