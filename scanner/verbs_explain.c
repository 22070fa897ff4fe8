/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/verbs_table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_line(FILE *out, const char *label, const char *text)
{
	if (!text || !*text)
		return;
	fprintf(out, "%-10s ", label);
	verbs_print_visible(out, text);
	fputc('\n', out);
}

static void print_listener(const json_t *l, FILE *out)
{
	if (!json_is_object(l)) {
		fputs("listener   none that we know of: a target\n", out);
		return;
	}
	fputs("listener   ", out);
	verbs_print_visible(out, string_at(l, "bound"));
	fputs(", ", out);
	verbs_print_visible(out, string_at(l, "process"));
	fprintf(out, " (pid %" JSON_INTEGER_FORMAT ", uid %" JSON_INTEGER_FORMAT "), since ",
	        json_integer_value(json_object_get(l, "pid")),
	        json_integer_value(json_object_get(l, "uid")));
	verbs_print_visible(out, string_at(l, "since"));
	fputs(json_is_true(json_object_get(l, "gone")) ? "; GONE\n" : "\n", out);
	print_line(out, "program", string_at(l, "executable"));
	print_line(out, "unit", string_at(l, "unit"));
	print_line(out, "container", string_at(l, "container"));
	print_line(out, "not probed", string_at(l, "not_probed"));
}

static void print_reason(const char *reason, FILE *out)
{
	if (reason && *reason) {
		fputs(": ", out);
		verbs_print_visible(out, reason);
	}
	fputc('\n', out);
}

static void print_watch(const json_t *w, FILE *out)
{
	char span[32];
	bool filtered;

	if (!json_is_object(w))
		return;
	filtered = string_at(w, "action") && strcmp(string_at(w, "action"), "filter") == 0;
	fputs("state      ", out);
	verbs_print_visible(out, string_at(w, "state"));
	if (json_is_integer(json_object_get(w, "open_left_ms")))
		fprintf(out, ", for another %s",
		        verbs_format_span(json_integer_value(json_object_get(w, "open_left_ms")),
		                          span));
	fputs("; last verdict: ", out);
	verbs_print_visible(out, string_at(w, "verdict"));
	fputs("; action: ", out);
	verbs_print_visible(out, string_at(w, "action"));
	fputc('\n', out);
	print_line(out, "because", string_at(w, "action_reason"));
	if (json_is_true(json_object_get(w, "blocked")))
		fprintf(out, "%s in the kernel, expires in %s, %" JSON_INTEGER_FORMAT " %s\n",
		        filtered ? "filter    " : "block     ",
		        verbs_format_span(
		            json_integer_value(json_object_get(w, "block_expires_ms")), span),
		        json_integer_value(json_object_get(w, filtered ? "denied" : "packets")),
		        filtered ? "requests refused" : "packets held off");
	if (string_at(w, "ack_who")) {
		fputs("ack        by ", out);
		verbs_print_visible(out, string_at(w, "ack_who"));
		fputs(" until ", out);
		verbs_print_visible(out, string_at(w, "ack_until"));
		print_reason(string_at(w, "ack_reason"), out);
	}
	print_line(out, "manual", string_at(w, "manual"));
	print_line(out, "until", string_at(w, "manual_until"));
}

static void print_breakers(const json_t *breakers, FILE *out)
{
	const json_t *b;
	size_t i;

	json_array_foreach (breakers, i, b) {
		const char *why = string_at(b, "does_not_fit");

		fputs(i == 0 ? "breakers   " : "           ", out);
		verbs_print_visible(out, string_at(b, "name"));
		if (json_is_true(json_object_get(b, "winner")))
			fputs(": the winner", out);
		else if (!why)
			fputs(": fits, but another one comes first", out);
		if (why) {
			fputs(": does not fit by ", out);
			verbs_print_visible(out, why);
		}
		fputc('\n', out);
	}
}

static void print_story(const json_t *answer, FILE *out)
{
	const json_t *story = json_object_get(answer, "story"), *line;
	json_int_t dropped = json_integer_value(json_object_get(answer, "story_dropped"));
	const size_t first = 8; /* STORY_FIRST of the agent: what was dropped came after these */
	size_t i;

	if (json_array_size(story) == 0) {
		fputs("\nnothing has happened so far\n", out);
		return;
	}
	fputc('\n', out);
	json_array_foreach (story, i, line) {
		if (i == first && dropped > 0)
			fprintf(out, "... %" JSON_INTEGER_FORMAT " lines are not kept\n", dropped);
		verbs_print_visible(out, string_at(line, "time"));
		fputs("  ", out);
		verbs_print_visible(out, string_at(line, "what"));
		fputc('\n', out);
	}
}

void verbs_print_explanation(const json_t *answer, FILE *out)
{
	print_line(out, "endpoint", string_at(answer, "endpoint"));
	print_listener(json_object_get(answer, "listener"), out);
	print_watch(json_object_get(answer, "watch"), out);
	print_breakers(json_object_get(answer, "breakers"), out);
	print_story(answer, out);
}
