/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/status_page.h"

#include "build_info.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/html.h"
#include "scanner/html_colours.h"
#include "scanner/verbs_table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define STYLE                                                                                      \
	HTML_COLOURS                                                                               \
	":root{--good:#1a7f37}@media(prefers-color-scheme:dark){:root{--good:#57d37a}}"            \
	"body{margin:0 auto;max-width:110rem;padding:1.5rem;font:15px/1.45 system-ui,sans-serif;"  \
	"color:var(--fg);background:var(--bg)}"                                                    \
	"h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}"           \
	"dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:.5rem 0 1rem}dt{color:var(--dim);"   \
	"font-size:.85em}dd{margin:0;overflow-wrap:anywhere}.count{font-size:1.4rem;"              \
	"font-weight:600}.table{overflow-x:auto}table{border-collapse:collapse;width:100%}"        \
	"th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;"                           \
	"border-bottom:1px solid var(--line)}th{background:var(--head);white-space:nowrap}"        \
	"td{overflow-wrap:anywhere;min-width:5rem}td:first-child code,.whole{white-space:nowrap}"  \
	"td.text{min-width:13rem}.high,.bad{color:var(--high);font-weight:600}"                    \
	".medium{color:var(--medium);font-weight:600}.low{color:var(--low)}.dim{color:var(--dim)}" \
	".good{color:var(--good)}p{margin:.2rem 0}code{font:.9em ui-monospace,monospace}"          \
	".banner{border:2px solid var(--high);border-radius:6px;padding:.6rem .8rem;margin:1rem "  \
	"0}"

static const char *string_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int64_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool has_number(const json_t *object, const char *key)
{
	return json_is_integer(json_object_get(object, key));
}

static bool true_at(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* A paragraph "name text"; nothing where there is no text. */
static void put_line(FILE *to, const char *name, const char *text)
{
	if (!*text)
		return;
	fprintf(to, "<p>%s%s%s", *name ? "<span class=\"dim\">" : "", name,
	        *name ? "</span> " : "");
	html_put_escaped(to, text);
	fputs("</p>", to);
}

static void put_span_line(FILE *to, const char *before, int64_t ms, const char *behind)
{
	char span[32];

	fprintf(to, "<p>%s<span class=\"whole\">%s</span>%s</p>", before,
	        verbs_format_span(ms, span), behind);
}

static void put_fact(FILE *to, const char *name, const char *class, const char *value)
{
	fprintf(to, "<div><dt>%s</dt><dd class=\"%s\">", name, class);
	html_put_escaped(to, *value ? value : "-");
	fputs("</dd></div>", to);
}

static void put_number(FILE *to, const char *name, const char *class, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	put_fact(to, name, class, text);
}

static void put_count(FILE *to, const char *name, int64_t value, const char *alarm)
{
	char class[32];

	snprintf(class, sizeof(class), "count %s", value > 0 ? alarm : "dim");
	put_number(to, name, class, value);
}

static void begin_table(FILE *to, const char *const *heads, size_t n)
{
	fputs("<div class=\"table\"><table>\n<thead><tr>", to);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "<th scope=\"col\">%s</th>", heads[i]);
	fputs("</tr></thead>\n<tbody>\n", to);
}

static void end_table(FILE *to)
{
	fputs("</tbody>\n</table></div>\n", to);
}

static void put_banner(FILE *to, const char *what, const char *why)
{
	fprintf(to, "<p class=\"banner\" role=\"alert\"><strong class=\"bad\">%s</strong> ", what);
	html_put_escaped(to, why);
	fputs("</p>\n", to);
}

static void put_banners(const struct status_page *p, FILE *to)
{
	const json_t *config = json_object_get(p->status, "config");
	const json_t *state = json_object_get(p->status, "state");
	char since[CLOCK_TEXT_LEN], what[96];

	if (p->silent) {
		snprintf(what, sizeof(what), "%s%s.",
		         p->status ? "The daemon does not answer; all below is of "
		                   : "The daemon does not answer",
		         p->status ? clock_format_wall(p->status_wall_ms, since) : "");
		put_banner(to, what, p->silent);
	}
	if (true_at(p->status, "panic"))
		put_banner(to, "Panic: nothing is enforced until <code>pprofwall resume</code>.",
		           string_at(p->status, "panic_reason"));
	if (config && !true_at(config, "last_reload_ok"))
		put_banner(to, "The last reload was refused; the configuration before is in force.",
		           string_at(config, "last_reload_error"));
	if (state && !true_at(state, "ok"))
		put_banner(to, "Decisions are not being saved; enforcement goes on.",
		           string_at(state, "error"));
}

static void put_summary(const struct status_page *p, FILE *to)
{
	const json_t *counts = json_object_get(p->status, "counts");
	const json_t *config = json_object_get(p->status, "config");
	const json_t *rollout = json_object_get(p->status, "rollout");
	char text[CLOCK_TEXT_LEN], span[32];

	fputs("<dl>", to);
	put_count(to, "exposed", number_at(counts, "exposed"), "high");
	put_count(to, "breakers open", number_at(counts, "open"), "medium");
	put_count(to, "half-open", number_at(counts, "half_open"), "medium");
	put_count(to, "blocked", number_at(counts, "blocked") - number_at(counts, "filtered"), "");
	put_count(to, "filtered", number_at(counts, "filtered"), "");
	put_count(to, "watched", number_at(counts, "endpoints"), "");
	fputs("</dl>\n<dl>", to);
	put_fact(to, "Mode", "",
	         true_at(rollout, "held_back") ? "observe: held back by enforce_percent"
	                                       : string_at(p->status, "mode"));
	put_fact(to, "Up for", "", verbs_format_span(number_at(p->status, "uptime_ms"), span));
	put_fact(to, "Configuration", "", string_at(config, "file"));
	put_fact(to, "Loaded", "whole", string_at(config, "loaded"));
	put_fact(to, "By", "", "pprofwall " PPROFWALL_VERSION);
	put_fact(to, "Written", "whole", clock_format_wall(p->now_wall_ms, text));
	fputs("</dl>\n", to);
}

static void put_owner(FILE *to, const json_t *e)
{
	fputs("<td><code>", to);
	html_put_escaped(to, string_at(e, "endpoint"));
	fputs("</code>", to);
	put_line(to, "",
	         *string_at(e, "program") ? string_at(e, "program") : string_at(e, "process"));
	put_line(to, "unit", string_at(e, "unit"));
	put_line(to, "container", string_at(e, "container"));
	put_line(to, "Go", string_at(e, "go_version"));
	fputs("</td>", to);
}

static const char *class_of(const char *severity)
{
	static const char *const known[] = {"high", "medium", "low"};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(severity, known[i]) == 0)
			return known[i];
	}
	return "dim";
}

static void put_seen(FILE *to, const json_t *e)
{
	fprintf(to, "<td><p class=\"%s\">", class_of(string_at(e, "severity")));
	html_put_escaped(to, string_at(e, "severity"));
	fprintf(to, "%s</p>", *string_at(e, "risk") ? " HIGH_RISK" : "");
	put_line(to, "", string_at(e, "verdict"));
	put_line(to, "also serves", string_at(e, "serves"));
	put_line(to, "last probe", string_at(e, "last_probe"));
	fputs("</td>", to);
}

/* Times of a page stand still: the moment is there beside what was left of it. */
static void put_clock(FILE *to, const json_t *e)
{
	fputs("<td>", to);
	put_line(to, "breaker", string_at(e, "rule"));
	put_line(to, "", string_at(e, "state"));
	if (has_number(e, "open_left_ms"))
		put_span_line(to, "probed again in ", number_at(e, "open_left_ms"), "");
	else
		put_span_line(to, "next probe in ", number_at(e, "next_probe_ms"), "");
	put_line(to, "at", string_at(e, "open_until"));
	put_line(to, "since", string_at(e, "first_seen"));
	if (*string_at(e, "manual")) {
		put_line(to, "by hand:", string_at(e, "manual"));
		put_line(to, "until", string_at(e, "manual_until"));
	}
	if (*string_at(e, "ack_who")) {
		put_line(to, "acknowledged by", string_at(e, "ack_who"));
		put_line(to, "until", string_at(e, "ack_until"));
		put_line(to, "", string_at(e, "ack_reason"));
	}
	fputs("</td>", to);
}

static void put_wall(FILE *to, const json_t *e)
{
	const json_t *wall = json_object_get(e, "wall");
	const char *state = string_at(wall, "state");

	fputs("<td class=\"text\">", to);
	if (strcmp(string_at(e, "action"), "filter") == 0) {
		put_span_line(to, "<strong>filtered</strong>, for another ",
		              number_at(e, "block_expires_ms"), "");
		fprintf(to, "<p>requests refused: %" PRId64 "</p>", number_at(e, "denied"));
	} else if (true_at(e, "blocked")) {
		put_span_line(to, "<strong>blocked</strong>, for another ",
		              number_at(e, "block_expires_ms"), "");
		fprintf(to, "<p>packets held off: %" PRId64 "</p>", number_at(e, "packets"));
	} else {
		put_line(to, "not blocked:", string_at(e, "action"));
	}
	if (strcmp(state, "verified") == 0)
		fprintf(to, "<p class=\"good\">tried: a stranger is refused%s</p>",
		        strcmp(string_at(e, "action"), "filter") == 0 ? " profiling" : "");
	else if (strcmp(state, "ineffective") == 0)
		fputs("<p class=\"bad\">tried: a stranger is let through</p>", to);
	put_line(to, "", string_at(wall, "why"));
	put_line(to, "", string_at(e, "action_reason"));
	put_line(to, "", string_at(e, "block_error"));
	fputs("</td>", to);
}

static void put_cut(FILE *to, const json_t *page)
{
	enum { FIRST_CLIENTS = 3 };
	const json_t *peers = json_object_get(page, "peers"), *peer;
	int64_t listed = 0, cut = number_at(page, "cut");
	size_t i;

	fputs("<td class=\"text\">", to);
	if (!page) {
		fputs("<span class=\"dim\">not observed</span></td>", to);
		return;
	}
	fprintf(to, "<p>%" PRId64 " %s, %" PRId64 " stay</p>", cut,
	        true_at(page, "blocked") ? "cut off" : "would be cut off", number_at(page, "stay"));
	json_array_foreach (peers, i, peer) {
		if (!true_at(peer, "cut") || listed == FIRST_CLIENTS)
			continue;
		listed++;
		put_line(to, "",
		         *string_at(peer, "name") ? string_at(peer, "name")
		                                  : string_at(peer, "address"));
	}
	if (cut > listed)
		fprintf(to, "<p class=\"dim\">and %" PRId64 " more</p>", cut - listed);
	fputs("</td>", to);
}

static const json_t *find_page(const json_t *impact, const char *endpoint)
{
	const json_t *page;
	size_t i;

	json_array_foreach (json_object_get(impact, "endpoints"), i, page) {
		if (strcmp(string_at(page, "endpoint"), endpoint) == 0)
			return page;
	}
	return NULL;
}

/* What there is something to say about: exposed, blocked, decided on, half-way there. */
static bool is_of_interest(const json_t *e)
{
	return strcmp(string_at(e, "state"), "closed") != 0 || true_at(e, "blocked") ||
	       true_at(e, "quarantined") || *string_at(e, "manual") || *string_at(e, "risk") ||
	       strcmp(string_at(e, "verdict"), "confirmed") == 0 ||
	       strcmp(string_at(e, "verdict"), "likely") == 0;
}

static void put_endpoints(const struct status_page *p, FILE *to)
{
	static const char *const heads[] = {"Endpoint", "Seen", "Breaker", "Wall", "Who is cut"};
	const json_t *e;
	size_t i, shown = 0;

	fputs("<h2>Exposures, breakers and walls</h2>\n", to);
	json_array_foreach (json_object_get(p->status, "endpoints"), i, e) {
		if (!is_of_interest(e))
			continue;
		if (shown++ == 0)
			begin_table(to, heads, ARRAY_LEN(heads));
		fputs("<tr>", to);
		put_owner(to, e);
		put_seen(to, e);
		put_clock(to, e);
		put_wall(to, e);
		put_cut(to, find_page(p->impact, string_at(e, "endpoint")));
		fputs("</tr>\n", to);
	}
	if (shown)
		end_table(to);
	else
		fputs("<p class=\"good\">Nothing is exposed, and nothing is blocked.</p>\n", to);
}

static void put_peers(FILE *to, const json_t *page)
{
	static const char *const heads[] = {"Client",    "Name",        "First seen",
	                                    "Last seen", "Connections", "What becomes of it"};
	const json_t *peers = json_object_get(page, "peers"), *peer;
	size_t i;

	fputs("<details><summary><code>", to);
	html_put_escaped(to, string_at(page, "endpoint"));
	fprintf(to, "</code>: %zu clients</summary>\n", json_array_size(peers));
	begin_table(to, heads, ARRAY_LEN(heads));
	json_array_foreach (peers, i, peer) {
		static const char *const keys[] = {"address", "name", "first_seen", "last_seen"};

		fputs("<tr>", to);
		for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
			fputs("<td>", to);
			html_put_escaped(to, string_at(peer, keys[k]));
			fputs("</td>", to);
		}
		fprintf(to, "<td>%" PRId64 "</td><td>%s", number_at(peer, "connections"),
		        true_at(peer, "cut") ? "cut off" : "stays: ");
		html_put_escaped(to, string_at(peer, "stays"));
		fputs(true_at(peer, "connected") ? ", connected now</td></tr>\n" : "</td></tr>\n",
		      to);
	}
	end_table(to);
	fputs("</details>\n", to);
}

static void put_impact(const struct status_page *p, FILE *to)
{
	const json_t *pages = json_object_get(p->impact, "endpoints"), *page;
	size_t i;

	if (json_array_size(pages) == 0)
		return;
	fputs("<h2>Clients</h2>\n", to);
	json_array_foreach (pages, i, page)
		put_peers(to, page);
}

static void put_sink(FILE *to, const json_t *sink)
{
	static const char *const numbers[] = {"queued", "delivered", "retries", "gave_up"};

	fputs("<tr><td>", to);
	html_put_escaped(to, string_at(sink, "name"));
	fputs("</td>", to);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		fprintf(to, "<td>%" PRId64 "</td>", number_at(sink, numbers[i]));
	fputs("<td>", to);
	put_line(to, "", string_at(sink, "oldest"));
	fputs("</td><td class=\"text\">", to);
	if (strcmp(string_at(sink, "circuit"), "open") == 0)
		fputs("<p class=\"bad\">failing, tried about once a minute</p>", to);
	put_line(to, "quiet hours until", string_at(sink, "quiet_until"));
	put_line(to, "", string_at(sink, "last_error"));
	fputs("</td></tr>\n", to);
}

static void put_alerts(const struct status_page *p, FILE *to)
{
	static const char *const heads[] = {"Sink",    "Waiting", "Delivered",       "Tried again",
	                                    "Gave up", "Oldest",  "The last attempt"};
	const json_t *sinks = json_object_get(json_object_get(p->status, "alerts"), "sinks"), *sink;
	size_t i;

	fputs("<h2>Alerts</h2>\n", to);
	if (json_array_size(sinks) == 0) {
		fputs("<p class=\"medium\">No sink is configured: nobody is told.</p>\n", to);
		return;
	}
	begin_table(to, heads, ARRAY_LEN(heads));
	json_array_foreach (sinks, i, sink)
		put_sink(to, sink);
	end_table(to);
}

static void put_processes(const struct status_page *p, FILE *to)
{
	const json_t *process, *firewall = json_object_get(p->status, "firewall");
	const json_t *listeners = json_object_get(p->status, "listeners");
	size_t i;

	fputs("<h2>Health</h2>\n<dl>", to);
	json_array_foreach (json_object_get(p->status, "processes"), i, process) {
		bool answers = true_at(process, "answering");
		char text[64];

		snprintf(text, sizeof(text), "%s, %" PRId64 " restarts",
		         answers ? "answers" : "DOES NOT ANSWER", number_at(process, "restarts"));
		fputs("<div><dt>", to);
		html_put_escaped(to, string_at(process, "role"));
		fprintf(to, "</dt><dd class=\"%s\">%s</dd></div>", answers ? "good" : "bad", text);
	}
	put_fact(to, "table", "",
	         true_at(firewall, "persist") ? "owned, survives a flush" : "plain");
	put_number(to, "restored after a flush", "", number_at(firewall, "reconciliations"));
	if (true_at(listeners, "watched")) {
		put_number(to, "listeners", "", number_at(listeners, "count"));
		put_number(to, "of them probed", "", number_at(listeners, "probed"));
		put_number(to, "network namespaces", "", number_at(listeners, "namespaces"));
		put_fact(to, "noticed by", true_at(listeners, "synced") ? "" : "bad",
		         string_at(listeners, "mode"));
	}
	fputs("</dl>\n", to);
}

static void put_sources(const struct status_page *p, FILE *to)
{
	static const char *const heads[] = {"Source", "State", "Since", "Stands for", "Error"};
	const json_t *sources = json_object_get(p->status, "allow_from"), *source;
	size_t i;

	if (json_array_size(sources) == 0)
		return;
	fputs("<h2>Who may still connect: files and names</h2>\n", to);
	begin_table(to, heads, ARRAY_LEN(heads));
	json_array_foreach (sources, i, source) {
		bool good = strcmp(string_at(source, "state"), "good") == 0;

		fputs("<tr><td><code>", to);
		html_put_escaped(to, string_at(source, "source"));
		fprintf(to, "</code></td><td class=\"%s\">", good ? "good" : "bad");
		html_put_escaped(to, string_at(source, "state"));
		fputs("</td><td>", to);
		html_put_escaped(to, string_at(source, "since"));
		fprintf(to, "</td><td>%" PRId64 " prefixes</td><td class=\"text\">",
		        number_at(source, "prefixes"));
		html_put_escaped(to, string_at(source, "error"));
		fputs("</td></tr>\n", to);
	}
	end_table(to);
}

void status_page_write(const struct status_page *p, FILE *to)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	      "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n",
	      to);
	if (p->refresh_s)
		fprintf(to, "<meta http-equiv=\"refresh\" content=\"%u\">\n", p->refresh_s);
	fputs("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<title>pprofwall on ",
	      to);
	html_put_escaped(to, p->host);
	fputs("</title>\n<style>" STYLE "</style>\n</head>\n<body>\n<h1>pprofwall on ", to);
	html_put_escaped(to, p->host);
	fputs("</h1>\n", to);
	put_banners(p, to);
	if (p->status) {
		put_summary(p, to);
		put_endpoints(p, to);
		put_impact(p, to);
		put_alerts(p, to);
		put_sources(p, to);
		put_processes(p, to);
	}
	fputs("</body>\n</html>\n", to);
}
