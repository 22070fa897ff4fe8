/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/verbs.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "common/endpoint.h"
#include "common/panic_marker.h"
#include "conf/conf.h"
#include "scanner/block.h"
#include "scanner/control_client.h"
#include "scanner/panic.h"
#include "scanner/verbs_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>

enum {
	ASK_TIMEOUT_MS = 5000,
	TEST_TIMEOUT_MS = CONTROL_TEST_MAX_MS + ASK_TIMEOUT_MS,
	DEFAULT_FOR_MS = 3600 * 1000,
	DEFAULT_ACK_MS = 24 * 3600 * 1000,
};

enum option_flag {
	WITH_JSON = 1,
	WITH_REASON = 2,
	WITH_FOR = 4,
	WITH_ENDPOINT = 8,
	WITH_CONFIG = 16,
	WITH_INSIDE = 32, /* the endpoint may be one inside a namespace */
	OF_ACK = 64,      /* the reason may lack, and it holds for a day */
	WITH_SINK = 128,
};

struct verb_options {
	const char *socket; /* NULL: the default */
	const char *reason, *config, *sink;
	struct endpoint endpoint;
	const char *inside; /* "@netns:NUMBER", which the daemon reads, or NULL */
	int64_t for_ms, timeout_ms;
	bool json;
};

enum parsed { GO_ON = -1 };

static bool needs_reason(unsigned flags)
{
	return (flags & WITH_REASON) && (flags & WITH_ENDPOINT) && !(flags & OF_ACK);
}

static void print_usage(FILE *out, const char *verb, unsigned flags)
{
	fprintf(out, "usage: pprofwall %s [--socket PATH]%s%s%s%s%s\n", verb,
	        flags & WITH_JSON ? " [--json]" : "", flags & WITH_CONFIG ? " [--config FILE]" : "",
	        !(flags & WITH_REASON) ? ""
	        : needs_reason(flags)  ? " --reason TEXT"
	                               : " [--reason TEXT]",
	        flags & WITH_FOR ? " [--for DURATION]" : "",
	        flags & WITH_SINK       ? " [NAME]"
	        : flags & WITH_INSIDE   ? " ADDRESS:PORT[@netns:NUMBER]"
	        : flags & WITH_ENDPOINT ? " ADDRESS:PORT"
	                                : "");
	if (strcmp(verb, "unblock") == 0)
		fputs("       pprofwall unblock --standalone [ADDRESS:PORT]...    as root: of what "
		      "`block\n       --standalone` made; without an endpoint all of it\n",
		      out);
	if (flags & WITH_FOR)
		fprintf(out, "  --for DURATION  how long it holds, e.g. 90m or 7d; default %s\n",
		        flags & OF_ACK ? "24h" : "1h");
	if (flags & WITH_SINK)
		fputs("  NAME            of one of the configuration's alerts; without it, each\n",
		      out);
	if (strcmp(verb, "blocks") == 0)
		fputs(
		    "       pprofwall blocks --standalone [--json]    as root, without a daemon\n",
		    out);
}

static int refuse(const char *verb, const char *what, const char *value)
{
	fprintf(stderr, "pprofwall %s: %s%s%s\n", verb, what, value ? ": " : "",
	        value ? value : "");
	return VERB_USAGE;
}

static int check_text(const char *verb, const char *reason)
{
	json_t *text = json_string(reason);

	json_decref(text);
	if (!text || !*reason)
		return refuse(verb, "--reason wants text in UTF-8", NULL);
	if (strlen(reason) > CONTROL_REASON_MAX_BYTES)
		return refuse(verb, "--reason is longer than 512 bytes", NULL);
	return GO_ON;
}

/* Up to `end`, or all of it. */
static int parse_endpoint(const char *text, const char *end, struct endpoint *out)
{
	auto_free char *endpoint = end ? strndup(text, (size_t)(end - text)) : strdup(text);

	return endpoint ? endpoint_parse(endpoint, out) : -ENOMEM;
}

static int check_options(int argc, char **argv, unsigned flags, struct verb_options *o)
{
	if (flags & WITH_ENDPOINT) {
		if (optind != argc - 1)
			return refuse(argv[0], "wants one ADDRESS:PORT", NULL);
		o->inside = flags & WITH_INSIDE ? strstr(argv[optind], "@netns:") : NULL;
		if (parse_endpoint(argv[optind], o->inside, &o->endpoint) != 0)
			return refuse(argv[0], "not a numeric ADDRESS:PORT", argv[optind]);
		if (!o->reason && needs_reason(flags))
			return refuse(argv[0], "--reason TEXT is required; others will ask", NULL);
	} else if (flags & WITH_SINK && optind == argc - 1) {
		o->sink = argv[optind];
	} else if (flags & WITH_SINK && optind != argc) {
		return refuse(argv[0], "takes one NAME at most, not", argv[optind + 1]);
	} else if (optind != argc) {
		return refuse(argv[0], "takes no argument", argv[optind]);
	}
	return o->reason ? check_text(argv[0], o->reason) : GO_ON;
}

/* Returns GO_ON, or the exit status. */
static int parse_options(int argc, char **argv, unsigned flags, struct verb_options *o)
{
	static const struct option known[] = {
	    {"socket", required_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {"reason", required_argument, NULL, 'r'},
	    {"for", required_argument, NULL, 'f'},
	    {"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct verb_options){.for_ms = flags & OF_ACK ? DEFAULT_ACK_MS : DEFAULT_FOR_MS,
	                           .timeout_ms = ASK_TIMEOUT_MS};
	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 's') {
			o->socket = optarg;
		} else if (c == 'j' && flags & WITH_JSON) {
			o->json = true;
		} else if (c == 'r' && flags & WITH_REASON) {
			o->reason = optarg;
		} else if (c == 'c' && flags & WITH_CONFIG) {
			o->config = optarg;
		} else if (c == 'f' && flags & WITH_FOR) {
			if (conf_parse_duration(optarg, &o->for_ms) != 0 || o->for_ms <= 0)
				return refuse(argv[0], "--for wants a duration such as 90m",
				              optarg);
		} else {
			print_usage(c == 'h' ? stdout : stderr, argv[0], flags);
			return c == 'h' ? VERB_OK : VERB_USAGE;
		}
	}
	return check_options(argc, argv, flags, o);
}

/*
 * Asks and takes over `request`. Returns VERB_OK with *answer (the caller's), or the exit status,
 * having said why; *error is then the -errno, or 0 when the daemon refused.
 */
static int ask(const char *verb, const struct verb_options *o, json_t *request, json_t **answer,
               int *error)
{
	const char *socket = o->socket ? o->socket : CONTROL_DEFAULT_SOCKET;
	char why[CONTROL_CLIENT_ERROR_LEN];
	const char *text;
	bool mistaken;

	*error = control_client_ask(socket, request, o->timeout_ms, answer, why);
	json_decref(request);
	if (*error) {
		fprintf(stderr, "pprofwall %s: %s\n", verb, why);
		return VERB_UNREACHABLE;
	}
	if (json_is_true(json_object_get(*answer, "ok")))
		return VERB_OK;
	text = json_string_value(json_object_get(*answer, "error"));
	fprintf(stderr, "pprofwall %s: %s\n", verb, text ? text : "refused, without a reason");
	if (o->json)
		json_dumpf(*answer, stdout, JSON_COMPACT);
	mistaken = json_is_true(json_object_get(*answer, "usage"));
	json_decref(*answer);
	return mistaken ? VERB_USAGE : VERB_REFUSED;
}

/* Standard output that could not be written must not look like success. */
static int flush_output(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

static int show(const struct verb_options *o, json_t *answer, void (*print)(const json_t *, FILE *))
{
	if (o->json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print(answer, stdout);
	}
	json_decref(answer);
	return flush_output();
}

/* Takes over `request`; prints what comes back. */
static int read_verb(const char *verb, const struct verb_options *o, json_t *request,
                     void (*print)(const json_t *, FILE *))
{
	json_t *answer = NULL;
	int error, status = ask(verb, o, request, &answer, &error);

	return status == VERB_OK ? show(o, answer, print) : status;
}

int blocks_main(int argc, char **argv)
{
	struct verb_options o;
	int status;

	if (standalone_is_meant(argc, argv))
		return standalone_blocks_main(argc, argv);
	status = parse_options(argc, argv, WITH_JSON, &o);

	if (status != GO_ON)
		return status;
	return read_verb(argv[0], &o, json_pack("{s:s}", "verb", argv[0]), verbs_print_blocks);
}

/* The endpoint as it was given, in one form. */
static char *name_of(const struct verb_options *o)
{
	char endpoint[ENDPOINT_TEXT_LEN], *name = NULL;

	return asprintf(&name, "%s%s", endpoint_format(&o->endpoint, endpoint),
	                o->inside ? o->inside : "") < 0
	           ? NULL
	           : name;
}

int explain_main(int argc, char **argv)
{
	auto_free char *name = NULL;
	struct verb_options o;
	int status = parse_options(argc, argv, WITH_JSON | WITH_ENDPOINT | WITH_INSIDE, &o);

	if (status != GO_ON)
		return status;
	name = name_of(&o);
	return read_verb(argv[0], &o, json_pack("{s:s, s:s?}", "verb", argv[0], "endpoint", name),
	                 verbs_print_explanation);
}

/* For a while, and for a reason. */
static int decide(int argc, char **argv, unsigned flags, const char *what)
{
	auto_free char *name = NULL;
	struct verb_options o;
	json_t *answer = NULL;
	const char *until;
	int error,
	    status = parse_options(argc, argv, WITH_REASON | WITH_FOR | WITH_ENDPOINT | flags, &o);

	if (status != GO_ON)
		return status;
	name = name_of(&o);
	status = ask(argv[0], &o,
	             json_pack("{s:s, s:s?, s:s, s:I}", "verb", argv[0], "endpoint", name, "reason",
	                       o.reason ? o.reason : "", "for_ms", (json_int_t)o.for_ms),
	             &answer, &error);
	if (status != VERB_OK)
		return status;
	until = json_string_value(json_object_get(answer, "until"));
	printf("%s is %s until %s\n", name ? name : "", what, until ? until : "-");
	json_decref(answer);
	return flush_output();
}

int unblock_main(int argc, char **argv)
{
	if (standalone_is_meant(argc, argv))
		return standalone_unblock_main(argc, argv);
	return decide(argc, argv, 0, "let through");
}

int ack_main(int argc, char **argv)
{
	return decide(argc, argv, OF_ACK | WITH_INSIDE, "acknowledged");
}

int unack_main(int argc, char **argv)
{
	auto_free char *name = NULL;
	struct verb_options o;
	json_t *answer = NULL;
	int error, status = parse_options(argc, argv, WITH_ENDPOINT | WITH_INSIDE, &o);

	if (status != GO_ON)
		return status;
	name = name_of(&o);
	status = ask(argv[0], &o, json_pack("{s:s, s:s?}", "verb", argv[0], "endpoint", name),
	             &answer, &error);
	if (status != VERB_OK)
		return status;
	printf("%s is not acknowledged any more\n", name ? name : "");
	json_decref(answer);
	return flush_output();
}

int reload_main(int argc, char **argv)
{
	struct verb_options o;
	json_t *answer = NULL;
	int error, status = parse_options(argc, argv, 0, &o);

	if (status != GO_ON)
		return status;
	status = ask(argv[0], &o, json_pack("{s:s}", "verb", argv[0]), &answer, &error);
	if (status != VERB_OK)
		return status;
	printf("reloaded; generation %" JSON_INTEGER_FORMAT "\n",
	       json_integer_value(json_object_get(answer, "generation")));
	json_decref(answer);
	return flush_output();
}

/* No daemon will do it, so the marker is removed here. */
static int resume_alone(const char *config)
{
	struct panic_paths paths;
	int error;

	panic_find_paths(config, NULL, &paths);
	if (!panic_marker_exists(paths.state)) {
		printf("there is no panic marker in %s\n", paths.state);
		return flush_output();
	}
	error = panic_marker_clear(paths.state);
	if (error) {
		fprintf(stderr, "pprofwall resume: %s/%s: %s\n", paths.state,
		        PPROFWALL_PANIC_MARKER, strerror(-error));
		return VERB_UNREACHABLE;
	}
	printf("removed %s/%s; the daemon enforces when it starts\n", paths.state,
	       PPROFWALL_PANIC_MARKER);
	return flush_output();
}

int resume_main(int argc, char **argv)
{
	struct verb_options o;
	json_t *answer = NULL;
	int error, status = parse_options(argc, argv, WITH_REASON | WITH_CONFIG, &o);

	if (status != GO_ON)
		return status;
	status = ask(argv[0], &o,
	             json_pack("{s:s, s:s}", "verb", argv[0], "reason", o.reason ? o.reason : ""),
	             &answer, &error);
	if (status == VERB_UNREACHABLE && (error == -ENOENT || error == -ECONNREFUSED))
		return resume_alone(o.config);
	if (status != VERB_OK)
		return status;
	json_decref(answer);
	puts("resumed: what is exposed is blocked again");
	return flush_output();
}

static bool all_delivered(const json_t *sinks)
{
	const json_t *sink;
	size_t i;

	json_array_foreach (sinks, i, sink) {
		if (!json_is_true(json_object_get(sink, "delivered")))
			return false;
	}
	return true;
}

int test_alert_main(int argc, char **argv)
{
	struct verb_options o;
	json_t *answer = NULL;
	int error, shown, status = parse_options(argc, argv, WITH_JSON | WITH_SINK, &o);
	bool delivered;

	if (status != GO_ON)
		return status;
	o.timeout_ms = TEST_TIMEOUT_MS;
	status = ask(argv[0], &o, json_pack("{s:s, s:s?}", "verb", argv[0], "sink", o.sink),
	             &answer, &error);
	if (status != VERB_OK)
		return status;
	delivered = all_delivered(json_object_get(answer, "sinks"));
	shown = show(&o, answer, verbs_print_tests);
	return shown != VERB_OK || delivered ? shown : VERB_REFUSED;
}
