/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/zoo/zoo.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

enum { BANNER_MAX_BYTES = 64, RECORDING_MAX_BYTES = 64 * 1024 };

static void die(const char *server, const char *what)
{
	fprintf(stderr, "zoo: %s: %s\n", server, what);
	exit(1);
}

/* "/debug/pprof/goroutine?debug=2" -> "debug_pprof_goroutine_debug=2.raw" */
static void format_name(const char *server, const char *path, char name[static 512])
{
	const char *source = getenv("PW_SOURCE_DIR");
	int n = snprintf(name, 512, "%s/tests/zoo/%s/", source ? source : ".", server);
	char *p;

	if (n < 0 || n >= 512)
		die(server, "name too long");
	p = name + n;
	snprintf(p, 512 - (size_t)n, "%s.raw", path[1] ? path + 1 : "root");
	for (; *p; p++)
		if (*p == '/' || *p == '?' || *p == '&')
			*p = '_';
}

/* The value of a header of this name ("" when absent), up to the end of its line. */
static void read_header(const char *head, size_t length, const char *name, char *out, size_t room)
{
	size_t n = strlen(name);

	out[0] = '\0';
	for (const char *p = head; (p = memmem(p, length - (size_t)(p - head), "\r\n", 2));) {
		size_t value, left;

		p += 2;
		left = length - (size_t)(p - head);
		if (left < n + 2 || strncasecmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1;
		while (*p == ' ')
			p++;
		value = strcspn(p, "\r");
		if (value >= room)
			value = room - 1;
		memcpy(out, p, value);
		out[value] = '\0';
		return;
	}
}

/* Takes the chunks' frames off, in place; stops where the recording ends. */
static size_t unchunk(uint8_t *body, size_t length)
{
	size_t from = 0, to = 0;

	for (;;) {
		const uint8_t *line = memmem(body + from, length - from, "\r\n", 2);
		size_t size = line ? strtoul((char *)body + from, NULL, 16) : 0;

		if (size == 0)
			return to;
		from = (size_t)(line - body) + 2;
		if (size > length - from)
			size = length - from;
		memmove(body + to, body + from, size);
		to += size;
		from += size;
		if (length - from < 2)
			return to;
		from += 2;
	}
}

/* As the engine does: never more than the cap comes out, however much is in it. */
static void gunzip(struct zoo_answer *a, size_t max)
{
	z_stream z = {0};
	auto_free uint8_t *packed = a->body;

	a->body = malloc(max);
	if (!a->body || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		die("gzip", "out of memory");
	z.next_in = packed;
	z.avail_in = (uInt)a->answer.body_length;
	z.next_out = a->body;
	z.avail_out = (uInt)max;
	a->answer.truncated |= inflate(&z, Z_SYNC_FLUSH) != Z_STREAM_END;
	a->answer.body_length = max - z.avail_out;
	inflateEnd(&z);
}

static void parse(struct zoo_answer *a, uint8_t *raw, size_t length, size_t max)
{
	struct http_answer *answer = &a->answer;
	uint8_t *end = memmem(raw, length, "\r\n\r\n", 4);
	const char *head = (const char *)raw;
	size_t head_length;
	char value[64];

	if (length < 12 || memcmp(raw, "HTTP/1.", 7) != 0 || !end) {
		/* HTTP/0.9, a banner: it spoke, but not HTTP */
		a->body = malloc(length + 1);
		if (!a->body)
			die("parse", "out of memory");
		memcpy(a->body, raw, length);
		answer->body_length = length > BANNER_MAX_BYTES ? BANNER_MAX_BYTES : length;
		return;
	}
	head_length = (size_t)(end - raw) + 2;
	answer->status = atoi(head + 9);
	read_header(head, head_length, "Content-Type", a->content_type, sizeof(a->content_type));
	read_header(head, head_length, "Location", a->location, sizeof(a->location));
	read_header(head, head_length, "X-Content-Type-Options", value, sizeof(value));
	answer->nosniff = strcasecmp(value, "nosniff") == 0;
	read_header(head, head_length, "X-Go-Pprof", value, sizeof(value));
	answer->go_pprof_header = strcmp(value, "1") == 0;
	answer->body_length = length - (size_t)(end + 4 - raw);
	a->body = malloc(answer->body_length + 1);
	if (!a->body)
		die("parse", "out of memory");
	memcpy(a->body, end + 4, answer->body_length);
	a->body[answer->body_length] = '\0';
	read_header(head, head_length, "Transfer-Encoding", value, sizeof(value));
	if (strcmp(value, "chunked") == 0)
		answer->body_length = unchunk(a->body, answer->body_length);
	read_header(head, head_length, "Content-Encoding", value, sizeof(value));
	if (strcmp(value, "gzip") == 0)
		gunzip(a, max);
	/* recordings are cut at 64 KB, as an answer is at its cap */
	answer->truncated |= length == RECORDING_MAX_BYTES || answer->body_length > max;
	if (answer->body_length > max)
		answer->body_length = max;
}

void zoo_answer_read(const char *server, const struct fingerprint_request *request,
                     struct zoo_answer *out)
{
	static uint8_t not_found[] = "HTTP/1.1 404 Not Found\r\n"
	                             "Content-Type: text/plain; charset=utf-8\r\n"
	                             "X-Content-Type-Options: nosniff\r\n\r\n"
	                             "404 page not found\n";
	char name[512];
	auto_fclose FILE *file = NULL;
	auto_free uint8_t *raw = malloc(RECORDING_MAX_BYTES);
	size_t length;

	memset(out, 0, sizeof(*out));
	/* the recordings' control request had a fixed path */
	format_name(server, request->step == FINGERPRINT_CONTROL ? "/zz9nope" : request->path,
	            name);
	file = fopen(name, "rb");
	if (!raw)
		die(server, "out of memory");
	if (request->tls) {
		out->answer.error = -EPROTO; /* all were recorded without TLS */
	} else if (file) {
		length = fread(raw, 1, RECORDING_MAX_BYTES, file);
		parse(out, raw, length, request->body_max_bytes);
	} else {
		parse(out, not_found, sizeof(not_found) - 1, request->body_max_bytes);
	}
	out->answer.content_type = out->content_type;
	out->answer.location = out->location;
	out->answer.body = out->body;
}

void zoo_answer_fini(struct zoo_answer *a)
{
	free(a->body);
	memset(a, 0, sizeof(*a));
}
