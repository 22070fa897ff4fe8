/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/block_options.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "conf/conf.h"
#include "scanner/verbs.h"

#include <getopt.h>
#include <string.h>

enum { GO_ON = -1 };

enum option_id {
	OPTION_SOCKET = 1,
	OPTION_REASON,
	OPTION_FOR,
	OPTION_FROM,
	OPTION_JSON,
	OPTION_DRY_RUN,
	OPTION_SEVERITY,
	OPTION_VERDICT,
	OPTION_ACCEPTED,
	OPTION_ALLOW,
	OPTION_STANDALONE,
	OPTION_PRINT,
	OPTION_EVEN_SSH,
	OPTION_BESIDE_DAEMON,
	OPTION_HELP,
};

static const char usage[] =
    "usage: pprofwall block --reason TEXT [--for DURATION] ADDRESS:PORT...\n"
    "       pprofwall block --from FILE [--reason TEXT] [--for DURATION]\n"
    "       pprofwall block --standalone [--for DURATION] [--allow CIDR,...] ADDRESS:PORT...\n"
    "       pprofwall block --print nft|networkpolicy [--allow CIDR,...] ADDRESS:PORT...\n"
    "  --reason TEXT    why; made up from the scan with --from\n"
    "  --for DURATION   how long it holds, e.g. 90m or 7d; default 1h\n"
    "  --from FILE      what `pprofwall scan --format ndjson` found, - for standard input, in\n"
    "                   place of ADDRESS:PORT; all of it is blocked, or nothing\n"
    "  --severity NAME  of that: the least severity; default medium\n"
    "  --verdict NAMES  of that: which verdicts; default confirmed,likely\n"
    "  --accepted       of that: accepted risks too\n"
    "  --dry-run        say what would be done, and do nothing\n"
    "  --json           print the daemon's answer as it came\n"
    "  --socket PATH    of the daemon; default " CONTROL_DEFAULT_SOCKET "\n"
    "without a daemon, as root:\n"
    "  --standalone     block in the kernel, in a table of its own, until the time is over\n"
    "  --allow CIDR,... who is let through all the same; may be repeated\n"
    "  --even-ssh       port 22, and the SSH session one sits in, may be blocked\n"
    "  --beside-daemon  although a daemon runs\n"
    "without privileges:\n"
    "  --print nft      the rules, for `nft -f`; expiring only with --for\n"
    "  --print networkpolicy   a NetworkPolicy of Kubernetes\n";

static int refuse(const char *what, const char *value)
{
	fprintf(stderr, "pprofwall block: %s%s%s\n", what, value ? ": " : "", value ? value : "");
	return VERB_USAGE;
}

static int add_prefix(struct block_options *o, const char *text)
{
	enum prefix_error error;
	struct prefix *grown;
	struct prefix p;

	error = prefix_parse(text, &p);
	if (error == PREFIX_HOST_BITS)
		return refuse("--allow: bits are set beyond the prefix's length", text);
	if (error != PREFIX_OK)
		return refuse("--allow wants addresses or CIDR prefixes", text);
	if (o->n_allow == BLOCK_MAX_ALLOW)
		return refuse("--allow: more than 1024 prefixes", NULL);
	grown = realloc(o->allow, (o->n_allow + 1) * sizeof(*grown));
	if (!grown)
		return refuse("out of memory", NULL);
	o->allow = grown;
	o->allow[o->n_allow++] = p;
	return GO_ON;
}

/* Calls `take` for each part between commas. */
static int split(struct block_options *o, const char *list,
                 int (*take)(struct block_options *, const char *))
{
	auto_free char *copy = strdup(list);
	char *rest = copy, *part;
	int status = GO_ON;

	if (!copy)
		return refuse("out of memory", NULL);
	while (status == GO_ON && (part = strsep(&rest, ",")))
		status = take(o, part);
	return status;
}

static int add_verdict(struct block_options *o, const char *name)
{
	enum finding_verdict verdict;

	if (finding_verdict_parse(name, &verdict) != 0)
		return refuse("--verdict: no such verdict", name);
	o->filter.verdicts |= 1U << verdict;
	return GO_ON;
}

static int add_endpoints(struct block_options *o, int n, char **texts)
{
	if (n > BLOCK_MAX_ENDPOINTS)
		return refuse("at most 2048 endpoints in one go", NULL);
	o->endpoints = calloc((size_t)n, sizeof(*o->endpoints));
	if (!o->endpoints)
		return refuse("out of memory", NULL);
	for (int i = 0; i < n; i++) {
		if (endpoint_parse(texts[i], &o->endpoints[i]) != 0)
			return refuse(strstr(texts[i], "@netns:")
			                  ? "the firewall does not reach into a network namespace"
			                  : "not a numeric ADDRESS:PORT",
			              texts[i]);
	}
	o->n_endpoints = (size_t)n;
	return GO_ON;
}

static int check_reason(const char *reason)
{
	json_t *text = json_string(reason);

	json_decref(text);
	if (!text || !*reason)
		return refuse("--reason wants text in UTF-8", NULL);
	if (strlen(reason) > CONTROL_REASON_MAX_BYTES)
		return refuse("--reason is longer than 512 bytes", NULL);
	return GO_ON;
}

/* Which ways know an option; those not named here belong to all of them. */
static int check_ways(const struct block_options *o, uint32_t given)
{
	enum {
		DAEMON = 1 << BLOCK_BY_DAEMON,
		STANDALONE = 1 << BLOCK_STANDALONE,
		NFT = 1 << BLOCK_PRINT_NFT,
		POLICY = 1 << BLOCK_PRINT_POLICY
	};
	static const struct {
		enum option_id id;
		unsigned ways;
		const char *why;
	} rules[] = {
	    {OPTION_REASON, DAEMON, "--reason: only the daemon remembers it"},
	    {OPTION_JSON, DAEMON, "--json: only the daemon's answer is JSON"},
	    {OPTION_DRY_RUN, DAEMON, "--dry-run: only the daemon can tell what it would do"},
	    {OPTION_SOCKET, DAEMON | STANDALONE, "--socket: there is nothing to ask"},
	    {OPTION_FOR, DAEMON | STANDALONE | NFT, "--for: a NetworkPolicy does not expire"},
	    {OPTION_ALLOW, STANDALONE | NFT | POLICY,
	     "--allow: a daemon's manual blocks let protect.sources through, and nobody else"},
	    {OPTION_EVEN_SSH, STANDALONE, "--even-ssh goes with --standalone"},
	    {OPTION_BESIDE_DAEMON, STANDALONE, "--beside-daemon goes with --standalone"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (given & 1U << rules[i].id && !(rules[i].ways & 1U << o->way))
			return refuse(rules[i].why, NULL);
	}
	if (given & 1U << OPTION_STANDALONE && given & 1U << OPTION_PRINT)
		return refuse("--standalone and --print exclude each other", NULL);
	return GO_ON;
}

static int check(struct block_options *o, uint32_t given, int n_arguments, char **arguments)
{
	const uint32_t of_from =
	    1U << OPTION_SEVERITY | 1U << OPTION_VERDICT | 1U << OPTION_ACCEPTED;
	int status = check_ways(o, given);

	if (status != GO_ON)
		return status;
	if (!o->filter.verdicts)
		o->filter.verdicts = 1U << VERDICT_CONFIRMED | 1U << VERDICT_LIKELY;
	if (o->from) {
		if (n_arguments)
			return refuse("--from takes the place of endpoints", arguments[0]);
	} else {
		if (given & of_from)
			return refuse("--severity, --verdict and --accepted go with --from", NULL);
		if (!n_arguments)
			return refuse("wants one ADDRESS:PORT or more, or --from FILE", NULL);
		if (o->way == BLOCK_BY_DAEMON && !o->reason)
			return refuse("--reason TEXT is required; others will ask", NULL);
		status = add_endpoints(o, n_arguments, arguments);
	}
	if (status == GO_ON && o->reason)
		status = check_reason(o->reason);
	return status;
}

static int take_value(struct block_options *o, int id, const char *value)
{
	switch (id) {
	case OPTION_SOCKET: o->socket = value; break;
	case OPTION_REASON: o->reason = value; break;
	case OPTION_FROM: o->from = value; break;
	case OPTION_ALLOW: return split(o, value, add_prefix);
	case OPTION_VERDICT: return split(o, value, add_verdict);
	case OPTION_FOR:
		o->for_given = true;
		if (conf_parse_duration(value, &o->for_ms) != 0 || o->for_ms < 1000 ||
		    o->for_ms > INT64_C(30) * 24 * 3600 * 1000)
			return refuse("--for wants a duration from 1s to 30d, such as 90m", value);
		break;
	case OPTION_SEVERITY:
		if (finding_severity_parse(value, &o->filter.floor) != 0)
			return refuse("--severity wants high, medium, low, info or none", value);
		break;
	case OPTION_PRINT:
		if (strcmp(value, "nft") == 0)
			o->way = BLOCK_PRINT_NFT;
		else if (strcmp(value, "networkpolicy") == 0)
			o->way = BLOCK_PRINT_POLICY;
		else
			return refuse("--print wants nft or networkpolicy", value);
		break;
	default: break;
	}
	return GO_ON;
}

static void take_flag(struct block_options *o, int id)
{
	switch (id) {
	case OPTION_JSON: o->json = true; break;
	case OPTION_DRY_RUN: o->dry_run = true; break;
	case OPTION_ACCEPTED: o->filter.accepted = true; break;
	case OPTION_EVEN_SSH: o->even_ssh = true; break;
	case OPTION_BESIDE_DAEMON: o->beside_daemon = true; break;
	case OPTION_STANDALONE: o->way = BLOCK_STANDALONE; break;
	default: break;
	}
}

int block_options_parse(int argc, char **argv, struct block_options *o)
{
	static const struct option known[] = {
	    {"socket", required_argument, NULL, OPTION_SOCKET},
	    {"reason", required_argument, NULL, OPTION_REASON},
	    {"for", required_argument, NULL, OPTION_FOR},
	    {"from", required_argument, NULL, OPTION_FROM},
	    {"json", no_argument, NULL, OPTION_JSON},
	    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	    {"severity", required_argument, NULL, OPTION_SEVERITY},
	    {"verdict", required_argument, NULL, OPTION_VERDICT},
	    {"accepted", no_argument, NULL, OPTION_ACCEPTED},
	    {"allow", required_argument, NULL, OPTION_ALLOW},
	    {"standalone", no_argument, NULL, OPTION_STANDALONE},
	    {"print", required_argument, NULL, OPTION_PRINT},
	    {"even-ssh", no_argument, NULL, OPTION_EVEN_SSH},
	    {"beside-daemon", no_argument, NULL, OPTION_BESIDE_DAEMON},
	    {"help", no_argument, NULL, OPTION_HELP},
	    {NULL, 0, NULL, 0},
	};
	uint32_t given = 0;
	int id, status;

	*o = (struct block_options){.socket = CONTROL_DEFAULT_SOCKET,
	                            .for_ms = BLOCK_DEFAULT_FOR_MS,
	                            .filter.floor = SEVERITY_MEDIUM};
	optind = 0;
	while ((id = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (id == OPTION_HELP || id == '?') {
			fputs(usage, id == '?' ? stderr : stdout);
			return id == '?' ? VERB_USAGE : VERB_OK;
		}
		given |= 1U << id;
		take_flag(o, id);
		status = take_value(o, id, optarg);
		if (status != GO_ON)
			return status;
	}
	return check(o, given, argc - optind, argv + optind);
}

void block_options_fini(struct block_options *o)
{
	free(o->allow);
	free(o->endpoints);
	o->allow = NULL;
	o->endpoints = NULL;
}
