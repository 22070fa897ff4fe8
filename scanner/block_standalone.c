/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `--standalone`: the firewall helper's program as a tool (daemon/firewall/standalone.h), which has
 * the rules and gives up all privileges but one. Here is what it cannot know: the daemon's socket,
 * and the SSH session that the user sits in.
 */
#include "common/cleanup.h"
#include "common/control.h"
#include "conf/conf.h"
#include "scanner/block.h"
#include "scanner/control_client.h"
#include "scanner/helper_run.h"
#include "scanner/verbs.h"
#include "scanner/verbs_table.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

enum {
	GO_ON = -1,
	ASK_MS = 2000,
	TOOL_MS = 30 * 1000,
	MAX_ANCESTORS = 64,
	ENVIRONMENT_MAX_BYTES = 256 * 1024,
	FIXED_ARGUMENTS = 8,
};

static int refuse(const char *verb, const char *what)
{
	fprintf(stderr, "pprofwall %s: %s\n", verb, what);
	return VERB_REFUSED;
}

/* The SSH session */

/* "CLIENT PORT SERVER PORT", of sshd(8). */
static bool read_connection(const char *value, struct endpoint *out)
{
	char client[64], client_port[8], server[64], port[8];

	if (sscanf(value, "%63s %7s %63s %7s", client, client_port, server, port) != 4)
		return false;
	return endpoint_parse_address(server, out) == 0 &&
	       endpoint_parse_port(port, &out->port) == 0;
}

static size_t read_file(const char *path, char *out, size_t size)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = 1;

	while (fd >= 0 && length < size - 1 && n > 0) {
		n = read(fd, out + length, size - 1 - length);
		length += n > 0 ? (size_t)n : 0;
	}
	out[length] = '\0';
	return length;
}

static bool find_in_environment(pid_t pid, char *buffer, struct endpoint *out)
{
	static const char name[] = "SSH_CONNECTION=";
	char path[64];
	size_t length;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	length = read_file(path, buffer, ENVIRONMENT_MAX_BYTES);
	for (const char *at = buffer; at < buffer + length; at += strlen(at) + 1) {
		if (strncmp(at, name, strlen(name)) == 0)
			return read_connection(at + strlen(name), out);
	}
	return false;
}

/* The fourth field of stat, behind a name that may have anything in it; 0 when it is not known. */
static pid_t find_parent(pid_t pid)
{
	char path[64], text[1024];
	const char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	read_file(path, text, sizeof(text));
	end = strrchr(text, ')');
	/* ") S 4711 ..." */
	return end && strlen(end) > strlen(") S ") ? (pid_t)strtol(end + strlen(") S "), NULL, 10)
	                                           : 0;
}

/* Of an ancestor too: sudo(8) takes the variable away. */
static bool find_ssh_session(struct endpoint *out)
{
	auto_free char *buffer = malloc(ENVIRONMENT_MAX_BYTES);
	const char *mine = getenv("SSH_CONNECTION");
	pid_t pid = getppid();

	if (mine && read_connection(mine, out))
		return true;
	for (unsigned i = 0; buffer && i < MAX_ANCESTORS && pid > 1; i++) {
		if (find_in_environment(pid, buffer, out))
			return true;
		pid = find_parent(pid);
	}
	return false;
}

static int check_ssh(const struct block_options *o)
{
	char text[ENDPOINT_TEXT_LEN];
	struct endpoint session = {0};

	if (o->even_ssh || !find_ssh_session(&session))
		return GO_ON;
	session.scope_id = 0;
	for (size_t i = 0; i < o->n_endpoints; i++) {
		struct endpoint e = o->endpoints[i];

		e.scope_id = 0;
		if (endpoint_compare(&e, &session) != 0)
			continue;
		fprintf(stderr,
		        "pprofwall block: %s is the SSH session you sit in; --even-ssh blocks it "
		        "all the same\n",
		        endpoint_format(&session, text));
		return VERB_REFUSED;
	}
	return GO_ON;
}

static int check_daemon(const struct block_options *o)
{
	json_t *request = json_pack("{s:s}", "verb", "status"), *answer = NULL;
	char why[CONTROL_CLIENT_ERROR_LEN];
	int err = control_client_ask(o->socket, request, ASK_MS, &answer, why);

	json_decref(request);
	json_decref(answer);
	if (err == -ENOENT || err == -ECONNREFUSED || o->beside_daemon)
		return GO_ON;
	fprintf(stderr,
	        "pprofwall block: a daemon has %s: leave out --standalone, or add "
	        "--beside-daemon\n",
	        o->socket);
	return VERB_REFUSED;
}

/* The tool */

struct command {
	char **argv;
	size_t n, size;
	bool failed;
};

static void command_fini(struct command *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->argv[i]);
	free(c->argv);
}

#define auto_command __attribute__((cleanup(command_fini)))

/* `size` more arguments have room, and a NULL behind them. */
static void command_init(struct command *c, size_t size)
{
	c->argv = calloc(size + 1, sizeof(*c->argv));
	c->size = c->argv ? size : 0;
}

static void command_add(struct command *c, const char *text)
{
	char *copy = c->n < c->size ? strdup(text) : NULL;

	if (copy)
		c->argv[c->n++] = copy;
	else
		c->failed = true;
}

static int run(const char *verb, const struct command *c, int output)
{
	char helper[PATHS_MAX_LEN];
	int status;

	if (c->failed)
		return refuse(verb, "out of memory");
	status = paths_libexec(HELPER_PROGRAM, helper);
	if (!status)
		status = helper_run(helper, c->argv, output, TOOL_MS);
	if (status < 0) {
		fprintf(stderr, "pprofwall %s: %s: %s\n", verb, HELPER_PROGRAM, strerror(-status));
		return VERB_UNREACHABLE;
	}
	return status == 0 ? VERB_OK : status == 2 ? VERB_USAGE : VERB_REFUSED;
}

static void add_endpoints(struct command *c, const struct endpoint *items, size_t count)
{
	char text[ENDPOINT_TEXT_LEN];

	command_add(c, "--");
	for (size_t i = 0; i < count; i++)
		command_add(c, endpoint_format(&items[i], text));
}

int block_standalone(const struct block_options *o)
{
	auto_command struct command c = {0};
	char text[PREFIX_TEXT_LEN], span[32];
	int status;

	if (geteuid() != 0) {
		refuse("block", "--standalone must be run by root");
		return VERB_UNREACHABLE;
	}
	status = check_daemon(o);
	if (status == GO_ON)
		status = check_ssh(o);
	if (status != GO_ON)
		return status;
	command_init(&c, FIXED_ARGUMENTS + 2 * o->n_allow + o->n_endpoints);
	command_add(&c, HELPER_PROGRAM);
	command_add(&c, "--standalone-block");
	command_add(&c, "--for-ms");
	snprintf(text, sizeof(text), "%" PRId64, o->for_ms);
	command_add(&c, text);
	if (o->even_ssh)
		command_add(&c, "--even-ssh");
	for (size_t i = 0; i < o->n_allow; i++) {
		command_add(&c, "--allow");
		command_add(&c, prefix_format(&o->allow[i], text));
	}
	add_endpoints(&c, o->endpoints, o->n_endpoints);
	status = run("block", &c, -1);
	if (status != VERB_OK)
		return status;
	for (size_t i = 0; i < o->n_endpoints; i++)
		printf("blocked %s\n", endpoint_format(&o->endpoints[i], text));
	printf("%zu blocked, by nobody but the kernel; they expire in %s\n", o->n_endpoints,
	       verbs_format_span(o->for_ms, span));
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

/* The other two verbs */

bool standalone_is_meant(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--standalone") == 0)
			return true;
	return false;
}

/* Returns GO_ON, with optind at the first endpoint. */
static int parse(int argc, char **argv, bool *json)
{
	static const struct option known[] = {
	    {"standalone", no_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 's')
			continue;
		if (c != 'j' || !json) {
			fprintf(stderr, "usage: pprofwall %s --standalone %s\n", argv[0],
			        json ? "[--json]" : "[ADDRESS:PORT]...");
			return VERB_USAGE;
		}
		*json = true;
	}
	if (geteuid() == 0)
		return GO_ON;
	refuse(argv[0], "--standalone must be run by root");
	return VERB_UNREACHABLE;
}

int standalone_unblock_main(int argc, char **argv)
{
	auto_command struct command c = {0};
	struct endpoint e;
	int status = parse(argc, argv, NULL);

	if (status != GO_ON)
		return status;
	command_init(&c, FIXED_ARGUMENTS + (size_t)argc);
	command_add(&c, HELPER_PROGRAM);
	command_add(&c, optind < argc ? "--standalone-unblock" : "--delete-standalone");
	if (optind < argc)
		command_add(&c, "--");
	for (int i = optind; i < argc; i++) {
		if (endpoint_parse(argv[i], &e) != 0) {
			fprintf(stderr, "pprofwall unblock: not a numeric ADDRESS:PORT: %s\n",
			        argv[i]);
			return VERB_USAGE;
		}
		command_add(&c, argv[i]);
	}
	status = run("unblock", &c, -1);
	if (status != VERB_OK)
		return status;
	for (int i = optind; i < argc; i++)
		printf("unblocked %s\n", argv[i]);
	if (optind == argc)
		puts("nothing is blocked");
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

/* One line of the tool, as the daemon would tell it; NULL for anything else. */
static json_t *read_block(char *line)
{
	const char *endpoint = strsep(&line, " "), *word;
	uint64_t numbers[3];

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		word = strsep(&line, i + 1 < ARRAY_LEN(numbers) ? " " : "\n");
		if (!word || conf_parse_number(word, INT64_MAX, &numbers[i]) != 0)
			return NULL;
	}
	return json_pack("{s:s, s:s, s:b, s:n, s:n, s:I, s:I, s:I}", "endpoint", endpoint, "rule",
	                 "standalone", "manual", 0, "reason", "who", "expires_ms",
	                 (json_int_t)numbers[0], "packets", (json_int_t)numbers[1], "bytes",
	                 (json_int_t)numbers[2]);
}

static json_t *read_list(FILE *in)
{
	json_t *blocks = json_array();
	char line[256];

	while (fgets(line, sizeof(line), in)) {
		json_t *block = read_block(line);

		if (block)
			json_array_append_new(blocks, block);
	}
	return json_pack("{s:b, s:o}", "ok", 1, "blocks", blocks);
}

int standalone_blocks_main(int argc, char **argv)
{
	auto_close int fd = memfd_create("blocks", MFD_CLOEXEC);
	auto_command struct command c = {0};
	bool json = false;
	int status = parse(argc, argv, &json);
	json_t *answer;
	FILE *in;

	if (status != GO_ON)
		return status;
	if (optind != argc) {
		fprintf(stderr, "pprofwall blocks: takes no argument: %s\n", argv[optind]);
		return VERB_USAGE;
	}
	command_init(&c, 2);
	command_add(&c, HELPER_PROGRAM);
	command_add(&c, "--standalone-list");
	status = fd < 0 ? refuse("blocks", strerror(errno)) : run("blocks", &c, fd);
	if (status != VERB_OK)
		return status;
	in = fdopen(fd, "r");
	if (!in)
		return refuse("blocks", strerror(errno));
	steal_fd(&fd);
	rewind(in);
	answer = read_list(in);
	fclose(in);
	if (json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		verbs_print_blocks(answer, stdout);
	}
	json_decref(answer);
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}
