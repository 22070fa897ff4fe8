/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One input is a hostile server's whole side of a probe: a byte of options, then its answers.
 *
 *	answer: flags, error, status (2 bytes), content type, location, body length (2), body
 *
 * Whatever it says, the loop ends, nothing is asked that makes a server work, the finding is
 * written to a line that reads back, and no verdict contradicts itself.
 */
#include "common/cleanup.h"
#include "scanner/fingerprint.h"

#include <errno.h>
#include <string.h>

struct input {
	const uint8_t *p;
	size_t left;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

static void check(bool holds)
{
	if (!holds)
		abort();
}

static const char *take_content_type(struct input *in)
{
	static const char *const types[] = {
	    "text/html; charset=utf-8",
	    "text/plain; charset=utf-8",
	    "text/plain",
	    "TEXT/HTML",
	    "",
	    "application/json",
	    "text",
	    NULL,
	};

	return types[take(in) % ARRAY_LEN(types)];
}

static const char *take_location(struct input *in)
{
	static const char *const locations[] = {
	    "",
	    "/debug/pprof",
	    "/debug/pprof/",
	    "http://h:80/debug/pprof",
	    "https://h:80/debug/pprof/",
	    "//h/debug/pprof",
	    "/",
	    "http://",
	    "https://h",
	    "?",
	    NULL,
	};

	return locations[take(in) % ARRAY_LEN(locations)];
}

/* The body is an exact copy, so that a sanitizer sees a read past its end. */
static void take_answer(struct input *in, struct http_answer *a, uint8_t **body)
{
	static const int errors[] = {0,      ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH,
	                             EPROTO, ECONNRESET,   ENOMEM,    0};
	uint8_t flags = take(in);
	size_t length;

	*a = (struct http_answer){
	    .timed_out = flags & 1,
	    .tls = flags & 2,
	    .go_pprof_header = flags & 4,
	    .nosniff = flags & 8,
	    .truncated = flags & 16,
	};
	a->error = -errors[take(in) % ARRAY_LEN(errors)];
	a->status = take(in) << 8;
	a->status |= take(in);
	a->content_type = take_content_type(in);
	a->location = take_location(in);
	length = (size_t)take(in) << 8;
	length |= take(in);
	if (length > in->left)
		length = in->left;
	*body = malloc(length ? length : 1);
	check(*body != NULL);
	memcpy(*body, in->p, length);
	in->p += length;
	in->left -= length;
	a->body = flags & 32 && length == 0 ? NULL : *body;
	a->body_length = length;
}

static void check_request(const struct fingerprint_request *r)
{
	check(strlen(r->path) < FINGERPRINT_PATH_MAX_LEN && r->path[0] == '/');
	check(r->body_max_bytes > 0 && r->body_max_bytes <= FINGERPRINT_BODY_MAX_BYTES);
	check(!strstr(r->path, "profile") && !strstr(r->path, "trace"));
	check(!strstr(r->path, "seconds=") || strstr(r->path, "seconds=x"));
	for (const char *p = r->path; *p; p++)
		check(*p > ' ' && *p < 0x7f);
}

static void check_finding(struct finding *f)
{
	bool exposed = finding_is_exposed(f, SEVERITY_NONE);
	auto_free char *line = NULL, *again = NULL;
	struct finding back;
	char why[128];

	check(!f->high_risk || (exposed && f->severity == SEVERITY_HIGH));
	check(exposed == (f->severity >= SEVERITY_LOW));
	check(exposed || f->command.count == 0);
	check((f->verdict == VERDICT_ERROR || f->verdict == VERDICT_FILTERED) == !!f->error);
	check(endpoint_parse("192.0.2.1:80", &f->endpoint) == 0);
	f->status = f->status >= 100 && f->status <= 999 ? f->status : 0;
	line = finding_to_line(f);
	check(line && strlen(line) <= FINDING_JSON_MAX_BYTES);
	finding_init(&back);
	check(finding_from_line(line, strlen(line), &back, why) == 0);
	again = finding_to_line(&back);
	check(again && strcmp(line, again) == 0);
	finding_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t options = take(&in);
	const struct fingerprint_conf conf = {
	    .prefix = options & 1 ? "/" : "/debug/pprof/",
	    .authority = options & 2 ? "h:80" : NULL,
	    .tls_first = options & 4,
	    .tls_only = options & 8,
	    .plain_only = options & 16,
	    .show_secrets = options & 32,
	    .asks_serves = options & 128,
	    .goroutine_read_max = options & 64 ? 1 : 0,
	};
	struct fingerprint_request request;
	struct fingerprint *fp = fingerprint_new();
	struct finding f;
	unsigned requests = 0;

	check(fp != NULL);
	fingerprint_reset(fp, &conf);
	while (fingerprint_next(fp, &request)) {
		struct http_answer a;
		auto_free uint8_t *body = NULL;

		check(++requests <= FINGERPRINT_MAX_REQUESTS);
		check(!(request.tls && conf.plain_only && !conf.tls_only));
		check(request.tls || !conf.tls_only);
		check_request(&request);
		take_answer(&in, &a, &body);
		fingerprint_feed(fp, &a);
	}
	finding_init(&f);
	check(fingerprint_finish(fp, &f) == 0);
	check_finding(&f);
	finding_fini(&f);
	fingerprint_free(fp);
	return 0;
}
