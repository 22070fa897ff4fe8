/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/verbs_table.h"

#include "common/cleanup.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum { MAX_COLUMNS = 12, CELL_LEN = 96, FEW_SKIPPED = 10 };

struct table {
	size_t n_columns, n_rows;
	char (*cells)[MAX_COLUMNS][CELL_LEN];
};

const char *verbs_format_span(int64_t ms, char text[static 32])
{
	int64_t seconds = ms > 0 ? (ms + 500) / 1000 : 0;

	if (seconds >= 86400)
		snprintf(text, 32, "%" PRId64 "d%" PRId64 "h", seconds / 86400,
		         seconds % 86400 / 3600);
	else if (seconds >= 3600)
		snprintf(text, 32, "%" PRId64 "h%02" PRId64 "m", seconds / 3600,
		         seconds % 3600 / 60);
	else if (seconds >= 60)
		snprintf(text, 32, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
	else
		snprintf(text, 32, "%" PRId64 "s", seconds);
	return text;
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int64_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool true_at(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* Some of it comes from servers that were probed: a terminal must not obey it. */
static void copy_visible(char *out, size_t length, const char *text)
{
	snprintf(out, length, "%s", text && *text ? text : "-");
	for (char *c = out; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

void verbs_print_visible(FILE *out, const char *text)
{
	char copy[1024];

	copy_visible(copy, sizeof(copy), text);
	fputs(copy, out);
}

static bool make_table(struct table *t, const char *const *heads, size_t n_columns, size_t n_rows)
{
	t->n_columns = n_columns;
	t->n_rows = 1;
	t->cells = calloc(n_rows + 1, sizeof(*t->cells));
	for (size_t i = 0; t->cells && i < n_columns; i++)
		copy_visible(t->cells[0][i], CELL_LEN, heads[i]);
	return t->cells != NULL;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void print_table(struct table *t, FILE *out)
{
	int widths[MAX_COLUMNS] = {0};

	for (size_t row = 0; row < t->n_rows; row++) {
		for (size_t i = 0; i < t->n_columns; i++) {
			int width = width_of(t->cells[row][i]);

			widths[i] = width > widths[i] ? width : widths[i];
		}
	}
	for (size_t row = 0; row < t->n_rows; row++) {
		for (size_t i = 0; i < t->n_columns; i++) {
			int pad = widths[i] - width_of(t->cells[row][i]) + 2;

			fputs(t->cells[row][i], out);
			if (i + 1 < t->n_columns)
				fprintf(out, "%*s", pad, "");
		}
		fputc('\n', out);
	}
	free(t->cells);
}

static void print_config(const json_t *config, FILE *out)
{
	fputs("config     ", out);
	verbs_print_visible(out, string_at(config, "file"));
	fprintf(out, ", generation %" PRId64 ", loaded ", number_at(config, "generation"));
	verbs_print_visible(out, string_at(config, "loaded"));
	if (!true_at(config, "last_reload_ok")) {
		fputs("\n           the last reload FAILED: ", out);
		verbs_print_visible(out, string_at(config, "last_reload_error"));
	}
	fputc('\n', out);
}

static void print_processes(const json_t *processes, FILE *out)
{
	const json_t *process;
	size_t i;

	json_array_foreach (processes, i, process) {
		fputs(i == 0 ? "processes  " : ", ", out);
		verbs_print_visible(out, string_at(process, "role"));
		fprintf(out, " (pid %" PRId64, number_at(process, "pid"));
		if (number_at(process, "restarts") > 0)
			fprintf(out, ", %" PRId64 " restarts", number_at(process, "restarts"));
		fputs(true_at(process, "answering") ? ")" : ", NOT ANSWERING)", out);
	}
	if (json_array_size(processes) > 0)
		fputc('\n', out);
}

static void print_sink(const json_t *sink, FILE *out)
{
	const char *circuit = string_at(sink, "circuit");
	bool failing = circuit && strcmp(circuit, "open") == 0;

	fputs("           ", out);
	verbs_print_visible(out, string_at(sink, "name"));
	fprintf(out, ": %" PRId64 " delivered, %" PRId64 " retries, %" PRId64 " gave up",
	        number_at(sink, "delivered"), number_at(sink, "retries"),
	        number_at(sink, "gave_up"));
	if (number_at(sink, "lost"))
		fprintf(out, ", %" PRId64 " lost", number_at(sink, "lost"));
	if (number_at(sink, "untold"))
		fprintf(out, " (%" PRId64 " not told of yet)", number_at(sink, "untold"));
	if (number_at(sink, "queued")) {
		fprintf(out, "; %" PRId64 " queued, the oldest of ", number_at(sink, "queued"));
		verbs_print_visible(out, string_at(sink, "oldest"));
	}
	fputc('\n', out);
	if (string_at(sink, "quiet_until")) {
		fputs("             quiet hours: told what waits at ", out);
		verbs_print_visible(out, string_at(sink, "quiet_until"));
		fputc('\n', out);
	}
	if (failing || string_at(sink, "last_error")) {
		fputs(failing ? "             FAILING, tried about once a minute: "
		              : "             the last attempt failed: ",
		      out);
		verbs_print_visible(out, string_at(sink, "last_error"));
		fputc('\n', out);
	}
}

static void print_alerts(const json_t *alerts, FILE *out)
{
	const json_t *sinks = json_object_get(alerts, "sinks"), *sink;
	size_t i;

	fprintf(out, "alerts     %" PRId64 " queued\n", number_at(alerts, "queued"));
	json_array_foreach (sinks, i, sink)
		print_sink(sink, out);
}

static void print_targets(const json_t *targets, FILE *out)
{
	const json_t *unresolved = json_object_get(targets, "unresolved"), *name;
	size_t i;

	fprintf(out, "targets    %" PRId64 " endpoints", number_at(targets, "endpoints"));
	json_array_foreach (unresolved, i, name) {
		fputs(i == 0 ? "; NOT RESOLVED: " : ", ", out);
		verbs_print_visible(out, json_string_value(name));
	}
	fputc('\n', out);
}

static void print_skipped(const json_t *listeners, FILE *out)
{
	const json_t *list = json_object_get(listeners, "not_probed"), *l;
	int64_t total = number_at(listeners, "count") - number_at(listeners, "probed");
	size_t i;

	json_array_foreach (list, i, l) {
		if (i == FEW_SKIPPED && (int64_t)json_array_size(list) < total) {
			fprintf(out, "           ... and %" PRId64 " more; --all lists them\n",
			        total - FEW_SKIPPED);
			return;
		}
		fputs("           not probed: ", out);
		verbs_print_visible(out, string_at(l, "bound"));
		fputs(" (", out);
		verbs_print_visible(out, string_at(l, "process"));
		fputs("): ", out);
		verbs_print_visible(out, string_at(l, "not_probed"));
		fputc('\n', out);
	}
}

static void print_listeners(const json_t *listeners, FILE *out)
{
	if (!true_at(listeners, "watched")) {
		fputs("listeners  not watched (scan.listeners is false)\n", out);
		return;
	}
	fprintf(out,
	        "listeners  %" PRId64 " in %" PRId64 " namespaces (%" PRId64
	        " of the host, %" PRId64 " in containers), %" PRId64 " probed; noticed by ",
	        number_at(listeners, "count"), number_at(listeners, "namespaces"),
	        number_at(listeners, "in_host"), number_at(listeners, "in_containers"),
	        number_at(listeners, "probed"));
	verbs_print_visible(out, string_at(listeners, "mode"));
	if (string_at(listeners, "why_no_events")) {
		fputs(", no events: ", out);
		verbs_print_visible(out, string_at(listeners, "why_no_events"));
	}
	if (!true_at(listeners, "synced"))
		fputs("; NOT UP TO DATE", out);
	fputc('\n', out);
	print_skipped(listeners, out);
}

static void print_counts(const json_t *counts, FILE *out)
{
	fprintf(out,
	        "endpoints  %" PRId64 " watched, %" PRId64 " exposed; breakers: %" PRId64
	        " open, %" PRId64 " half-open; %" PRId64 " blocked, %" PRId64 " filtered\n",
	        number_at(counts, "endpoints"), number_at(counts, "exposed"),
	        number_at(counts, "open"), number_at(counts, "half_open"),
	        number_at(counts, "blocked") - number_at(counts, "filtered"),
	        number_at(counts, "filtered"));
}

static void print_filter(const json_t *filter, FILE *out)
{
	const char *reason, *before = " (";
	json_t *denied = json_object_get(filter, "denied"), *count;
	int64_t total = 0;

	if (!json_is_object(filter))
		return;
	json_object_foreach (denied, reason, count)
		total += json_integer_value(count);
	fprintf(out, "filter     %s%" PRId64 " requests passed, %" PRId64 " denied",
	        true_at(filter, "answering") ? "" : "NOT ANSWERING; ", number_at(filter, "passed"),
	        total);
	json_object_foreach (denied, reason, count) {
		if (json_integer_value(count) == 0)
			continue;
		fputs(before, out);
		verbs_print_visible(out, reason);
		fprintf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(count));
		before = ", ";
	}
	fprintf(out, "%s; %" PRId64 " connections\n", total > 0 ? ")" : "",
	        number_at(filter, "open"));
}

static void print_head(const json_t *status, FILE *out)
{
	const json_t *firewall = json_object_get(status, "firewall");
	const json_t *state = json_object_get(status, "state");
	char span[32];

	fputs("pprofwall ", out);
	verbs_print_visible(out, string_at(status, "version"));
	fputs(", mode ", out);
	verbs_print_visible(out, string_at(status, "mode"));
	fprintf(out, ", up %s\n", verbs_format_span(number_at(status, "uptime_ms"), span));
	if (true_at(status, "panic")) {
		fputs("PANIC      nothing is enforced until `pprofwall resume`; reason: ", out);
		verbs_print_visible(out, string_at(status, "panic_reason"));
		fputc('\n', out);
	}
	print_config(json_object_get(status, "config"), out);
	print_processes(json_object_get(status, "processes"), out);
	fprintf(out, "firewall   %" PRId64 " blocks, %s table, %" PRId64 " reconciliations\n",
	        number_at(firewall, "blocks"),
	        true_at(firewall, "persist") ? "owned, persistent" : "plain",
	        number_at(firewall, "reconciliations"));
	print_filter(json_object_get(status, "filter"), out);
	fputs("state      ", out);
	if (true_at(state, "ok"))
		fputs("ok", out);
	else
		verbs_print_visible(out, string_at(state, "error"));
	fputc('\n', out);
	print_alerts(json_object_get(status, "alerts"), out);
	print_targets(json_object_get(status, "targets"), out);
	print_listeners(json_object_get(status, "listeners"), out);
	print_counts(json_object_get(status, "counts"), out);
}

static void fill_state(char cell[static CELL_LEN], const json_t *e)
{
	const char *manual = string_at(e, "manual"), *until = string_at(e, "manual_until");
	bool has_left = json_is_integer(json_object_get(e, "open_left_ms"));
	char text[CELL_LEN], span[32];

	if (manual)
		snprintf(text, sizeof(text), "manual %.16s until %.32s", manual,
		         until ? until : "-");
	else
		snprintf(text, sizeof(text), "%.32s%s%s%s%s", string_at(e, "state"),
		         has_left ? ", for " : "",
		         has_left ? verbs_format_span(number_at(e, "open_left_ms"), span) : "",
		         true_at(e, "quarantined") ? " (quarantined)" : "",
		         string_at(e, "ack_who") ? ", acknowledged" : "");
	copy_visible(cell, CELL_LEN, text);
}

static void fill_blocked(char cell[static CELL_LEN], const json_t *e)
{
	const char *error = string_at(e, "block_error"), *action = string_at(e, "action");
	bool filtered = action && strcmp(action, "filter") == 0;
	char text[CELL_LEN], span[32];

	if (error)
		snprintf(text, sizeof(text), "%s: %.80s", true_at(e, "blocked") ? "yes" : "no",
		         error);
	else if (true_at(e, "blocked") && json_is_integer(json_object_get(e, "block_expires_ms")))
		snprintf(text, sizeof(text), "%s, %s left", filtered ? "filtered" : "yes",
		         verbs_format_span(number_at(e, "block_expires_ms"), span));
	else
		snprintf(text, sizeof(text), "%s", true_at(e, "blocked") ? "yes" : "no");
	copy_visible(cell, CELL_LEN, text);
}

static void fill_endpoint(char cells[static MAX_COLUMNS][CELL_LEN], const json_t *e)
{
	char span[32], text[CELL_LEN] = "";

	copy_visible(cells[0], CELL_LEN, string_at(e, "endpoint"));
	copy_visible(cells[1], CELL_LEN, string_at(e, "rule"));
	fill_state(cells[2], e);
	copy_visible(cells[3], CELL_LEN, string_at(e, "verdict"));
	copy_visible(cells[4], CELL_LEN, string_at(e, "severity"));
	copy_visible(cells[5], CELL_LEN, string_at(e, "risk"));
	fill_blocked(cells[6], e);
	copy_visible(cells[7], CELL_LEN, string_at(e, "last_probe"));
	copy_visible(cells[8], CELL_LEN, verbs_format_span(number_at(e, "next_probe_ms"), span));
	copy_visible(cells[9], CELL_LEN, string_at(e, "program"));
	if (json_is_integer(json_object_get(e, "packets")))
		snprintf(cells[10], CELL_LEN, "%" PRId64, number_at(e, "packets"));
	else
		copy_visible(cells[10], CELL_LEN, NULL);
	if (string_at(e, "container"))
		snprintf(text, sizeof(text), "container %.12s", string_at(e, "container"));
	copy_visible(cells[11], CELL_LEN, *text ? text : string_at(e, "unit"));
}

void verbs_print_status(const json_t *status, FILE *out)
{
	static const char *const heads[] = {"ENDPOINT",   "RULE",    "STATE",   "VERDICT",
	                                    "SEVERITY",   "RISK",    "BLOCKED", "LAST PROBE",
	                                    "NEXT PROBE", "PROGRAM", "PACKETS", "UNIT"};
	const json_t *endpoints = json_object_get(status, "endpoints"), *endpoint;
	struct table t;
	size_t i;

	print_head(status, out);
	if (json_array_size(endpoints) == 0 ||
	    !make_table(&t, heads, ARRAY_LEN(heads), json_array_size(endpoints)))
		return;
	json_array_foreach (endpoints, i, endpoint)
		fill_endpoint(t.cells[t.n_rows++], endpoint);
	fputc('\n', out);
	print_table(&t, out);
}

static void fill_block(char cells[static MAX_COLUMNS][CELL_LEN], const json_t *b)
{
	const char *reason = string_at(b, "reason"), *ack = string_at(b, "ack_who");
	char span[32], text[CELL_LEN];

	copy_visible(cells[0], CELL_LEN, string_at(b, "endpoint"));
	copy_visible(cells[1], CELL_LEN, true_at(b, "manual") ? "manual" : string_at(b, "rule"));
	copy_visible(cells[2], CELL_LEN, string_at(b, "action"));
	copy_visible(cells[3], CELL_LEN, verbs_format_span(number_at(b, "expires_ms"), span));
	snprintf(cells[4], CELL_LEN, "%" PRId64, number_at(b, "packets"));
	snprintf(cells[5], CELL_LEN, "%" PRId64, number_at(b, "bytes"));
	copy_visible(cells[6], CELL_LEN, string_at(b, "who"));
	snprintf(text, sizeof(text), "%s%s%s", ack ? "acknowledged by " : "", ack ? ack : "",
	         ack && reason ? ": " : "");
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", reason ? reason : "");
	copy_visible(cells[7], CELL_LEN, text);
}

void verbs_print_blocks(const json_t *answer, FILE *out)
{
	static const char *const heads[] = {"ENDPOINT", "RULE",  "ACTION", "EXPIRES IN",
	                                    "PACKETS",  "BYTES", "WHO",    "REASON"};
	const json_t *blocks = json_object_get(answer, "blocks"), *block;
	struct table t;
	size_t i;

	if (json_array_size(blocks) == 0) {
		fputs("nothing is blocked\n", out);
		return;
	}
	if (!make_table(&t, heads, ARRAY_LEN(heads), json_array_size(blocks)))
		return;
	json_array_foreach (blocks, i, block)
		fill_block(t.cells[t.n_rows++], block);
	print_table(&t, out);
}

static void print_test(const json_t *sink, FILE *out)
{
	const json_t *http = json_object_get(sink, "http_status");

	verbs_print_visible(out, string_at(sink, "name"));
	if (!true_at(sink, "delivered")) {
		fprintf(out, ": failed after %" PRId64 " ms: ", number_at(sink, "took_ms"));
		verbs_print_visible(out, string_at(sink, "error"));
		fputc('\n', out);
		return;
	}
	fputs(": delivered", out);
	if (json_is_integer(http))
		fprintf(out, ", HTTP %" PRId64, (int64_t)json_integer_value(http));
	fprintf(out, " in %" PRId64 " ms\n", number_at(sink, "took_ms"));
}

void verbs_print_tests(const json_t *answer, FILE *out)
{
	const json_t *sink;
	size_t i;

	json_array_foreach (json_object_get(answer, "sinks"), i, sink)
		print_test(sink, out);
}
