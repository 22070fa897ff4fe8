/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `pprofwall status`: on a terminal, as JSON, as a page; once, or again and again. */
#include "scanner/status_page.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"
#include "conf/conf.h"
#include "scanner/control_client.h"
#include "scanner/verbs.h"
#include "scanner/verbs_table.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum {
	ASK_TIMEOUT_MS = 5000,
	WATCH_DEFAULT_MS = 5000,
	WATCH_MIN_MS = 1000,
	WATCH_MAX_MS = 3600 * 1000,
	GO_ON = -1
};

struct options {
	const char *socket, *output; /* output NULL: standard output */
	bool json, all, html;
	int64_t watch_ms; /* 0: once */
};

/* What the daemon has said last. */
struct seen {
	json_t *status, *impact;
	int64_t wall_ms;
};

static int usage(FILE *out, int status)
{
	fputs("usage: pprofwall status [--socket PATH] [--json | --html] [--all]\n"
	      "                        [--output FILE] [--watch[=DURATION]]\n"
	      "  --all               every endpoint, not only those with something to tell\n"
	      "  --html              a page for people, which loads nothing and runs nothing\n"
	      "  --output FILE       to a file, which is replaced as a whole\n"
	      "  --watch[=DURATION]  again and again until ^C, every 5s if not said otherwise\n",
	      out);
	return status;
}

static int refuse(const char *what, const char *value)
{
	fprintf(stderr, "pprofwall status: %s%s%s\n", what, value ? ": " : "", value ? value : "");
	return VERB_USAGE;
}

static int check_options(const struct options *o, int argc, char **argv)
{
	if (optind != argc)
		return refuse("takes no argument", argv[optind]);
	if (o->json && o->html)
		return refuse("--json and --html: one of them", NULL);
	if (o->watch_ms && o->json)
		return refuse("--watch is for people: not with --json", NULL);
	if (o->watch_ms && o->html && !o->output)
		return refuse("--html --watch wants --output FILE, which it replaces", NULL);
	if (o->watch_ms && !o->html && o->output)
		return refuse("--output and --watch: only with --html", NULL);
	return GO_ON;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
	    {"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
	    {"all", no_argument, NULL, 'a'},          {"html", no_argument, NULL, 'H'},
	    {"output", required_argument, NULL, 'o'}, {"watch", optional_argument, NULL, 'w'},
	    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.socket = CONTROL_DEFAULT_SOCKET};
	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's': o->socket = optarg; break;
		case 'j': o->json = true; break;
		case 'a': o->all = true; break;
		case 'H': o->html = true; break;
		case 'o': o->output = optarg; break;
		case 'w':
			o->watch_ms = WATCH_DEFAULT_MS;
			if (optarg && (conf_parse_duration(optarg, &o->watch_ms) != 0 ||
			               o->watch_ms < WATCH_MIN_MS || o->watch_ms > WATCH_MAX_MS))
				return refuse("--watch wants a duration in 1s..1h", optarg);
			break;
		case 'h': return usage(stdout, VERB_OK);
		default: return usage(stderr, VERB_USAGE);
		}
	}
	return check_options(o, argc, argv);
}

/* Takes over `request`. Returns VERB_OK with *answer, or the exit status with `why`. */
static int ask(const struct options *o, json_t *request, json_t **answer,
               char why[static CONTROL_CLIENT_ERROR_LEN])
{
	auto_json json_t *question = request;
	const char *text;

	if (control_client_ask(o->socket, question, ASK_TIMEOUT_MS, answer, why) < 0)
		return VERB_UNREACHABLE;
	if (json_is_true(json_object_get(*answer, "ok")))
		return VERB_OK;
	text = json_string_value(json_object_get(*answer, "error"));
	snprintf(why, CONTROL_CLIENT_ERROR_LEN, "%.250s",
	         text ? text : "refused, without a reason");
	json_decref(*answer);
	*answer = NULL;
	return VERB_REFUSED;
}

/* A long list comes a page at a time: the rest of it is added to the first. */
static int ask_status(const struct options *o, json_t **out,
                      char why[static CONTROL_CLIENT_ERROR_LEN])
{
	auto_json json_t *all = NULL;
	int status = ask(o, json_pack("{s:s, s:b}", "verb", "status", "all", o->all), &all, why);
	const char *next;

	while (status == VERB_OK && (next = json_string_value(json_object_get(all, "next")))) {
		auto_json json_t *page = NULL;
		json_t *after;

		status = ask(
		    o, json_pack("{s:s, s:b, s:s}", "verb", "status", "all", o->all, "after", next),
		    &page, why);
		json_array_extend(json_object_get(all, "endpoints"),
		                  json_object_get(page, "endpoints"));
		after = json_object_get(page, "next");
		if (after)
			json_object_set(all, "next", after);
		else
			json_object_del(all, "next");
	}
	if (status == VERB_OK)
		*out = steal_ptr(&all);
	return status;
}

static int look(const struct options *o, struct seen *seen,
                char why[static CONTROL_CLIENT_ERROR_LEN])
{
	auto_json json_t *status_json = NULL, *impact = NULL;
	int status = ask_status(o, &status_json, why);

	if (status == VERB_OK && o->html)
		status = ask(o, json_pack("{s:s}", "verb", "impact"), &impact, why);
	if (status != VERB_OK)
		return status;
	json_decref(seen->status);
	json_decref(seen->impact);
	seen->status = steal_ptr(&status_json);
	seen->impact = steal_ptr(&impact);
	seen->wall_ms = clock_wall_ms();
	return VERB_OK;
}

/* `silent`: why there is nothing newer, or NULL. */
static void write_to(FILE *to, const struct options *o, const struct seen *seen, const char *silent)
{
	char host[65] = "this host";
	struct status_page page = {
	    .status = seen->status,
	    .impact = seen->impact,
	    .host = host,
	    .status_wall_ms = seen->wall_ms,
	    .now_wall_ms = clock_wall_ms(),
	    .silent = silent,
	    .refresh_s = (unsigned)((o->watch_ms + 999) / 1000),
	};

	if (o->html) {
		(void)gethostname(host, sizeof(host) - 1);
		status_page_write(&page, to);
	} else if (o->json) {
		json_dumpf(seen->status, to, JSON_COMPACT);
		fputc('\n', to);
	} else {
		verbs_print_status(seen->status, to);
	}
}

/*
 * Whether the new file gets the rights of the old one. Not where anybody may have put that, to be
 * let in: in a folder like /tmp it must be our own.
 */
static bool has_rights_to_keep(const char *path, struct stat *old)
{
	auto_free char *folder = strdup(path);
	struct stat around;

	if (!folder || lstat(path, old) < 0 || !S_ISREG(old->st_mode))
		return false;
	return old->st_uid == geteuid() ||
	       (stat(dirname(folder), &around) == 0 && !(around.st_mode & S_IWOTH));
}

/* One who reads it meanwhile has the old page or the new one. Its group and rights stay. */
static int replace_file(const struct options *o, const struct seen *seen, const char *silent)
{
	auto_free char *temporary = NULL;
	auto_fclose FILE *to = NULL;
	struct stat old;
	int fd, error = 0;

	if (asprintf(&temporary, "%s.XXXXXX", o->output) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600: it tells where to knock */
	if (fd < 0)
		return -errno;
	to = fdopen(fd, "w");
	if (!to) {
		close(fd);
		error = -ENOMEM;
	} else if (has_rights_to_keep(o->output, &old)) {
		if (fchown(fd, (uid_t)-1, old.st_gid) == 0)
			(void)fchmod(fd, old.st_mode & 0666);
	}
	if (to) {
		write_to(to, o, seen, silent);
		if (fflush(to) != 0 || ferror(to))
			error = errno ? -errno : -EIO;
	}
	if (!error && rename(temporary, o->output) < 0)
		error = -errno;
	if (error)
		unlink(temporary);
	return error;
}

static int put_out(const struct options *o, const struct seen *seen, const char *silent)
{
	int error = 0;

	if (o->output) {
		error = replace_file(o, seen, silent);
		if (error)
			fprintf(stderr, "pprofwall status: %s: %s\n", o->output, strerror(-error));
		return error ? VERB_UNREACHABLE : VERB_OK;
	}
	if (o->watch_ms)
		fputs("\033[H\033[2J\033[3J", stdout); /* to the corner, and all of it empty */
	if (silent)
		printf("the daemon does not answer: %s\n\n", silent);
	if (seen->status)
		write_to(stdout, o, seen, silent);
	return fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

/* Until ^C, TERM or HUP, or until there is nowhere to write to. */
static int watch(const struct options *o)
{
	const struct timespec pause = {o->watch_ms / 1000, o->watch_ms % 1000 * 1000000};
	struct seen seen = {0};
	sigset_t ends;
	int status;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	do {
		char why[CONTROL_CLIENT_ERROR_LEN];
		bool answered = look(o, &seen, why) == VERB_OK;

		status = put_out(o, &seen, answered ? NULL : why);
	} while (status == VERB_OK && sigtimedwait(&ends, NULL, &pause) < 0);
	json_decref(seen.status);
	json_decref(seen.impact);
	return status;
}

int status_main(int argc, char **argv)
{
	char why[CONTROL_CLIENT_ERROR_LEN];
	struct seen seen = {0};
	struct options o;
	int status = parse_options(argc, argv, &o);

	if (status != GO_ON)
		return status;
	if (o.watch_ms)
		return watch(&o);
	status = look(&o, &seen, why);
	if (status == VERB_OK)
		status = put_out(&o, &seen, NULL);
	else
		fprintf(stderr, "pprofwall status: %s\n", why);
	json_decref(seen.status);
	json_decref(seen.impact);
	return status;
}
