/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From raw answers to a verdict. One input is a byte of options and then what a server sends to
 * one request after another, as text, each answer ended by a line of "====":
 *
 *	HTTP/1.1 200 OK
 *	Content-Type: text/html
 *
 *	<html>…
 *	====
 *
 * What begins otherwise is a banner; "!110" is the connection's errno; an empty one is silence.
 * libcurl takes chunks and gzip off, so that the parser here does not; it reads heads as
 * scanner/probe_transfer.c does. No allocation but those of the code under test.
 *
 * Whatever it says: the loop ends, nothing is asked that makes a server work, no relative or
 * lookalike passes for pprof, and the verdict follows from what was sent.
 */
#include "common/cleanup.h"
#include "scanner/fingerprint.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

enum { VALUE_MAX_LEN = 256, HEAD_MAX_LEN = 1024 };

struct raw_answer {
	struct http_answer answer;
	char content_type[VALUE_MAX_LEN];
	char location[VALUE_MAX_LEN];
	char head[HEAD_MAX_LEN]; /* lines, each with its \n */
	size_t head_length;
};

/* What the server has shown so far, by other means than the code under test. */
struct shown {
	bool title, link, symbol, dump, refusal, denied;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool has(const struct http_answer *a, const char *text)
{
	return a->body_length > 0 && memmem(a->body, a->body_length, text, strlen(text));
}

/* The next line of a head without its end; false at the head's end. */
static bool next_line(const uint8_t **p, const uint8_t *end, const char **line, size_t *length)
{
	const uint8_t *newline = memchr(*p, '\n', (size_t)(end - *p));

	if (!newline)
		return false;
	*line = (const char *)*p;
	*length = (size_t)(newline - *p);
	if (*length > 0 && (*line)[*length - 1] == '\r')
		(*length)--;
	*p = newline + 1;
	return *length > 0;
}

static bool is_field(const char *line, size_t length, const char *name, const char **value,
                     size_t *value_length)
{
	size_t n = strlen(name);

	if (length < n || strncasecmp(line, name, n) != 0)
		return false;
	while (n < length && line[n] == ' ')
		n++;
	*value = line + n;
	*value_length = length - n;
	return true;
}

static void copy(char out[static VALUE_MAX_LEN], const char *value, size_t length)
{
	if (length >= VALUE_MAX_LEN)
		length = VALUE_MAX_LEN - 1;
	memcpy(out, value, length);
	out[length] = '\0';
}

static void read_field(struct raw_answer *raw, const char *line, size_t length)
{
	const char *value;
	size_t n;

	if (length + 2 <= sizeof(raw->head) - raw->head_length && !memchr(line, '\0', length)) {
		memcpy(raw->head + raw->head_length, line, length);
		memcpy(raw->head + raw->head_length + length, "\n", 2);
		raw->head_length += length + 1;
	}
	if (is_field(line, length, "Content-Type:", &value, &n))
		copy(raw->content_type, value, n);
	else if (is_field(line, length, "Location:", &value, &n))
		copy(raw->location, value, n);
	else if (is_field(line, length, "X-Go-Pprof:", &value, &n))
		raw->answer.go_pprof_header = n == 1 && *value == '1';
	else if (is_field(line, length, "X-Content-Type-Options:", &value, &n))
		raw->answer.nosniff = n == 7 && strncasecmp(value, "nosniff", 7) == 0;
	else if (is_field(line, length, "Content-Length:", &value, &n))
		raw->answer.truncated = n > 0; /* as if more had been announced */
	else if (is_field(line, length, "X-Timed-Out:", &value, &n))
		raw->answer.timed_out = true; /* the fuzzer's own */
}

static int read_number(const uint8_t *p, const uint8_t *end)
{
	int value = 0;

	for (; p < end && *p >= '0' && *p <= '9' && value < 1000; p++)
		value = value * 10 + (*p - '0');
	return value;
}

static void parse(const uint8_t *p, size_t size, bool tls, struct raw_answer *raw)
{
	const uint8_t *end = p + size;
	struct http_answer *a = &raw->answer;
	const char *line;
	size_t length;

	*a = (struct http_answer){
	    .content_type = raw->content_type, .location = raw->location, .head = raw->head};
	raw->content_type[0] = raw->location[0] = raw->head[0] = '\0';
	raw->head_length = 0;
	if (size > 0 && *p == '!') {
		a->error = -read_number(p + 1, end);
		a->alpn_refused = tls && a->error == -EPROTO;
		a->timed_out = a->error == -ETIMEDOUT && size > 4;
		return;
	}
	if (size < 12 || memcmp(p, "HTTP/1.", 7) != 0) {
		a->body = p;
		a->body_length = size > 64 ? 64 : size;
		a->error = size ? 0 : -ECONNRESET;
		return;
	}
	a->tls = tls;
	a->status = read_number(p + 9, end);
	while (next_line(&p, end, &line, &length))
		read_field(raw, line, length);
	a->body = p;
	a->body_length = (size_t)(end - p);
}

/* Cuts the next answer off the input. */
static void take(const uint8_t **p, size_t *left, bool tls, struct raw_answer *raw)
{
	const uint8_t *mark = *left ? memmem(*p, *left, "\n====\n", 6) : NULL;
	size_t size = mark ? (size_t)(mark - *p) : *left;

	parse(*p, size, tls, raw);
	size = mark ? size + 6 : size;
	*p += size;
	*left -= size;
}

static void look(struct shown *s, const struct fingerprint_request *r, const struct http_answer *a)
{
	s->denied |= a->status == 401 || a->status == 403;
	s->title |= a->status == 200 && has(a, "<title>/debug/pprof/</title>");
	s->link |= a->status == 200 && has(a, "goroutine?debug=2\">full goroutine stack dump</a>");
	if (r->step == FINGERPRINT_SYMBOL)
		s->symbol = (a->status == 200 && has(a, "num_symbols: 1\n")) ||
		            (a->status == 404 && has(a, "Unknown profile"));
	if (r->step == FINGERPRINT_GOROUTINE)
		s->dump = a->status == 200 && has(a, "goroutine ");
	if (r->step == FINGERPRINT_GOROUTINE_REFUSED)
		s->refusal = a->status == 400 && a->go_pprof_header && a->nosniff;
}

static void check_request(const struct fingerprint_request *r, const struct shown *s)
{
	check(r->path[0] == '/' && strlen(r->path) < FINGERPRINT_PATH_MAX_LEN);
	check(!strstr(r->path, "/profile") && !strstr(r->path, "/trace?") &&
	      !strstr(r->path, "fgprof"));
	check(!strstr(r->path, "seconds=") || strstr(r->path, "&seconds=x"));
	/* stacks only behind an index that was seen */
	check(!strstr(r->path, "goroutine") || (s->title && s->link));
}

static void check_finding(const struct finding *f, const struct shown *s)
{
	bool exposed = f->verdict == VERDICT_CONFIRMED || f->verdict == VERDICT_LIKELY;
	bool pprof = exposed && f->kind && strcmp(f->kind, "go-pprof") == 0;

	check(exposed == (f->severity >= SEVERITY_LOW));
	check(!exposed || f->kind);
	check(!pprof || f->severity >= SEVERITY_MEDIUM);
	check(!exposed || pprof || (f->severity == SEVERITY_LOW && f->relatives.count > 0));
	check(!pprof || (s->title && s->link) || s->symbol);
	check(f->verdict != VERDICT_CONFIRMED || !pprof || (s->title && s->link && s->symbol));
	check(!f->high_risk || (pprof && (s->dump || s->refusal)));
	check(f->verdict != VERDICT_PROTECTED || s->denied);
	check(exposed || f->command.count == 0);
	check((f->verdict == VERDICT_ERROR || f->verdict == VERDICT_FILTERED) == !!f->error);
	check(!f->program || (f->kind && f->identified_by.count > 0));
	check(!f->kind || strcmp(f->kind, "go-pprof") != 0 || f->advice);
	check(!f->advice || f->kind);
}

static char *expvar_contains[] = {(char[]){"\"cmdline\":"}, (char[]){"\"memstats\":"}};
static char *requests_contains[] = {(char[]){"<title>/debug/requests</title>"}};
static char *brpc_contains[] = {(char[]){"brpc"}};
static char *prefixes[] = {(char[]){"/debug/pprof/"}, (char[]){"/pprof/"}, (char[]){"/x/profile/"}};
static struct signature_relative relatives[] = {
    {.name = (char[]){"expvar"},
     .path = (char[]){"/debug/vars"},
     .content_type = (char[]){"application/json"},
     .contains = {.items = expvar_contains, .count = 2}},
    {.name = (char[]){"x-net-trace"},
     .path = (char[]){"/debug/requests"},
     .contains = {.items = requests_contains, .count = 1}},
    /* never asked for, whoever wrote it */
    {.name = (char[]){"costly"},
     .path = (char[]){"/debug/pprof/profile?seconds=30"},
     .contains = {.items = requests_contains, .count = 1}},
    {.name = (char[]){"brpc"},
     .lookalike = true,
     .path = (char[]){"/hotspots"},
     .contains = {.items = brpc_contains, .count = 1}},
};
static char *modules[] = {(char[]){"github.com/a/b"}};
static char *executables[] = {(char[]){"b"}, (char[]){"bd"}};
static char *headers[] = {(char[]){"Server: B"}};
static char *titles[] = {(char[]){"B"}};
static struct signature_product products[] = {
    {.name = (char[]){"a"},
     .modules = {.items = modules, .count = 1},
     .titles = {.items = titles, .count = 1},
     .pprof_switch = (char[]){"none"}},
    {.name = (char[]){"b"},
     .executables = {.items = executables, .count = 2},
     .headers = {.items = headers, .count = 1},
     .default_bind = (char[]){"127.0.0.1:1"}},
};
static const struct signatures signatures = {
    .version = (char[]){"1"},
    .products = products,
    .n_products = ARRAY_LEN(products),
    .prefixes = {.items = prefixes, .count = ARRAY_LEN(prefixes)},
    .relatives = relatives,
    .n_relatives = ARRAY_LEN(relatives),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Thread_local struct fingerprint *fp; /* reused, as the engine does */
	uint8_t options = size ? *data : 0;
	const uint8_t *p = data + (size ? 1 : 0);
	size_t left = size ? size - 1 : 0;
	const struct fingerprint_conf conf = {
	    .prefix = options & 1 ? "/pprof/" : NULL,
	    .authority = options & 2 ? "h:80" : NULL,
	    .tls_first = options & 4,
	    .tls_only = options & 8,
	    .plain_only = options & 16,
	    .goroutine_read_max = options & 32 ? 1 : 0,
	    .all_relatives = options & 64,
	    .asks_serves = options & 64,
	    .signatures = options & 128 ? &signatures : NULL,
	};
	struct fingerprint_request request;
	struct shown shown = {0};
	struct finding f;
	unsigned requests = 0;

	fp = fp ? fp : fingerprint_new();
	check(fp != NULL);
	fingerprint_reset(fp, &conf);
	while (fingerprint_next(fp, &request)) {
		struct raw_answer raw;

		check(++requests <= FINGERPRINT_MAX_REQUESTS);
		check_request(&request, &shown);
		take(&p, &left, request.tls, &raw);
		look(&shown, &request, &raw.answer);
		fingerprint_feed(fp, &raw.answer);
	}
	finding_init(&f);
	check(fingerprint_finish(fp, &f) == 0);
	check_finding(&f, &shown);
	finding_fini(&f);
	return 0;
}
