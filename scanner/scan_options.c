/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_options.h"

#include "common/cleanup.h"
#include "conf/conf.h"
#include "scanner/scan_options_sweep.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

enum { TIMEOUT_MIN_MS = 10, TIMEOUT_MAX_MS = 10 * 60 * 1000 };

enum option_id {
	OPTION_PORTS = 1,
	OPTION_TIMEOUT,
	OPTION_SIGNATURES,
	OPTION_PREFIXES,
	OPTION_CONCURRENCY,
	OPTION_EXCLUDE,
	OPTION_HOST_HEADER,
	OPTION_RESOLVE,
	OPTION_SOURCE_ADDRESS,
	OPTION_INTERFACE,
	OPTION_PROXY,
	OPTION_HISTORY,
	OPTION_VANTAGE,
	OPTION_BLOCKS,
	OPTION_ACCEPT,
	OPTION_RELATIVES,
	OPTION_SERVES,
	OPTION_FORMAT,
	OPTION_ALL,
	OPTION_FAIL_ON,
	OPTION_SHOW_SECRETS,
	OPTION_OUTPUT,
	OPTION_EVIDENCE,
	OPTION_EXPLAIN,
	OPTION_QUIET,
	OPTION_HELP,
};

static const struct option long_options[] = {
    {"ports", required_argument, NULL, OPTION_PORTS},
    {"prefixes", required_argument, NULL, OPTION_PREFIXES},
    {"signatures", required_argument, NULL, OPTION_SIGNATURES},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"concurrency", required_argument, NULL, OPTION_CONCURRENCY},
    {"exclude", required_argument, NULL, OPTION_EXCLUDE},
    {"host-header", required_argument, NULL, OPTION_HOST_HEADER},
    {"resolve", required_argument, NULL, OPTION_RESOLVE},
    {"source-address", required_argument, NULL, OPTION_SOURCE_ADDRESS},
    {"interface", required_argument, NULL, OPTION_INTERFACE},
    {"proxy", required_argument, NULL, OPTION_PROXY},
    {"history", required_argument, NULL, OPTION_HISTORY},
    {"vantage", required_argument, NULL, OPTION_VANTAGE},
    {"blocks", required_argument, NULL, OPTION_BLOCKS},
    {"accept", required_argument, NULL, OPTION_ACCEPT},
    {"relatives", no_argument, NULL, OPTION_RELATIVES},
    {"serves", no_argument, NULL, OPTION_SERVES},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"all", no_argument, NULL, OPTION_ALL},
    {"fail-on", required_argument, NULL, OPTION_FAIL_ON},
    {"show-secrets", no_argument, NULL, OPTION_SHOW_SECRETS},
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"evidence", required_argument, NULL, OPTION_EVIDENCE},
    {"explain", no_argument, NULL, OPTION_EXPLAIN},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, OPTION_HELP},
    SCAN_SWEEP_LONG_OPTIONS,
    {NULL, 0, NULL, 0},
};

void scan_options_print_help(FILE *out)
{
	fputs("usage: pprofwall scan [OPTION]... TARGET...\n"
	      "\n"
	      "Looks for Go profiling endpoints (/debug/pprof and its relatives) that answer.\n"
	      "\n"
	      "TARGET is a host, an address, a network (10.0.0.0/8), HOST:PORT, [IPv6]:PORT, an\n"
	      "http or https URL, @FILE with one target a line, or - for standard input.\n"
	      "\n"
	      "  --ports LIST        for targets without a port: numbers, ranges, and the lists\n"
	      "                      classic, top10, top30, top60 (default: top30)\n"
	      "  --prefixes WHICH    default: others than /debug/pprof/ only where it looks like\n"
	      "                      Go; all: the known ones at every endpoint; or a list, asked\n"
	      "                      for at every endpoint besides /debug/pprof/\n"
	      "  --signatures FILE   adds to the shipped ports, prefixes, products, relatives\n"
	      "  --timeout DURATION  for one request in all, 10ms to 10m (default: 3s)\n"
	      "  --concurrency N     endpoints at once, 1 to 2048 (default: 256)\n"
	      "  --exclude LIST      addresses and networks that are not to be probed\n"
	      "  --exclude-file FILE the same, one a line; never.txt and special-purpose.txt lie\n"
	      "                      in share/pprofwall of the installation\n"
	      "  --host-header NAME  ask by this name (Host and TLS's SNI), whoever is asked\n"
	      "  --resolve HOST:PORT:ADDRESS\n"
	      "                      where a name is, instead of asking DNS; may be repeated\n"
	      "  --source-address ADDRESS, --interface NAME\n"
	      "                      from where to connect\n"
	      "  --proxy URL         an HTTP proxy (CONNECT), or @FILE with its URL; never taken\n"
	      "                      from the environment\n"
	      "  --history FILE      remember this sweep, for `pprofwall diff` and `report`\n"
	      "  --vantage NAME      from where, in the history (default: the host's name)\n"
	      "  --blocks FILE       what `pprofwall blocks --json` printed: a wall's answers\n"
	      "                      fix nothing\n"
	      "  --accept FILE       accepted risks: marked, and no reason for status 1\n"
	      "  --format FORMAT     table, ndjson, csv, sarif or html (default: table)\n"
	      "  --output FILE       write findings there: with --format instead of standard\n"
	      "                      output, else besides the table, as .ndjson, .csv, .sarif or\n"
	      "                      .html says; up to 8 times\n"
	      "  --evidence DIR      keep the answers that decided, and their SHA-256 sums\n"
	      "  --explain           show every request and answer, and which rule decided\n"
	      "  --relatives         ask for expvar and other debug pages everywhere, not only\n"
	      "                      where one request tells that it is a Go server\n"
	      "  --serves            ask what is exposed for /metrics and /, too: what else\n"
	      "                      would a closed port take away?\n"
	      "  --all               also what is protected, clear, closed, filtered, ...\n"
	      "  --fail-on WHAT      exit with 1 from here on: confirmed, likely, or a severity:\n"
	      "                      info (with what is protected), low, medium, high; or never\n"
	      "                      (default: low)\n"
	      "  --show-secrets      do not redact command lines and evidence\n"
	      "  --quiet             no progress and no summary on standard error\n"
	      "\n",
	      out);
	fputs("Sweeps:\n"
	      "  --method METHOD     how open ports are found: syn (own packets, as root),\n"
	      "                      connect, direct (no search: each endpoint is asked at once),\n"
	      "                      or auto: direct for few endpoints, else syn or connect\n"
	      "  --rate N            SYNs or connections of the search per second, and as many\n"
	      "                      probes begun; 0: no limit (default: 2000)\n"
	      "  --per-host-rate N   the same for one host (default: 0, none)\n"
	      "  --retries N         of unanswered SYNs, 0 to 10; auto: as the measured loss\n"
	      "                      demands (default: auto)\n"
	      "  --threads N         that probe, 1 to 4 (default: one for each processor)\n"
	      "  --seed N            the order in which endpoints are visited (default: another\n"
	      "                      each time; with --shard one that follows from the targets)\n"
	      "  --shard I/N         the I-th of N parts of the sweep; all shards are given the\n"
	      "                      same targets, ports, exclusions and seed\n"
	      "  --input-format NAME of files: lines, nmap-xml, nmap-grep, masscan-json,\n"
	      "                      masscan-list, naabu-json (default: auto, by their beginning)\n"
	      "  --addresses WHICH   of a name: all, or first (default: all)\n"
	      "  --resume FILE       keep there how far the sweep is, and go on from there\n"
	      "  --start-at PLACE    go on from where an interrupted scan said it was; takes its\n"
	      "                      --seed, too\n"
	      "  --stop-file FILE    stop as soon as this file exists (or at once, if it does)\n"
	      "  --dry-run           say what would be sent and how long it would take\n"
	      "  --contact TEXT      whom to complain to, in every request's User-Agent\n"
	      "  --metrics-file FILE metrics of the sweep, for node_exporter's textfile collector\n"
	      "  --trailer           end NDJSON with a line about the sweep (with --shard always)\n"
	      "  --no-printer-guard  send to ports 9100 to 9107 without looking for a printer\n"
	      "  --no-accept-all-guard\n"
	      "                      probe also hosts that accept every port\n"
	      "  --help              this text\n"
	      "\n"
	      "Exit status: 0 nothing at or above --fail-on, 1 something found, 2 usage error,\n"
	      "3 the scan did not complete; what was found until then is written all the same.\n",
	      out);
}

int scan_options_refuse(char why[static SCAN_ERROR_LEN], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SCAN_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

static int set_timeout(struct scan_options *o, const char *text, char why[static SCAN_ERROR_LEN])
{
	int64_t ms;

	if (conf_parse_duration(text, &ms) < 0 || ms < TIMEOUT_MIN_MS || ms > TIMEOUT_MAX_MS)
		return scan_options_refuse(
		    why,
		    "--timeout: '%.32s' is not a duration from 10ms to 10m, such as 500ms or 3s",
		    text);
	o->timeout_ms = ms;
	return 0;
}

static int set_concurrency(struct scan_options *o, const char *text,
                           char why[static SCAN_ERROR_LEN])
{
	uint64_t n;

	if (conf_parse_number(text, SCAN_MAX_CONCURRENCY, &n) < 0 || n == 0)
		return scan_options_refuse(why,
		                           "--concurrency: '%.32s' is not a number from 1 to %d",
		                           text, SCAN_MAX_CONCURRENCY);
	o->concurrency = (unsigned)n;
	return 0;
}

static int add_exclude(struct scan_options *o, const char *text, char why[static SCAN_ERROR_LEN])
{
	struct prefix prefix;
	enum prefix_error bad = prefix_parse(text, &prefix);

	/* To exclude more than was meant would be a silent hole. */
	if (bad != PREFIX_OK)
		return scan_options_refuse(
		    why, "--exclude: '%.64s' is no address and no network%s", text,
		    bad == PREFIX_HOST_BITS ? ": it has bits beyond its length" : "");
	if (!o->excludes)
		o->excludes = exclude_set_new();
	if (!o->excludes || exclude_set_add(o->excludes, &prefix) < 0)
		return scan_options_refuse(why, "--exclude: out of memory");
	return 0;
}

static int add_excludes(struct scan_options *o, const char *list, char why[static SCAN_ERROR_LEN])
{
	auto_free char *copy = strdup(list);
	char *rest = copy, *item;
	int err = copy ? 0 : scan_options_refuse(why, "out of memory");

	while (!err && (item = strsep(&rest, ",")))
		err = add_exclude(o, item, why);
	return err;
}

/* It stands in tables, and sweeps are found by it. */
static int set_vantage(struct scan_options *o, const char *text, char why[static SCAN_ERROR_LEN])
{
	size_t length = strlen(text);

	for (const char *p = text; *p; p++) {
		if (*p <= 0x20 || *p >= 0x7f)
			length = 0;
	}
	if (length == 0 || length > SCAN_MAX_VANTAGE)
		return scan_options_refuse(
		    why, "--vantage: expected 1 to %d letters, digits and signs", SCAN_MAX_VANTAGE);
	o->ledger.vantage = text;
	return 0;
}

static int set_route(struct scan_options *o, int id, const char *value,
                     char why[static SCAN_ERROR_LEN])
{
	static const struct {
		int id;
		const char *name;
		int (*set)(struct scan_route *r, const char *text,
		           char why[static SCAN_ROUTE_ERROR_LEN]);
	} setters[] = {
	    {OPTION_HOST_HEADER, "host-header", scan_route_set_host},
	    {OPTION_RESOLVE, "resolve", scan_route_add_resolve},
	    {OPTION_SOURCE_ADDRESS, "source-address", scan_route_set_source},
	    {OPTION_INTERFACE, "interface", scan_route_set_interface},
	    {OPTION_PROXY, "proxy", scan_route_set_proxy},
	};
	char reason[SCAN_ROUTE_ERROR_LEN];
	size_t i = 0;

	while (setters[i].id != id)
		i++;
	if (setters[i].set(&o->route, value, reason) < 0)
		return scan_options_refuse(why, "--%s: %s", setters[i].name, reason);
	return 0;
}

static int set_fail_on(struct scan_options *o, const char *text, char why[static SCAN_ERROR_LEN])
{
	enum finding_severity severity;

	if (strcmp(text, "never") == 0) {
		o->fail_on = SCAN_FAIL_ON_NEVER;
	} else if (strcmp(text, "likely") == 0) {
		o->fail_on = SCAN_FAIL_ON_LIKELY;
	} else if (strcmp(text, "confirmed") == 0) {
		o->fail_on = SCAN_FAIL_ON_CONFIRMED;
	} else if (finding_severity_parse(text, &severity) == 0 && severity > SEVERITY_NONE) {
		o->fail_on = SCAN_FAIL_ON_SEVERITY;
		o->fail_severity = severity;
	} else {
		return scan_options_refuse(
		    why,
		    "--fail-on: '%.32s' is not one of confirmed, likely, info, low, "
		    "medium, high, never",
		    text);
	}
	return 0;
}

static int add_output(struct scan_options *o, const char *path, char why[static SCAN_ERROR_LEN])
{
	if (o->n_outputs == SCAN_MAX_OUTPUTS)
		return scan_options_refuse(why, "--output: more than %d files", SCAN_MAX_OUTPUTS);
	o->outputs[o->n_outputs++] = path;
	return 0;
}

static int set_option(struct scan_options *o, int id, const char *value,
                      char why[static SCAN_ERROR_LEN])
{
	switch ((enum option_id)id) {
	case OPTION_PORTS: o->ports_text = value; return 0;
	case OPTION_PREFIXES: o->prefixes = value; return 0;
	case OPTION_SIGNATURES: o->signatures_file = value; return 0;
	case OPTION_TIMEOUT: return set_timeout(o, value, why);
	case OPTION_CONCURRENCY: return set_concurrency(o, value, why);
	case OPTION_EXCLUDE: return add_excludes(o, value, why);
	case OPTION_HOST_HEADER:
	case OPTION_RESOLVE:
	case OPTION_SOURCE_ADDRESS:
	case OPTION_INTERFACE:
	case OPTION_PROXY: return set_route(o, id, value, why);
	case OPTION_HISTORY: o->ledger.history = value; return 0;
	case OPTION_VANTAGE: return set_vantage(o, value, why);
	case OPTION_BLOCKS: o->ledger.blocks = value; return 0;
	case OPTION_ACCEPT: o->ledger.accept = value; return 0;
	case OPTION_RELATIVES: o->relatives = true; return 0;
	case OPTION_SERVES: o->serves = true; return 0;
	case OPTION_FORMAT:
		if (output_parse_format(value, &o->format) < 0)
			return scan_options_refuse(
			    why, "--format: '%.32s' is not table, ndjson, csv, sarif or html",
			    value);
		o->format_given = true;
		return 0;
	case OPTION_FAIL_ON: return set_fail_on(o, value, why);
	case OPTION_OUTPUT: return add_output(o, value, why);
	case OPTION_EVIDENCE: o->evidence = value; return 0;
	case OPTION_EXPLAIN: o->explain = true; return 0;
	case OPTION_ALL: o->all = true; return 0;
	case OPTION_SHOW_SECRETS: o->show_secrets = true; return 0;
	case OPTION_QUIET: o->quiet = true; return 0;
	case OPTION_HELP: o->help = true; return 0;
	}
	return scan_options_refuse(why, "option %d is not handled", id);
}

/* What getopt_long() has refused. */
static int refuse_option(int id, char **argv, char why[static SCAN_ERROR_LEN])
{
	const char *given = argv[optind > 1 ? optind - 1 : 1];

	if (id == ':')
		return scan_options_refuse(why, "%.64s needs a value", given);
	if (optopt >= 0x20) /* of several letters in one word, the one that it stopped at */
		return scan_options_refuse(why, "unknown option '-%c'; options have long names",
		                           optopt);
	if (optopt != 0)
		return scan_options_refuse(why, "'%.64s': this option takes no value", given);
	return scan_options_refuse(why, "unknown or ambiguous option '%.64s'", given);
}

static int parse_into(int argc, char **argv, struct scan_options *o,
                      char why[static SCAN_ERROR_LEN])
{
	int err = 0;
	int id;

	optind = 0; /* glibc: start anew, also after another verb's parsing */
	opterr = 0;
	while (!err && (id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == '?' || id == ':')
			return refuse_option(id, argv, why);
		err = scan_options_set_sweep(o, id, optarg, why);
		if (err == 1)
			err = set_option(o, id, optarg, why);
	}
	if (err < 0)
		return err;
	if (o->explain && o->format_given && o->n_outputs == 0)
		return scan_options_refuse(
		    why, "--explain has a form of its own: leave --format out, or give "
		         "it an --output");
	err = scan_options_check_sweep(o, why);
	if (err < 0)
		return err;
	o->targets = argv + optind;
	o->n_targets = (size_t)(argc - optind);
	if (o->n_targets == 0 && !o->help)
		return scan_options_refuse(
		    why, "no target; `pprofwall scan --help` shows what can be one");
	return 0;
}

int scan_options_parse(int argc, char **argv, struct scan_options *out,
                       char why[static SCAN_ERROR_LEN])
{
	struct scan_options o = {
	    .ports_text = "top30",
	    .timeout_ms = 3000,
	    .concurrency = 256,
	    .fail_on = SCAN_FAIL_ON_SEVERITY,
	    .fail_severity = SEVERITY_LOW,
	    .rate_per_sec = SCAN_DEFAULT_RATE,
	    .retries = -1,
	    .shard = {0, 1},
	};
	int err = parse_into(argc, argv, &o, why);

	if (err < 0) {
		scan_options_fini(&o);
		return err;
	}
	*out = o;
	return 0;
}

bool scan_options_prints(const struct scan_options *o)
{
	return !o->explain && (o->n_outputs == 0 || !o->format_given);
}

void scan_options_fini(struct scan_options *o)
{
	port_list_free(&o->ports);
	exclude_set_free(o->excludes);
	scan_route_fini(&o->route);
	signatures_free(o->signatures);
}

bool scan_options_fails_on(const struct scan_options *o, const struct finding *f)
{
	bool exposed = f->verdict == VERDICT_CONFIRMED || f->verdict == VERDICT_LIKELY;

	if (f->accepted)
		return false;
	switch (o->fail_on) {
	case SCAN_FAIL_ON_NEVER: return false;
	case SCAN_FAIL_ON_CONFIRMED: return f->verdict == VERDICT_CONFIRMED;
	case SCAN_FAIL_ON_LIKELY: return exposed;
	case SCAN_FAIL_ON_SEVERITY: break;
	}
	return (exposed || f->verdict == VERDICT_PROTECTED) && f->severity >= o->fail_severity;
}
