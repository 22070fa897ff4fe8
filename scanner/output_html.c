/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One file that needs no network and, to be read, no JavaScript: a table with everything in it. A
 * small script sorts and filters; the policy in the head lets nothing else run or load. The summary
 * is written last, when it is known, and shown first (CSS `order`). Whatever a server chose is
 * escaped.
 */
#include "scanner/output_format.h"

#include "build_info.h"
#include "common/clock.h"
#include "common/html.h"
#include "scanner/html_colours.h"

#include <inttypes.h>
#include <string.h>

/*
 * The hashes are of exactly what stands between the tags below, for the policy in the head; a
 * unit test computes them.
 */
#define STYLE                                                                                      \
	HTML_COLOURS                                                                               \
	"body{display:flex;flex-direction:column;margin:0 auto;max-width:110rem;padding:1.5rem;"   \
	"font:15px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg)}"                \
	"h1{font-size:1.5rem;margin:0 0 .5rem;order:-3}.summary{order:-2}main{order:1}"            \
	"dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:.5rem 0 1rem}dt{color:var(--dim);"   \
	"font-size:.85em}dd{margin:0;overflow-wrap:anywhere}"                                      \
	".count{font-size:1.4rem;font-weight:600}"                                                 \
	"input{font:inherit;width:100%;max-width:30rem;padding:.4rem .6rem;margin-bottom:1rem;"    \
	"border:1px solid var(--line);border-radius:6px;background:var(--bg);color:var(--fg)}"     \
	".table{overflow-x:auto}table{border-collapse:collapse;width:100%}"                        \
	"th,td{text-align:left;vertical-align:top;padding:.5rem .6rem;"                            \
	"border-bottom:1px solid var(--line)}"                                                     \
	"th{background:var(--head);white-space:nowrap}"                                            \
	"th button{all:unset;cursor:pointer;font:inherit;font-weight:600}"                         \
	"th button:focus-visible{outline:2px solid}"                                               \
	"th[aria-sort=ascending] button::after{content:\" \\2191\"}"                               \
	"th[aria-sort=descending] button::after{content:\" \\2193\"}"                              \
	"td{overflow-wrap:anywhere;min-width:6rem}td:first-child>code,.whole{white-space:nowrap}"  \
	"td.text{min-width:14rem}"                                                                 \
	".high{color:var(--high);font-weight:600}.medium{color:var(--medium);font-weight:600}"     \
	".low{color:var(--low)}.dim{color:var(--dim)}"                                             \
	"code{font:.9em ui-monospace,monospace}a{color:inherit}p{margin:.2rem 0}"                  \
	"[hidden]{display:none}"

#define SCRIPT                                                                                     \
	"'use strict';const table=document.querySelector('table'),body=table.tBodies[0];"          \
	"const key=(row,i)=>row.cells[i].dataset.key||row.cells[i].textContent.trim();"            \
	"document.querySelectorAll('th').forEach((th,i)=>{const b=document.createElement"          \
	"('button');b.type='button';b.textContent=th.textContent;th.replaceChildren(b);"           \
	"b.onclick=()=>{const up=th.getAttribute('aria-sort')!=='ascending';"                      \
	"document.querySelectorAll('th').forEach(t=>t.removeAttribute('aria-sort'));"              \
	"th.setAttribute('aria-sort',up?'ascending':'descending');"                                \
	"[...body.rows].sort((x,y)=>(up?1:-1)*key(x,i).localeCompare(key(y,i),undefined,"          \
	"{numeric:true})).forEach(r=>body.append(r))}});"                                          \
	"const f=document.createElement('input');f.type='search';"                                 \
	"f.placeholder='Filter: words, all of which must occur';"                                  \
	"f.setAttribute('aria-label','Filter');document.querySelector('main').prepend(f);"         \
	"f.oninput=()=>{const words=f.value.toLowerCase().split(/\\s+/);"                          \
	"for(const r of body.rows){const t=r.textContent.toLowerCase();"                           \
	"r.hidden=!words.every(w=>t.includes(w))}};"

#define STYLE_HASH  "sha256-ixz5WfGgKlaN6z1kP09aRCRzCvNItr9Z83ItWgN6nzc="
#define SCRIPT_HASH "sha256-mVpkfOXssACxRkelaWod6GJHp1g1C05s21LpDhIbz7Q="

static int begin(struct output *o, FILE *to)
{
	(void)o;
	fputs(
	    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	    "style-src '" STYLE_HASH "'; script-src '" SCRIPT_HASH
	    "'; base-uri 'none'; form-action 'none'\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	    "<title>pprofwall: exposed profiling endpoints</title>\n"
	    "<style>" STYLE "</style>\n</head>\n<body>\n"
	    "<h1>Exposed profiling endpoints</h1>\n"
	    "<main>\n<div class=\"table\">\n<table>\n<thead><tr><th scope=\"col\">Endpoint</th>"
	    "<th scope=\"col\">Severity</th><th scope=\"col\">Verdict</th>"
	    "<th scope=\"col\">Program</th><th scope=\"col\">Evidence</th>"
	    "<th scope=\"col\">What to do</th><th scope=\"col\">Seen</th></tr></thead>\n<tbody>\n",
	    to);
	return 0;
}

/* A paragraph "name: text"; nothing where there is no text. */
static void put_named(FILE *to, const char *name, const char *text)
{
	if (!text)
		return;
	fprintf(to, "<p><span class=\"dim\">%s</span> ", name);
	html_put_escaped(to, text);
	fputs("</p>", to);
}

static void put_list(FILE *to, const char *name, const struct finding_list *list)
{
	if (list->count == 0)
		return;
	fprintf(to, "<p><span class=\"dim\">%s</span> <code>", name);
	for (size_t i = 0; i < list->count; i++) {
		fputs(i ? " " : "", to);
		html_put_escaped(to, list->items[i]);
	}
	fputs("</code></p>", to);
}

static void put_endpoint(FILE *to, const struct finding *f)
{
	char endpoint[ENDPOINT_TEXT_LEN];

	fputs("<tr><td><code>", to);
	html_put_escaped(to, endpoint_format(&f->endpoint, endpoint));
	fputs("</code>", to);
	put_named(to, "host", f->host);
	put_named(to, "scheme", f->scheme);
	put_named(to, "path", f->path);
	put_list(to, "labels", &f->labels);
	put_named(to, "accepted", f->accepted);
	fputs("</td>", to);
}

static void put_program(FILE *to, const struct finding *f)
{
	fputs("<td class=\"text\">", to);
	if (f->program || f->module)
		fputs("<p>", to);
	html_put_escaped(to, f->program ? f->program : f->module ? f->module : "");
	if (f->program || f->module)
		fputs("</p>", to);
	if (f->program)
		put_named(to, "module", f->module);
	put_named(to, "Go", f->go_version);
	put_list(to, "command", &f->command);
	put_list(to, "known by", &f->identified_by);
	fputs("</td>", to);
}

static void put_files(const struct output *o, FILE *to, const struct evidence_files *files)
{
	if (files->count == 0)
		return;
	fprintf(to, "<details><summary>%zu answers kept</summary>", files->count);
	for (size_t i = 0; i < files->count; i++) {
		const struct evidence_file *file = &files->items[i];

		fputs("<p><a href=\"", to);
		/* its own quotes are escaped in a URI, but for ' and &, which do no harm here */
		output_put_uri(to, o->evidence_links);
		output_put_uri(to, file->name);
		fputs("\">", to);
		html_put_escaped(to, file->name);
		fprintf(to, "</a> <code class=\"dim\">sha256:%s</code></p>", file->sha256);
	}
	fputs("</details>", to);
}

static int row(struct output *o, FILE *to, const struct output_row *row)
{
	const struct finding *f = row->finding;
	const char *severity = finding_severity_name(f->severity);
	char when[OUTPUT_TIME_LEN];

	put_endpoint(to, f);
	fprintf(to, "<td data-key=\"%d%d\"><span class=\"whole %s\">%s%s</span></td><td>%s",
	        f->severity, f->high_risk, severity, severity, f->high_risk ? " HIGH_RISK" : "",
	        finding_verdict_name(f->verdict));
	put_named(to, "kind", f->kind);
	put_named(to, "because", f->error);
	fputs("</td>", to);
	put_program(to, f);
	fputs("<td class=\"text\">", to);
	put_list(to, "signs", &f->evidence);
	put_list(to, "profiles", &f->profiles);
	put_list(to, "also", &f->relatives);
	put_list(to, "serves", &f->serves);
	put_files(o, to, row->files);
	fputs("</td><td class=\"text\">", to);
	html_put_escaped(to, f->advice ? f->advice : "");
	fprintf(to, "</td><td><span class=\"whole\">%s</span>",
	        output_format_time(f->time_ms, when));
	put_named(to, "from", f->vantage);
	fputs("</td></tr>\n", to);
	return 0;
}

static void put_count(FILE *to, const char *name, const char *class, uint64_t count)
{
	fprintf(to, "<div><dt>%s</dt><dd class=\"count %s\">%" PRIu64 "</dd></div>", name, class,
	        count);
}

static void put_fact(FILE *to, const char *name, const char *value)
{
	fprintf(to, "<div><dt>%s</dt><dd>", name);
	html_put_escaped(to, value);
	fputs("</dd></div>", to);
}

static int end(struct output *o, FILE *to, bool complete)
{
	char started[OUTPUT_TIME_LEN], now[OUTPUT_TIME_LEN];

	fputs("</tbody>\n</table>\n</div>\n</main>\n<section class=\"summary\">\n<dl>", to);
	put_count(to, "HIGH_RISK", "high", o->high_risk);
	for (int s = SEVERITY_HIGH; s > SEVERITY_NONE; s--) {
		const char *name = finding_severity_name((enum finding_severity)s);

		put_count(to, name, name, o->severities[s]);
	}
	put_count(to, "not exposed", "dim", o->severities[SEVERITY_NONE]);
	fputs("</dl>\n<dl>", to);
	put_fact(to, "Begun", output_format_time(o->started_ms, started));
	put_fact(to, complete ? "Ended" : "State",
	         complete ? output_format_time(clock_wall_ms(), now) : "not complete");
	put_fact(to, "Scan", o->scan_id);
	put_fact(to, "Seen from", o->vantage ? o->vantage : "-");
	put_fact(to, "By", "pprofwall " PPROFWALL_VERSION);
	fputs("</dl>\n</section>\n<script>" SCRIPT "</script>\n</body>\n</html>\n", to);
	return 0;
}

const struct output_format_ops output_html = {
    .name = "html",
    .endings = {".html", ".htm"},
    .begin = begin,
    .row = row,
    .end = end,
};
