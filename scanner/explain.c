/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/explain.h"

#include "common/cleanup.h"
#include "scanner/fingerprint_serves.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { EXCERPT_LINES = 4, EXCERPT_LINE_BYTES = 100, HEAD_LINES = 24 };

/* The words of `evidence` in findings; the rules are those of docs/detection.md. */
static const struct {
	const char *sign, *meaning;
} signs[] = {
    {"index", "the index page is net/http/pprof's own (IDX)"},
    {"title-profile", "a page titled Profile, which is weak"},
    {"symbol", "the symbol handler answered \"num_symbols: 1\" (SYM)"},
    {"unknown-profile", "the index handler's own 404 for an unknown profile (SYM)"},
    {"decoy", "a random path answers the same, so it shows nothing (CTL)"},
    {"control-failed", "the request for a random path failed, so a decoy is not ruled out (CTL)"},
    {"goroutine-debug2", "the stacks of all goroutines were read: HIGH_RISK"},
    {"goroutine-refused",
     "the handler of stacks was reached, and refused before any work: HIGH_RISK"},
    {"goroutine-inferred", "stacks were not asked for, but would be served by the same handler"},
    {"cmdline", "the command line was read"},
    {"denied", "401 or 403"},
    {"redirect", "the path redirects to itself with a slash: a handler is mounted there"},
    {"relative", "a debug page of another kind answered"},
    {"lookalike", "it looks alike, but is not Go's"},
    {"http2", "it answered over HTTP/2"},
    {"not-http", "the peer does not speak HTTP"},
    {"tls-required", "the peer wants TLS"},
};

static const char *find_meaning(const char *sign)
{
	for (size_t i = 0; i < ARRAY_LEN(signs); i++)
		if (strcmp(signs[i].sign, sign) == 0)
			return signs[i].meaning;
	return "see docs/detection.md";
}

/* What one answer shows by itself. Several may hold; the first is the strongest. */
static const char *read_answer(const struct exchange *x)
{
	const struct http_answer *a = &x->answer;

	if (a->error)
		return a->timed_out ? "no whole answer within the deadline"
		                    : "no answer; the error is above";
	if (a->status == 0)
		return "the peer spoke, but not HTTP";
	if (rule_wants_tls(a))
		return "a TLS server's complaint about plain HTTP: https is tried next";
	if (rule_is_denied(a))
		return "denied: something is there, or everything is behind authentication";
	if (rule_is_index(a))
		return x->request.step == FINGERPRINT_CONTROL
		           ? "a random path answers the index: a decoy (CTL)"
		           : "the index page: its title, and the link to the stack dump (IDX)";
	switch (rule_read_symbol(a)) {
	case SYMBOL_ANSWERED: return "the symbol handler's answer (SYM)";
	case SYMBOL_UNKNOWN: return "the index handler's 404 for an unknown profile (SYM)";
	case SYMBOL_NONE: break;
	}
	if (rule_is_goroutine_refusal(a))
		return "the stack handler's refusal of a wrong parameter: it is reachable";
	if (rule_is_goroutine_dump(a))
		return "the stacks of all goroutines: readable";
	if (rule_read_redirect(a, x->request.path, NULL) == REDIRECT_SLASH)
		return "a redirect to the same path, but for its slash";
	if (x->request.step == FINGERPRINT_CONTROL)
		return "a random path answers otherwise: what came before is no decoy (CTL)";
	if (x->request.step == FINGERPRINT_METRICS)
		return serves_read_metrics(a, false)
		           ? "metrics, or a reason to think so: the port serves them, too"
		           : "no metrics";
	if (x->request.step == FINGERPRINT_ROOT)
		return serves_read_root(a, "/debug/pprof/")
		           ? "a page of its own: the port serves more than profiling"
		           : "nothing at the root";
	if (x->request.step == FINGERPRINT_CMDLINE && a->status == 200 && rule_is_plain_text(a))
		return "plain text where the command line is served";
	if (rule_is_undecided_index(a))
		return "too little of the page came to tell";
	if (rule_has_index_title(a))
		return "the index's title alone: a reason to ask for more, no proof";
	if (rule_is_go_not_found(a))
		return "the 404 of a Go program: handlers may be mounted one by one";
	return "none of the rules holds";
}

/* One line, clean and indented. */
static void put_line(FILE *to, const char *prefix, const char *text, size_t length)
{
	auto_free char *spaced = malloc(length + 1);
	char *clean = NULL;

	if (!spaced)
		return;
	memcpy(spaced, text, length);
	/* what pages and stacks are full of, and what parts the arguments of a command line */
	for (size_t i = 0; i < length; i++)
		if (spaced[i] == '\t' || spaced[i] == '\0')
			spaced[i] = ' ';
	while (length > 0 && (spaced[length - 1] == '\r' || spaced[length - 1] == '\n'))
		length--;
	if (finding_set_bytes(&clean, spaced, length) == 0 && clean)
		fprintf(to, "%s%s\n", prefix, clean);
	free(clean);
}

static void put_lines(FILE *to, const char *prefix, const char *text, size_t length,
                      unsigned most_lines, size_t most_bytes)
{
	unsigned n = 0;

	while (length > 0) {
		const char *end = memchr(text, '\n', length);
		size_t line = end ? (size_t)(end - text) + 1 : length;

		if (n++ == most_lines) {
			fprintf(to, "%s…\n", prefix);
			return;
		}
		if (line > 2 || text[0] > ' ')
			put_line(to, prefix, text, line < most_bytes ? line : most_bytes);
		text += line;
		length -= line;
	}
}

typedef void write_part_fn(FILE *to, const struct exchange *e, bool show_secrets);

static void put_part(FILE *to, const struct exchange *x, bool show_secrets, const char *prefix,
                     write_part_fn *write_part, unsigned most_lines, size_t most_bytes)
{
	auto_free char *text = NULL;
	size_t length = 0;
	FILE *part = open_memstream(&text, &length);

	if (!part)
		return;
	write_part(part, x, show_secrets);
	if (fclose(part) == 0)
		put_lines(to, prefix, text, length, most_lines, most_bytes);
}

static void put_exchange(FILE *to, size_t n, const struct exchange *x, bool show_secrets)
{
	const struct http_answer *a = &x->answer;

	fprintf(to, "\n  %zu. %s, by %s\n", n, exchange_step_name(x->request.step),
	        x->request.tls ? "https" : "http");
	if (x->sent[0])
		put_lines(to, "     > ", x->sent, strlen(x->sent), HEAD_LINES,
		          FINDING_STRING_MAX_BYTES);
	else
		fprintf(to, "     > (GET %s was not sent)\n", x->request.path);
	put_part(to, x, show_secrets, "     < ", exchange_write_head, HEAD_LINES,
	         FINDING_STRING_MAX_BYTES);
	put_part(to, x, show_secrets, "     | ", exchange_write_body, EXCERPT_LINES,
	         EXCERPT_LINE_BYTES);
	fprintf(to, "     %zu bytes of head, %zu of body%s, %.1f ms", x->head_length,
	        a->body_length, a->truncated ? " (cut off)" : "", (double)x->took_us / 1000);
	if (a->error)
		fprintf(to, "; %s", strerrordesc_np(-a->error));
	fprintf(to, "\n     = %s\n", read_answer(x));
}

static bool has(const struct finding *f, const char *sign)
{
	return finding_list_has(&f->evidence, sign);
}

/* The row of the table in docs/detection.md that applied. */
static const char *find_rule(const struct finding *f)
{
	bool symbol = has(f, "symbol") || has(f, "unknown-profile");

	switch (f->verdict) {
	case VERDICT_CONFIRMED:
		return has(f, "relative") && !has(f, "index") && !symbol
		           ? "a debug page of another kind answered, and a random path did not"
		           : "index and symbol handler answered (IDX and SYM), and a random path "
		             "did not (CTL)";
	case VERDICT_LIKELY:
		return has(f, "control-failed")
		           ? "it answered, but that a random path does not was not shown (CTL)"
		           : "only one of index and symbol handler answered (IDX or SYM)";
	case VERDICT_PROTECTED: return "denied, while a random path is not: something is there";
	case VERDICT_UNKNOWN:
		return "denied, and so is a random path: all is behind authentication";
	case VERDICT_CLEAR:
		if (has(f, "decoy"))
			return "a random path answers the same (CTL)";
		return has(f, "not-http") ? "the peer does not speak HTTP"
		                          : "neither IDX nor SYM held";
	case VERDICT_CLOSED: return "the connection was refused";
	case VERDICT_FILTERED: return "no connection came about, and nobody refused it";
	case VERDICT_ERROR:
	case VERDICT_COUNT: break;
	}
	return "there was no whole answer to judge";
}

static const char *find_severity_rule(const struct finding *f)
{
	if (f->severity != SEVERITY_HIGH)
		return NULL;
	return f->high_risk ? "the stacks of all goroutines are readable"
	                    : "the command line, or as much, is readable";
}

static void put_verdict(FILE *to, const struct finding *f)
{
	const char *severity_rule = find_severity_rule(f);
	const char *program = f->program ? f->program : f->module;

	fprintf(to, "\n  verdict   %s: %s\n", finding_verdict_name(f->verdict), find_rule(f));
	fprintf(to, "  severity  %s%s%s%s\n", finding_severity_name(f->severity),
	        f->high_risk ? " HIGH_RISK" : "", severity_rule ? ": " : "",
	        severity_rule ? severity_rule : "");
	for (size_t i = 0; i < f->evidence.count; i++)
		fprintf(to, "  sign      %s: %s\n", f->evidence.items[i],
		        find_meaning(f->evidence.items[i]));
	if (f->error)
		fprintf(to, "  error     %s\n", f->error);
	if (program)
		fprintf(to, "  program   %s\n", program);
	if (f->go_version)
		fprintf(to, "  Go        %s\n", f->go_version);
	for (size_t i = 0; i < f->identified_by.count; i++)
		fprintf(to, "  known by  %s\n", f->identified_by.items[i]);
	if (f->advice)
		fprintf(to, "  advice    %s\n", f->advice);
}

void explain_write(FILE *to, const struct finding *f, const struct exchange_log *log,
                   bool show_secrets)
{
	char endpoint[ENDPOINT_TEXT_LEN];

	fprintf(to, "%s%s%s%s\n", endpoint_format(&f->endpoint, endpoint), f->host ? " (" : "",
	        f->host ? f->host : "", f->host ? ")" : "");
	for (size_t i = 0; log && i < log->count; i++)
		put_exchange(to, i + 1, &log->items[i], show_secrets);
	put_verdict(to, f);
	fputc('\n', to);
}
