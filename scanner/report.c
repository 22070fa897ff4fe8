/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/report.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "scanner/history_view.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

AUTO_CLEANUP(history, struct history *, history_close)
AUTO_CLEANUP(accept_list, struct accept_list *, accept_free)
#define auto_history     __attribute__((cleanup(cleanup_history)))
#define auto_accept_list __attribute__((cleanup(cleanup_accept_list)))

struct report_options {
	const char *history;
	const char *accept;
	bool ndjson;
	bool help;
	char **sweeps; /* of argv */
	int n_sweeps;
};

static void print_help(bool diff, FILE *out)
{
	fprintf(
	    out,
	    "usage: pprofwall %s\n"
	    "\n"
	    "%s\n"
	    "\n"
	    "  --history FILE      as `pprofwall scan --history` keeps it\n"
	    "  --accept FILE       accepted risks, shown apart\n"
	    "  --format FORMAT     table or ndjson (default: table)\n"
	    "  --help              this text\n"
	    "\n"
	    "%s\n",
	    diff ? "diff --history FILE [OPTION]... [SWEEP [SWEEP]]"
	         : "report --history FILE [OPTION]... [SWEEP]",
	    diff ? "Compares two sweeps from one vantage point: the latest and the one before,\n"
	           "SWEEP and the latest, or the two; by the beginning of their ids."
	         : "Everything that was ever exposed, and how it stands after the latest sweep,\n"
	           "or after SWEEP; by the beginning of its id.",
	    diff ? "Exit status: 0 nothing new, 1 something new or worse, 2 usage error,\n"
	           "3 the sweeps cannot be compared."
	         : "Exit status: 0 reported, 2 usage error, 3 the file cannot be read.");
}

/* Returns 0, or -EINVAL after having said why. */
static int parse_options(int argc, char **argv, int max_sweeps, struct report_options *o)
{
	static const struct option longs[] = {
	    {"history", required_argument, NULL, 'H'},
	    {"accept", required_argument, NULL, 'a'},
	    {"format", required_argument, NULL, 'f'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int id;

	optind = 0; /* glibc: start anew */
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		switch (id) {
		case 'H': o->history = optarg; break;
		case 'a': o->accept = optarg; break;
		case 'h': o->help = true; break;
		case 'f':
			o->ndjson = strcmp(optarg, "ndjson") == 0;
			if (o->ndjson || strcmp(optarg, "table") == 0)
				break;
			log_error("%s: --format: '%.32s' is not table or ndjson", argv[0], optarg);
			return -EINVAL;
		default:
			log_error("%s: %s '%.64s'", argv[0],
			          id == ':' ? "a value is missing for" : "unknown option",
			          argv[optind > 1 ? optind - 1 : 1]);
			return -EINVAL;
		}
	}
	o->sweeps = argv + optind;
	o->n_sweeps = argc - optind;
	if (o->help)
		return 0;
	if (!o->history) {
		log_error("%s: --history FILE is missing", argv[0]);
		return -EINVAL;
	}
	if (o->n_sweeps > max_sweeps) {
		log_error("%s: expected at most %d sweep%s", argv[0], max_sweeps,
		          max_sweeps == 1 ? "" : "s");
		return -EINVAL;
	}
	return 0;
}

/* Says why not. */
static int find_sweep(struct history *h, const char *name, struct history_sweep *out)
{
	int err = history_find_sweep(h, name, NULL, out);

	if (err == -ENOENT && name)
		log_error("there is no sweep '%.64s'", name);
	else if (err == -ENOENT)
		log_error("there is no sweep in the history");
	else if (err == -EINVAL)
		log_error("'%.64s' fits several sweeps", name);
	else if (err)
		log_error("cannot read the history: %s", history_error(h));
	return err;
}

/* The base, and the sweep that is held against it. */
static int find_pair(struct history *h, const struct report_options *o, struct history_sweep *base,
                     struct history_sweep *sweep)
{
	struct history_sweep last = {.started_ms = INT64_MAX};
	int err = find_sweep(h,
	                     o->n_sweeps > 1 ? o->sweeps[1]
	                     : o->n_sweeps   ? o->sweeps[0]
	                                     : NULL,
	                     o->n_sweeps == 1 ? base : sweep);

	if (err)
		return err;
	if (o->n_sweeps > 1) {
		err = find_sweep(h, o->sweeps[0], base);
	} else if (o->n_sweeps == 1) {
		snprintf(last.vantage, sizeof(last.vantage), "%s", base->vantage);
		err = history_find_sweep(h, NULL, &last, sweep);
	} else {
		err = history_find_sweep(h, NULL, sweep, base);
		if (err == -ENOENT)
			log_error("there is no sweep from %s before %s", sweep->vantage,
			          sweep->name);
	}
	if (err)
		return err;
	if (strcmp(base->name, sweep->name) == 0) {
		log_error("there is no sweep from %s after %s", base->vantage, base->name);
		return -ENOENT;
	}
	if (strcmp(base->vantage, sweep->vantage) != 0) {
		log_error("sweeps from %s and from %s do not compare", base->vantage,
		          sweep->vantage);
		return -EXDEV;
	}
	if (base->started_ms > sweep->started_ms) {
		log_error("%s is later than %s", base->name, sweep->name);
		return -EXDEV;
	}
	return 0;
}

static void warn_of_gaps(const struct history_sweep *sweep)
{
	if (sweep->shards_present < sweep->shards)
		log_warning("sweep %s: %u of %u shards are missing", sweep->name,
		            sweep->shards - sweep->shards_present, sweep->shards);
	if (sweep->interrupted)
		log_warning("sweep %s did not come to its end", sweep->name);
}

/* The file may have been edited. What is NULL stays so. */
static char *clean(char *text)
{
	char *result = NULL;

	finding_set(&result, text);
	free(text);
	return result;
}

static void print_sweep(struct history *h, const struct history_sweep *sweep)
{
	auto_free char *covers = clean(history_describe_coverage(h, sweep, HISTORY_COVERS));
	auto_free char *excludes = clean(history_describe_coverage(h, sweep, HISTORY_EXCLUDES));
	auto_free char *name = clean(strdup(sweep->name));
	auto_free char *vantage = clean(strdup(sweep->vantage));
	char started[CLOCK_TEXT_LEN], ended[CLOCK_TEXT_LEN];
	uint64_t probed = 0;

	for (size_t i = 0; i < VERDICT_COUNT; i++)
		probed += sweep->verdicts[i];
	printf("sweep     %s, shards %u of %u, %s\n", name ? name : "?", sweep->shards_present,
	       sweep->shards, sweep->interrupted ? "interrupted" : "complete");
	printf("time      %s to %s\n", clock_format_wall(sweep->started_ms, started),
	       sweep->ended_ms ? clock_format_wall(sweep->ended_ms, ended) : "?");
	printf("vantage   %s\n", vantage ? vantage : "?");
	printf("targets   %s\n", covers && *covers ? covers : "-");
	if (excludes && *excludes)
		printf("excluded  %s\n", excludes);
	printf("endpoints %" PRIu64 ": %" PRIu64 " exposed\n\n", probed,
	       sweep->verdicts[VERDICT_CONFIRMED] + sweep->verdicts[VERDICT_LIKELY]);
}

static int show(struct history *h, const struct report_options *o, const struct history_sweep *base,
                const struct history_sweep *sweep, bool diff)
{
	auto_accept_list struct accept_list *accept = NULL;
	char error[CONF_ERROR_LEN];
	struct history_view view;
	int err;

	if (o->accept && !(accept = accept_load_file(o->accept, error))) {
		log_error("%s", error);
		return REPORT_USAGE;
	}
	err = history_view_init(&view, accept, clock_wall_ms(), !diff);
	if (!err)
		err = history_walk(h, base, sweep, history_view_add, &view);
	warn_of_gaps(sweep);
	if (!err && o->ndjson) {
		err = history_view_print_ndjson(&view, stdout);
	} else if (!err) {
		if (!diff)
			print_sweep(h, sweep);
		history_view_print_table(&view, stdout);
	}
	if (!err && fflush(stdout) != 0)
		err = -errno;
	if (err)
		log_error("%s: %s", o->history, err == -EIO ? history_error(h) : strerror(-err));
	err = err ? REPORT_CANNOT : diff && view.worse ? REPORT_NEW : REPORT_NOTHING;
	history_view_fini(&view);
	return err;
}

static int run(int argc, char **argv, bool diff)
{
	struct report_options o = {0};
	auto_history struct history *h = NULL;
	struct history_sweep base, sweep;
	char why[HISTORY_ERROR_LEN];
	int err;

	if (parse_options(argc, argv, diff ? 2 : 1, &o) < 0)
		return REPORT_USAGE;
	if (o.help) {
		print_help(diff, stdout);
		return fflush(stdout) ? REPORT_CANNOT : REPORT_NOTHING;
	}
	if (history_open(o.history, HISTORY_READ, &h, why) < 0) {
		log_error("%s: %s", o.history, why);
		return REPORT_CANNOT;
	}
	if (diff)
		err = find_pair(h, &o, &base, &sweep);
	else
		err = find_sweep(h, o.n_sweeps ? o.sweeps[0] : NULL, &sweep);
	if (err)
		return REPORT_CANNOT;
	return show(h, &o, diff ? &base : NULL, &sweep, diff);
}

int diff_main(int argc, char **argv)
{
	return run(argc, argv, true);
}

int report_main(int argc, char **argv)
{
	return run(argc, argv, false);
}
