/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/block.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "scanner/control_client.h"
#include "scanner/impact.h"
#include "scanner/verbs.h"
#include "scanner/verbs_table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { GO_ON = -1, ONE_TIMEOUT_MS = 5000, LIST_TIMEOUT_MS = 250 * 1000 };

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

static int flush_output(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

/* The findings */

static void tell_input(const struct block_input *input)
{
	fprintf(stderr, "pprofwall block: %" PRIu64 " findings, %zu endpoints to block",
	        input->findings, input->count);
	if (input->accepted)
		fprintf(stderr, "; left alone: %" PRIu64 " that are accepted risks",
		        input->accepted);
	if (input->other)
		fprintf(stderr, "; left alone: %" PRIu64 " of another verdict or severity",
		        input->other);
	if (input->incomplete)
		fprintf(stderr, "; THE SWEEP IS NOT COMPLETE");
	fputc('\n', stderr);
}

static int read_findings(struct block_options *o)
{
	const bool is_stdin = strcmp(o->from, "-") == 0;
	auto_fclose FILE *file = is_stdin ? NULL : fopen(o->from, "re");
	char why[BLOCK_INPUT_ERROR_LEN];
	struct block_input input;
	int err;

	if (!is_stdin && !file) {
		fprintf(stderr, "pprofwall block: %.256s: %s\n", o->from, strerror(errno));
		return VERB_USAGE;
	}
	err = block_input_read(is_stdin ? stdin : file, is_stdin ? "(stdin)" : o->from, &o->filter,
	                       BLOCK_MAX_ENDPOINTS, &input, why);
	if (err) {
		fprintf(stderr, "pprofwall block: %s; nothing is blocked\n", why);
		return VERB_USAGE;
	}
	tell_input(&input);
	o->endpoints = input.items;
	o->n_endpoints = input.count;
	if (!o->reason) {
		snprintf(o->found_reason, sizeof(o->found_reason), "found by pprofwall scan%s%s",
		         input.scan_id[0] ? " " : "", input.scan_id);
		o->reason = o->found_reason;
	}
	return GO_ON;
}

/* The daemon */

static json_t *make_request(const struct block_options *o, bool is_list)
{
	json_t *request = json_pack("{s:s, s:s, s:I}", "verb", is_list ? "block_list" : "block",
	                            "reason", o->reason, "for_ms", (json_int_t)o->for_ms);
	char text[ENDPOINT_TEXT_LEN];
	json_t *list;

	if (!request)
		return NULL;
	if (!is_list) {
		json_object_set_new(request, "endpoint",
		                    json_string(endpoint_format(&o->endpoints[0], text)));
		return request;
	}
	list = json_array();
	for (size_t i = 0; i < o->n_endpoints; i++)
		json_array_append_new(list, json_string(endpoint_format(&o->endpoints[i], text)));
	json_object_set_new(request, "endpoints", list);
	json_object_set_new(request, "dry_run", json_boolean(o->dry_run));
	return request;
}

static void print_each(const json_t *answer, const char *key, const char *what)
{
	const json_t *value;
	size_t i;

	json_array_foreach (json_object_get(answer, key), i, value)
		printf("%s %s\n", what, json_string_value(value) ? json_string_value(value) : "-");
}

static void print_refused(const json_t *answer)
{
	const json_t *value;
	size_t i;

	json_array_foreach (json_object_get(answer, "refused"), i, value) {
		const char *endpoint = json_string_value(json_object_get(value, "endpoint"));
		const char *error = json_string_value(json_object_get(value, "error"));

		printf("refused %s: %s\n", endpoint ? endpoint : "-", error ? error : "-");
	}
}

static void print_list(const struct block_options *o, const json_t *answer)
{
	size_t blocked = json_array_size(json_object_get(answer, "blocked"));
	size_t already = json_array_size(json_object_get(answer, "already"));
	char span[32];

	print_each(answer, "blocked", o->dry_run ? "would block" : "blocked");
	print_each(answer, "already", "already blocked");
	print_refused(answer);
	if (!json_is_true(json_object_get(answer, "ok")))
		return;
	printf("%s%zu blocked, %zu already; %s in %s\n", o->dry_run ? "dry run: " : "", blocked,
	       already, o->dry_run ? "they would expire" : "they expire",
	       verbs_format_span(json_integer_value(json_object_get(answer, "expires_ms")), span));
}

static void print_answer(const struct block_options *o, const json_t *answer, bool is_list)
{
	char endpoint[ENDPOINT_TEXT_LEN], span[32];

	if (o->json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (is_list) {
		print_list(o, answer);
	} else if (json_is_true(json_object_get(answer, "ok"))) {
		printf("blocked %s; it expires in %s\n",
		       endpoint_format(&o->endpoints[0], endpoint),
		       verbs_format_span(json_integer_value(json_object_get(answer, "expires_ms")),
		                         span));
		impact_print_cut(o->socket, &o->endpoints[0], stdout);
	}
}

int block_by_daemon(const struct block_options *o)
{
	const bool is_list = o->from || o->dry_run || o->n_endpoints > 1;
	auto_json json_t *request = make_request(o, is_list);
	char why[CONTROL_CLIENT_ERROR_LEN];
	auto_json json_t *answer = NULL;
	const char *text;
	int status;

	if (control_client_ask(o->socket, request, is_list ? LIST_TIMEOUT_MS : ONE_TIMEOUT_MS,
	                       &answer, why) != 0) {
		fprintf(stderr, "pprofwall block: %s\n", why);
		return VERB_UNREACHABLE;
	}
	print_answer(o, answer, is_list);
	status = flush_output();
	if (json_is_true(json_object_get(answer, "ok")))
		return status;
	text = json_string_value(json_object_get(answer, "error"));
	fprintf(stderr, "pprofwall block: %s%s\n", o->dry_run ? "would be refused: " : "",
	        text ? text : "refused, without a reason");
	return VERB_REFUSED;
}

static int run(struct block_options *o)
{
	int status = o->from ? read_findings(o) : GO_ON;

	if (status != GO_ON)
		return status;
	if (o->n_endpoints == 0) {
		if (o->json)
			puts("{\"ok\":true,\"blocked\":[],\"already\":[],\"refused\":[]}");
		return flush_output();
	}
	switch (o->way) {
	case BLOCK_BY_DAEMON: return block_by_daemon(o);
	case BLOCK_STANDALONE: return block_standalone(o);
	case BLOCK_PRINT_NFT: status = block_print_nft(o, stdout); break;
	case BLOCK_PRINT_POLICY: status = block_print_policy(o, stdout); break;
	}
	return status == VERB_OK ? flush_output() : status;
}

int block_main(int argc, char **argv)
{
	struct block_options o;
	int status = block_options_parse(argc, argv, &o);

	if (status == GO_ON)
		status = run(&o);
	block_options_fini(&o);
	return status;
}
