/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_summary.h"

#include "common/cleanup.h"

#include <inttypes.h>
#include <string.h>

static void append(char *line, size_t size, const char *separator, uint64_t count, const char *what)
{
	size_t len = strlen(line);

	if (count > 0)
		snprintf(line + len, size - len, "%s%" PRIu64 " %s", separator, count, what);
}

/* What the search for open ports has cost, and whether it can be believed. */
static void print_discovery(FILE *out, const struct discover_stats *s)
{
	if (s->sent == 0)
		return;
	fprintf(out,
	        "sent %" PRIu64 " packets or connections to find open ports, %" PRIu64
	        " of them again",
	        s->sent, s->retransmitted);
	if (s->canaries_sent > 0 && s->loss >= 0)
		fprintf(out, "; measured loss %.2f%%", 100 * s->loss);
	if (s->hosts_silent > 0)
		fprintf(out, "; %" PRIu64 " neighbours silent", s->hosts_silent);
	if (s->dropped > 0)
		fprintf(out, "; %" PRIu64 " answers dropped here", s->dropped);
	fputc('\n', out);
}

void scan_summary_print(FILE *out, const struct scan_result *r)
{
	static const struct {
		enum finding_verdict verdict;
		const char *name;
	} others[] = {
	    {VERDICT_PROTECTED, "protected"}, {VERDICT_UNKNOWN, "unknown"},
	    {VERDICT_CLEAR, "clear"},         {VERDICT_CLOSED, "closed"},
	    {VERDICT_FILTERED, "filtered"},   {VERDICT_ERROR, "in error"},
	};
	uint64_t exposed = r->verdicts[VERDICT_CONFIRMED] + r->verdicts[VERDICT_LIKELY];
	char line[512];

	snprintf(line, sizeof(line),
	         "scanned %" PRIu64 " endpoint%s in %" PRId64 ".%" PRId64 " s: %" PRIu64 " exposed",
	         r->endpoints, r->endpoints == 1 ? "" : "s", r->elapsed_ms / 1000,
	         r->elapsed_ms % 1000 / 100, exposed);
	append(line, sizeof(line), " (", r->high_risk, "HIGH_RISK)");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		append(line, sizeof(line), ", ", r->verdicts[others[i].verdict], others[i].name);
	append(line, sizeof(line), ", ", r->set_aside, "set aside");
	fprintf(out, "%s\n", line);
	print_discovery(out, &r->report.stats);
}

/* As a shell reads it back. */
static void print_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                            "-_=./:@,+%[]";

	if (*word && word[strspn(word, plain)] == '\0') {
		fprintf(out, " %s", word);
		return;
	}
	fputs(" '", out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			fputc(*word, out);
	}
	fputc('\'', out);
}

/* Whether the word is the option, and whether its value is the next word. */
static bool is_option(const char *word, const char *option, bool *value_follows)
{
	size_t n = strlen(option);

	*value_follows = word[0] && strcmp(word, option) == 0;
	return *value_follows || (strncmp(word, option, n) == 0 && word[n] == '=');
}

void scan_summary_print_continuation(FILE *out, char **argv, const struct scan_options *o,
                                     uint64_t seed, const struct scan_mark *mark)
{
	char text[SCAN_MARK_TEXT_LEN];
	bool skip = false;

	fputs("to continue: pprofwall", out);
	for (; *argv; argv++) {
		bool follows = false;

		if (skip) {
			skip = false;
			continue;
		}
		/* A password is not to stand in logs. */
		if (is_option(*argv, "--proxy", &follows) && strchr(*argv + follows, '@') &&
		    !follows) {
			fputs(" --proxy=...", out);
			continue;
		}
		if (follows) {
			bool secret = argv[1] && argv[1][0] != '@' && strchr(argv[1], '@');

			print_word(out, *argv);
			fputs(secret ? " ..." : "", out);
			skip = secret;
			continue;
		}
		/* The new ones take their place. */
		if (!o->resume && (is_option(*argv, "--seed", &follows) ||
		                   is_option(*argv, "--start-at", &follows))) {
			skip = follows;
			continue;
		}
		print_word(out, *argv);
	}
	if (!o->resume) {
		scan_mark_format(mark, text);
		fprintf(out, " --seed %" PRIu64 " --start-at %s", seed, text);
	}
	fputc('\n', out);
	for (size_t i = 0; i < o->n_outputs; i++) {
		enum output_format format =
		    o->format_given ? o->format : output_format_of_file(o->outputs[i]);

		if (!output_format_appends(format))
			fprintf(out, "before that, move %s away: it would be overwritten\n",
			        o->outputs[i]);
	}
}
