/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/impact.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "scanner/control_client.h"
#include "scanner/verbs.h"
#include "scanner/verbs_table.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum { ASK_TIMEOUT_MS = 10 * 1000, FIRST_CLIENTS = 5, GO_ON = -1 };

struct options {
	const char *socket;
	struct endpoint endpoint; /* family 0: all */
	bool json;
};

static const char *string_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int64_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool true_at(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* The daemon sends nothing else; but a terminal obeys what it gets. */
static void put(FILE *out, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

static void put_with(FILE *out, const char *before, const char *text, const char *behind)
{
	fputs(before, out);
	put(out, text);
	fputs(behind, out);
}

/* Those who are cut off first, then by who was here last: the times sort as text. */
static int compare_clients(const void *left, const void *right)
{
	const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
	int order;

	if (true_at(a, "cut") != true_at(b, "cut"))
		return true_at(a, "cut") ? -1 : 1;
	order = strcmp(string_at(b, "last_seen"), string_at(a, "last_seen"));
	return order ? order : strcmp(string_at(a, "address"), string_at(b, "address"));
}

/* malloc()ed, of borrowed references; NULL when memory is out or there are none. */
static json_t **sort_clients(const json_t *page, size_t *count)
{
	json_t *peers = json_object_get(page, "peers");
	size_t n = json_array_size(peers);
	json_t **sorted = n ? calloc(n, sizeof(json_t *)) : NULL;

	*count = sorted ? n : 0;
	for (size_t i = 0; i < *count; i++)
		sorted[i] = json_array_get(peers, i);
	if (sorted)
		qsort(sorted, n, sizeof(json_t *), compare_clients);
	return sorted;
}

static int width_of(json_t *const *clients, size_t count, const char *key, int least)
{
	int width = least;

	for (size_t i = 0; i < count; i++) {
		int length = (int)strlen(string_at(clients[i], key));

		width = length > width ? length : width;
	}
	return width < 64 ? width : 64;
}

static void print_client(const json_t *client, int address_width, int name_width, FILE *out)
{
	const char *name = string_at(client, "name");

	fprintf(out, "  %-*s  %-*s  %-20s  %-20s  %11" PRId64 "  ", address_width,
	        string_at(client, "address"), name_width, *name ? name : "-",
	        string_at(client, "first_seen"), string_at(client, "last_seen"),
	        number_at(client, "connections"));
	put(out, true_at(client, "cut") ? "cut off" : "stays: ");
	put(out, string_at(client, "stays"));
	put(out, true_at(client, "connected") ? ", connected now" : "");
	put_with(out, *string_at(client, "where") ? ", " : "", string_at(client, "where"), "\n");
}

static void print_page(const json_t *page, FILE *out)
{
	auto_free json_t **clients = NULL;
	const char *program = string_at(page, "program");
	int64_t cut = number_at(page, "cut"), stay = number_at(page, "stay");
	bool filtered = strcmp(string_at(page, "action"), "filter") == 0;
	int address_width, name_width;
	char span[32];
	size_t count;

	clients = sort_clients(page, &count);
	put(out, string_at(page, "endpoint"));
	put_with(out, *program ? " (" : "", program, *program ? ")" : "");
	fprintf(out, ": a %s %s %" PRId64 " client%s, %" PRId64 " stay%s; observed for %s%s\n",
	        filtered ? "filter" : "block",
	        true_at(page, "blocked") ? "cuts off" : "would cut off", cut, cut == 1 ? "" : "s",
	        stay, stay == 1 ? "s" : "", verbs_format_span(number_at(page, "observed_ms"), span),
	        !true_at(page, "blocked") ? ""
	        : filtered                ? ", filtered now"
	                                  : ", blocked now");
	if (number_at(page, "unlisted") > 0)
		fprintf(out,
		        "  not all are listed: there was no room for some, %" PRId64 " times\n",
		        number_at(page, "unlisted"));
	if (true_at(page, "truncated"))
		put(out, "  not all are listed: more were connected than could be told\n");
	if (count == 0)
		return;
	address_width = width_of(clients, count, "address", 7);
	name_width = width_of(clients, count, "name", 4);
	fprintf(out, "  %-*s  %-*s  %-20s  %-20s  %11s  %s\n", address_width, "CLIENT", name_width,
	        "NAME", "FIRST SEEN", "LAST SEEN", "CONNECTIONS", "OUTCOME");
	for (size_t i = 0; i < count; i++)
		print_client(clients[i], address_width, name_width, out);
}

static void print_pages(const json_t *answer, FILE *out)
{
	const json_t *pages = json_object_get(answer, "endpoints");
	const json_t *page;
	size_t i;

	if (json_array_size(pages) == 0)
		fputs("nothing is observed: no endpoint is exposed or blocked\n", out);
	json_array_foreach (pages, i, page) {
		if (i > 0)
			fputc('\n', out);
		print_page(page, out);
	}
}

/* Returns 0, or an exit status having said why. */
static int ask(const char *socket, const struct endpoint *e, json_t **answer,
               char why[static CONTROL_CLIENT_ERROR_LEN])
{
	auto_json json_t *request = json_pack("{s:s}", "verb", "impact");
	char endpoint[ENDPOINT_TEXT_LEN];
	const char *text;

	why[0] = '\0';
	if (request && e->family)
		json_object_set_new(request, "endpoint", json_string(endpoint_format(e, endpoint)));
	if (control_client_ask(socket ? socket : CONTROL_DEFAULT_SOCKET, request, ASK_TIMEOUT_MS,
	                       answer, why) < 0)
		return VERB_UNREACHABLE;
	if (true_at(*answer, "ok"))
		return VERB_OK;
	text = string_at(*answer, "error");
	snprintf(why, CONTROL_CLIENT_ERROR_LEN, "%.250s",
	         *text ? text : "refused, without a reason");
	return VERB_REFUSED;
}

static int usage(FILE *out, int status)
{
	fputs(
	    "usage: pprofwall impact [--socket PATH] [--json] [ADDRESS:PORT]\n"
	    "  who has connected to what is exposed or blocked, and would be cut off by a block\n",
	    out);
	return status;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
	    {"socket", required_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){0};
	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 's')
			o->socket = optarg;
		else if (c == 'j')
			o->json = true;
		else
			return usage(c == 'h' ? stdout : stderr, c == 'h' ? VERB_OK : VERB_USAGE);
	}
	if (argc - optind > 1)
		return usage(stderr, VERB_USAGE);
	if (optind < argc && endpoint_parse(argv[optind], &o->endpoint) < 0) {
		fprintf(stderr, "pprofwall impact: not a numeric ADDRESS:PORT: %s\n", argv[optind]);
		return VERB_USAGE;
	}
	return GO_ON;
}

int impact_main(int argc, char **argv)
{
	char why[CONTROL_CLIENT_ERROR_LEN];
	auto_json json_t *answer = NULL;
	struct options o;
	int status = parse_options(argc, argv, &o);

	if (status != GO_ON)
		return status;
	status = ask(o.socket, &o.endpoint, &answer, why);
	if (status != VERB_OK)
		fprintf(stderr, "pprofwall impact: %s\n", why);
	if (answer && o.json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (status == VERB_OK) {
		print_pages(answer, stdout);
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		return VERB_UNREACHABLE;
	return status;
}

void impact_print_cut(const char *socket, const struct endpoint *e, FILE *out)
{
	char why[CONTROL_CLIENT_ERROR_LEN];
	auto_json json_t *answer = NULL;
	auto_free json_t **clients = NULL;
	const json_t *page;
	size_t count;
	int64_t cut;

	if (ask(socket, e, &answer, why) != VERB_OK)
		return;
	page = json_array_get(json_object_get(answer, "endpoints"), 0);
	cut = number_at(page, "cut");
	if (cut == 0)
		return;
	clients = sort_clients(page, &count);
	fprintf(out, "it cuts off %" PRId64 " client%s: ", cut, cut == 1 ? "" : "s");
	for (size_t i = 0; i < count && i < FIRST_CLIENTS && true_at(clients[i], "cut"); i++) {
		const char *name = string_at(clients[i], "name");

		fputs(i ? ", " : "", out);
		put(out, string_at(clients[i], "address"));
		put_with(out, *name ? " (" : "", name, *name ? ")" : "");
	}
	fputs(cut > FIRST_CLIENTS ? ", ...\n" : "\n", out);
}
