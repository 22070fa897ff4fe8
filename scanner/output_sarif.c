/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SARIF 2.1.0 (OASIS). The rules are fixed, so that the tool stands before the results; whether
 * the scan completed stands behind them, in the end that is written over (output.h). A result
 * holds its finding, whole, among its properties.
 */
#include "build_info.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/output_format.h"

#include <errno.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

/* The numbers are what GitHub sorts alerts by (security-severity, as in CVSS). */
static const struct rule {
	const char *id, *level, *score, *name, *text, *help;
} rules[] = {
    {"go-pprof/high", "error", "7.5", "GoProfilingReadable",
     "Go profiling endpoint gives away stacks, memory or the command line",
     "Anybody who reaches the port can read stacks, heap contents and the command line with its "
     "secrets, or slow the program down by profiling it. Serve net/http/pprof on a mux of its own "
     "that listens on loopback or asks for authentication; where the product has a switch for "
     "profiling, use it; where it has none, restrict who reaches the port."},
    {"go-pprof/medium", "warning", "5.3", "GoProfilingIndex", "Go profiling endpoint answers",
     "The index or some profiles are readable. Serve net/http/pprof on a mux of its own that "
     "listens on loopback or asks for authentication, or restrict who reaches the port."},
    {"go-pprof/low", "note", "3.1", "GoProfilingTrace", "Part of a Go profiling endpoint answers",
     "Little is readable, but profiling code is mounted. Remove it from what others reach."},
    {"go-pprof/info", "note", "0.0", "GoProfilingProtected",
     "Go profiling endpoint is there, and protected",
     "It asks for authentication. Make sure that this is meant, and that the credentials are not "
     "those of everybody."},
    {"debug-page/high", "error", "7.5", "DebugPageReadable",
     "Debug page gives away the program's inner state",
     "Restrict who reaches the port, or move the page to a listener on loopback."},
    {"debug-page/medium", "warning", "5.3", "DebugPageAnswers", "Debug page answers",
     "Restrict who reaches the port, or move the page to a listener on loopback."},
    {"debug-page/low", "note", "3.1", "DebugPageMinor", "Debug page of lesser weight answers",
     "expvar and its relatives tell of memory, requests and command lines. Restrict who reaches "
     "the port, or move the page to a listener on loopback."},
    {"debug-page/info", "note", "0.0", "DebugPageProtected", "Debug page is there, and protected",
     "It asks for authentication. Make sure that this is meant."},
    {"no-exposure", "none", "0.0", "NoExposure", "No profiling endpoint was seen",
     "Nothing to do. What was filtered or in error was not judged."},
};

static const struct rule *find_rule(const struct finding *f, size_t *index)
{
	bool shown = f->severity != SEVERITY_NONE;
	bool is_go = !f->kind || strcmp(f->kind, "go-pprof") == 0;
	char id[64];

	snprintf(id, sizeof(id), "%s/%s", is_go ? "go-pprof" : "debug-page",
	         finding_severity_name(f->severity));
	for (*index = 0; *index < ARRAY_LEN(rules) - 1; (*index)++)
		if (shown && strcmp(rules[*index].id, id) == 0)
			break;
	return &rules[*index];
}

/* 3.27.9: what is no failure has the level "none". */
static const char *find_result_kind(enum finding_verdict verdict, bool fails)
{
	if (fails)
		return "fail";
	switch (verdict) {
	case VERDICT_CLEAR: return "pass";
	case VERDICT_CLOSED: return "notApplicable";
	case VERDICT_CONFIRMED:
	case VERDICT_LIKELY:
	case VERDICT_PROTECTED:
	case VERDICT_UNKNOWN:
	case VERDICT_FILTERED:
	case VERDICT_ERROR:
	case VERDICT_COUNT: break;
	}
	return "open";
}

static json_t *make_rules(void)
{
	auto_json json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_LEN(rules); i++) {
		const struct rule *r = &rules[i];
		json_t *rule = json_pack(
		    "{s:s, s:s, s:{s:s}, s:{s:s}, s:{s:s}, s:s, s:{s:s}, s:{s:[s, s], s:s, s:s}}",
		    "id", r->id, "name", r->name, "shortDescription", "text", r->text,
		    "fullDescription", "text", r->help, "help", "text", r->help, "helpUri",
		    "https://pkg.go.dev/net/http/pprof", "defaultConfiguration", "level", r->level,
		    "properties", "tags", "security", "external/cwe/cwe-497", "security-severity",
		    r->score, "precision", "very-high");

		if (json_array_append_new(list, rule) < 0)
			return NULL;
	}
	return steal_ptr(&list);
}

static int put_json(FILE *to, const json_t *value)
{
	auto_free char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	if (!text)
		return -ENOMEM;
	fputs(text, to);
	return 0;
}

static int begin(struct output *o, FILE *to)
{
	auto_json json_t *list = make_rules();
	auto_json json_t *details = json_pack("{s:s}", "id", o->scan_id);
	int err;

	fputs(
	    "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\","
	    "\"runs\":[{\"tool\":{\"driver\":{\"name\":\"pprofwall\",\"semanticVersion\":\"" //
	    PPROFWALL_VERSION "\",\"rules\":",
	    to);
	err = put_json(to, list);
	fputs("}},\"automationDetails\":", to);
	if (!err)
		err = put_json(to, details);
	fputs(",\"columnKind\":\"unicodeCodePoints\",\"results\":[", to);
	return err;
}

/* For people: what and where, why, and what to do. */
static char *make_message(const struct finding *f, const struct rule *rule)
{
	char endpoint[ENDPOINT_TEXT_LEN], *text = NULL;
	const char *program = output_find_program(f);
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	fprintf(to, "%s: %s", endpoint_format(&f->endpoint, endpoint), rule->text);
	if (program)
		fprintf(to, " (%s)", program);
	fprintf(to, ". Verdict %s", finding_verdict_name(f->verdict));
	for (size_t i = 0; i < f->evidence.count; i++)
		fprintf(to, "%s%s", i ? ", " : ", by ", f->evidence.items[i]);
	fprintf(to, ".%s%s", f->advice ? " " : "", f->advice ? f->advice : "");
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}

/* The same endpoint and kind are the same alert in the next scan. */
static json_t *make_fingerprint(const struct finding *f)
{
	char endpoint[ENDPOINT_TEXT_LEN];

	return json_sprintf("%s %s %s", endpoint_format(&f->endpoint, endpoint),
	                    f->host ? f->host : "-", f->kind ? f->kind : "-");
}

static int add_evidence(const struct output *o, json_t *result, const struct evidence_files *files)
{
	json_t *list = json_array();

	if (json_object_set_new(result, "attachments", list) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < files->count; i++) {
		auto_free char *uri = NULL;
		size_t size;
		FILE *to = open_memstream(&uri, &size);

		if (!to)
			return -ENOMEM;
		output_put_uri(to, o->evidence_links);
		output_put_uri(to, files->items[i].name);
		if (fclose(to) != 0 ||
		    json_array_append_new(list,
		                          json_pack("{s:{s:s}, s:{s:s}, s:{s:s}}", "description",
		                                    "text", "an answer of the endpoint, as it came",
		                                    "artifactLocation", "uri", uri, "properties",
		                                    "sha256", files->items[i].sha256)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int row(struct output *o, FILE *to, const struct output_row *row)
{
	const struct finding *f = row->finding;
	char endpoint[ENDPOINT_TEXT_LEN];
	size_t index;
	const struct rule *rule = find_rule(f, &index);
	bool fails = strcmp(rule->level, "none") != 0;
	auto_free char *message = make_message(f, rule);
	auto_free char *uri = output_make_uri(f);
	auto_json json_t *result = NULL;

	if (!message || !uri)
		return -ENOMEM;
	result = json_pack(
	    "{s:s, s:i, s:s, s:s, s:{s:s}, s:[{s:{s:{s:s}}, s:[{s:s, s:s}]}], s:{s:o}, s:{s:o}}",
	    "ruleId", rule->id, "ruleIndex", (int)index, "kind",
	    find_result_kind(f->verdict, fails), "level", rule->level, "message", "text", message,
	    "locations", "physicalLocation", "artifactLocation", "uri", uri, "logicalLocations",
	    "fullyQualifiedName", endpoint_format(&f->endpoint, endpoint), "kind", "resource",
	    "partialFingerprints", "endpointAndKind/v1", make_fingerprint(f), "properties",
	    "finding", finding_to_json(f));
	/* The kind is "external": it is the user's file, not the code, that says so. */
	if (result && f->accepted &&
	    json_object_set_new(
	        result, "suppressions",
	        json_pack("[{s:s, s:s}]", "kind", "external", "justification", f->accepted)) < 0)
		return -ENOMEM;
	if (!result || (row->files->count > 0 && add_evidence(o, result, row->files) < 0))
		return -ENOMEM;
	fputs(o->rows ? ",\n" : "\n", to);
	return put_json(to, result);
}

static int end(struct output *o, FILE *to, bool complete)
{
	char started[OUTPUT_TIME_LEN], now[OUTPUT_TIME_LEN];

	fprintf(to,
	        "\n],\"invocations\":[{\"executionSuccessful\":%s,\"startTimeUtc\":\"%s\","
	        "\"endTimeUtc\":\"%s\"}]}]}\n",
	        complete ? "true" : "false", output_format_time(o->started_ms, started),
	        output_format_time(clock_wall_ms(), now));
	return 0;
}

const struct output_format_ops output_sarif = {
    .name = "sarif",
    .endings = {".sarif"},
    .begin = begin,
    .row = row,
    .end = end,
};
