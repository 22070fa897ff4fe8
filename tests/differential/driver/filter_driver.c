/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Says what the filter would do with a client's bytes, for the differential fuzzer. From standard
 * input it takes cases, to standard output it writes what became of each, in host byte order:
 *
 *   case:    u32 length of the rest; u8 policy (0: what is
 *            denied by default, 1: an allow-list); u8 step (so many bytes at a time; 0: all); bytes
 *   outcome: u32 length of the rest; for each request: u8 verdict, u8 fault, u8 keep_alive, u8
 * to_head, u32 length of what is sent to the server; that
 */
#include "common/cleanup.h"
#include "daemon/filter/http_body.h"
#include "daemon/filter/http_path.h"
#include "daemon/filter/http_write.h"
#include "daemon/filter/policy.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CASE_BYTES = 1024 * 1024 };

enum verdict {
	VERDICT_FORWARDED = 'F',
	VERDICT_DENIED = 'D',
	VERDICT_REFUSED = 'R', /* for `fault` */
	VERDICT_CUT = 'C',     /* passed on, then refused in the body for `fault` */
	VERDICT_UNENDED = 'U', /* passed on, but the body ends too early */
	VERDICT_NO_HEAD = 'N', /* the head does not end */
};

struct request {
	struct http_head head;
	bool to_head;
	FILE *to; /* what the server gets */
};

static void put(FILE *to, struct http_text text)
{
	fwrite(text.at, 1, text.length, to);
}

static void put_head(FILE *to, const struct http_head *head)
{
	char written[HTTP_WRITTEN_MAX_BYTES];

	put(to, (struct http_text){written, http_write_head(head, written)});
}

static void put_chunk_size(FILE *to, size_t length)
{
	char written[HTTP_CHUNK_SIZE_MAX_BYTES];

	put(to, (struct http_text){written, http_write_chunk_size(length, written)});
}

/* Reads one body behind `bytes`; *used is how much of them it was. */
static enum http_read read_body(struct request *r, const char *bytes, size_t length, size_t step,
                                size_t *used, enum http_fault *fault)
{
	bool is_chunked = r->head.framing == HTTP_FRAMING_CHUNKED;
	enum http_read found = HTTP_READ_MORE;
	struct http_text content;
	struct http_body body;
	size_t n;

	*used = 0;
	http_body_begin(&body, &r->head);
	do {
		size_t left = length - *used;

		found = http_body_read(&body, bytes + *used, left < step ? left : step, &n,
		                       &content, fault);
		*used += n;
		if (content.length == 0)
			continue;
		if (is_chunked)
			put_chunk_size(r->to, content.length);
		put(r->to, content);
		if (is_chunked)
			fputs("\r\n", r->to);
	} while (found == HTTP_READ_MORE && n > 0);
	if (found == HTTP_READ_DONE && is_chunked)
		fputs(HTTP_LAST_CHUNK, r->to);
	return found;
}

static enum verdict serve(struct request *r, const struct policy *policy, const char *bytes,
                          size_t length, size_t step, size_t *used, enum http_fault *fault)
{
	char path[HTTP_PATH_MAX_BYTES];
	enum http_read found = HTTP_READ_MORE;
	size_t path_length, scanned = 0;

	for (size_t have = step; found == HTTP_READ_MORE; have += step) {
		found =
		    http_head_read(bytes, have < length ? have : length, &scanned, &r->head, fault);
		if (have >= length)
			break;
	}
	if (found != HTTP_READ_DONE)
		return found == HTTP_READ_BAD ? VERDICT_REFUSED : VERDICT_NO_HEAD;
	r->to_head = r->head.method.length == 4 && memcmp(r->head.method.at, "HEAD", 4) == 0;
	*fault = http_path_decode(r->head.path, path, &path_length);
	if (*fault)
		return VERDICT_REFUSED;
	if (!policy_allows(policy, path, path_length)) {
		*used = r->head.length;
		return VERDICT_DENIED;
	}
	put_head(r->to, &r->head);
	found = read_body(r, bytes + r->head.length, length - r->head.length, step, used, fault);
	*used += r->head.length;
	if (found == HTTP_READ_DONE)
		return VERDICT_FORWARDED;
	if (found == HTTP_READ_BAD)
		return VERDICT_CUT;
	return VERDICT_UNENDED;
}

static void put_number(FILE *to, size_t number)
{
	uint32_t n = (uint32_t)number;

	fwrite(&n, sizeof(n), 1, to);
}

/* The body of a request that is denied is not read: then it is the last. */
static bool goes_on(enum verdict verdict, const struct http_head *head)
{
	return head->keep_alive && (verdict == VERDICT_FORWARDED ||
	                            (verdict == VERDICT_DENIED && !http_head_has_body(head)));
}

static void run_case(const struct policy *policy, size_t step, const char *bytes, size_t length,
                     FILE *out)
{
	enum http_fault fault = HTTP_FAULT_NONE;
	enum verdict verdict = VERDICT_NO_HEAD;

	if (step == 0)
		step = length > 0 ? length : 1;
	do {
		auto_free char *sent = NULL;
		size_t n_sent = 0, used = 0;
		struct request r = {.to = open_memstream(&sent, &n_sent)};

		if (!r.to)
			err(1, "open_memstream");
		verdict = serve(&r, policy, bytes, length, step, &used, &fault);
		if (fclose(r.to) != 0)
			err(1, "open_memstream");
		fputc((int)verdict, out);
		fputc((int)fault, out);
		fputc(r.head.keep_alive, out);
		fputc(r.to_head, out);
		put_number(out, n_sent);
		fwrite(sent, 1, n_sent, out);
		bytes += used;
		length -= used;
		if (!goes_on(verdict, &r.head))
			break;
	} while (length > 0);
}

static struct policy *make_policy(const struct signatures *signatures, char **allow, size_t n)
{
	char name[] = "differential";
	struct conf_breaker rule = {.name = name, .filter.allow = {.items = allow, .count = n}};
	struct policy *policy = policy_new(&rule, signatures);

	if (!policy)
		err(1, "policy_new");
	return policy;
}

/* What is denied by default, and then the one that lets nothing but these through. */
int main(int argc, char **argv)
{
	char metrics[] = "/metrics", healthy[] = "/-/healthy", *allow[] = {metrics, healthy};
	char error[CONF_ERROR_LEN];
	auto_signatures struct signatures *signatures =
	    signatures_load_file(argc > 1 ? argv[1] : NULL, error);
	auto_policy struct policy *deny = NULL, *allowed = NULL;
	uint32_t length;

	if (!signatures)
		errx(1, "%s", error);
	deny = make_policy(signatures, NULL, 0);
	allowed = make_policy(signatures, allow, ARRAY_LEN(allow));
	while (fread(&length, sizeof(length), 1, stdin) == 1) {
		auto_free char *outcome = NULL, *bytes = NULL;
		size_t n = 0;
		FILE *out;

		if (length < 2 || length > MAX_CASE_BYTES)
			errx(1, "a case of %" PRIu32 " bytes", length);
		/* An exact copy, so that a sanitizer sees a read past the end. */
		bytes = malloc(length);
		out = open_memstream(&outcome, &n);
		if (!bytes || !out)
			err(1, "malloc");
		if (fread(bytes, 1, length, stdin) != length)
			errx(1, "a case that does not end");
		run_case(bytes[0] ? allowed : deny, (unsigned char)bytes[1], bytes + 2, length - 2,
		         out);
		if (fclose(out) != 0)
			err(1, "open_memstream");
		put_number(stdout, n);
		fwrite(outcome, 1, n, stdout);
		/* Whoever asks waits for the answer when it has nothing more to send. */
		if (fflush(stdout) != 0)
			err(1, "standard output");
	}
	return 0;
}
