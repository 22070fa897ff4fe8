/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/merge.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "scanner/history_merge.h"
#include "scanner/merge_input.h"
#include "scanner/merge_options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

AUTO_CLEANUP(history, struct history *, history_close)
AUTO_CLEANUP(store, struct merge_store *, merge_store_free)
AUTO_CLEANUP(tally, struct sweep_tally *, sweep_tally_free)
#define auto_history __attribute__((cleanup(cleanup_history)))
#define auto_store   __attribute__((cleanup(cleanup_store)))
#define auto_tally   __attribute__((cleanup(cleanup_tally)))

static const char sqlite_magic[] = "SQLite format 3";

static void warn(const char *line, void *arg)
{
	(void)arg;
	log_warning("merge: %s", line);
}

/* Returns whether all shards are there, or -ENOMEM. */
static int report_shards(struct sweep_tally *tally)
{
	int whole = sweep_tally_report(tally, warn, NULL);

	if (whole < 0)
		log_error("merge: out of memory");
	return whole;
}

/* Histories */

/* One that is read must not be the one that is written. */
static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int join_one(struct history *into, const struct merge_options *o, const char *file,
                    struct history_merge *sum)
{
	auto_history struct history *from = NULL;
	char why[HISTORY_ERROR_LEN];
	int err;

	if (is_same_file(file, o->history)) {
		log_error("merge: %s is read and written", file);
		return -EINVAL;
	}
	if (history_open(file, HISTORY_READ, &from, why) < 0) {
		log_error("merge: %s: %s", file, why);
		return -EINVAL;
	}
	err = history_merge(into, from, sum, why);
	if (err)
		log_error("merge: %s: %s", file, why);
	return err;
}

/* How the latest sweep stands; those before it are as they were. */
static int judge_latest(struct history *h, const struct merge_options *o,
                        const struct history_merge *sum)
{
	auto_tally struct sweep_tally *tally = sweep_tally_new();
	struct history_sweep sweep;
	uint64_t exposed;
	int err = tally ? history_find_sweep(h, NULL, NULL, &sweep) : -ENOMEM;

	if (err == -ENOENT) {
		log_warning("merge: there is no sweep in these histories");
		return MERGE_INCOMPLETE;
	}
	if (!err)
		err = history_tally_sweep(h, sweep.name, tally);
	if (err) {
		log_error("merge: %s: %s", o->history,
		          err == -EIO ? history_error(h) : strerror(-err));
		return MERGE_INCOMPLETE;
	}
	exposed = sweep.verdicts[VERDICT_CONFIRMED] + sweep.verdicts[VERDICT_LIKELY];
	if (!o->quiet)
		fprintf(stderr,
		        "added %" PRIu64 " shard%s, %" PRIu64 " were there, %" PRIu64
		        " from another run; the latest sweep: %u of %u shards, %" PRIu64
		        " exposed\n",
		        sum->added, sum->added == 1 ? "" : "s", sum->same, sum->twice,
		        sweep.shards_present, sweep.shards, exposed);
	if (report_shards(tally) != 1)
		return MERGE_INCOMPLETE;
	return exposed ? MERGE_FOUND : MERGE_NOTHING;
}

static int join_histories(const struct merge_options *o)
{
	auto_history struct history *into = NULL;
	struct history_merge sum = {0};
	char why[HISTORY_ERROR_LEN];
	int err;

	umask(0077); /* as a scan's own */
	if (history_open(o->history, HISTORY_WRITE, &into, why) < 0) {
		log_error("merge: %s: %s", o->history, why);
		return MERGE_USAGE;
	}
	for (size_t i = 0; i < o->n_files; i++) {
		err = join_one(into, o, o->files[i], &sum);
		if (err)
			return err == -EINVAL ? MERGE_USAGE : MERGE_INCOMPLETE;
	}
	return judge_latest(into, o, &sum);
}

/* Findings */

struct merge {
	const struct merge_options *options;
	struct merge_input input;
	mode_t mode; /* of what is written: nobody reads more than they could before */
	struct output *outputs[MERGE_MAX_OUTPUTS + 1];
	int fds[MERGE_MAX_OUTPUTS + 1];
	size_t n_outputs;
	bool found;
	uint64_t exposed;
};

static FILE *open_input(struct merge *m, const char *file)
{
	FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	struct stat st;
	int c;

	if (!in || fstat(fileno(in), &st) < 0) {
		log_error("merge: %s: %s", file, strerror(errno));
		return NULL;
	}
	if (S_ISREG(st.st_mode))
		m->mode &= st.st_mode;
	c = getc(in);
	if (c == sqlite_magic[0]) {
		log_error("merge: %s is no NDJSON; for histories, --history FILE says where to",
		          file);
		if (in != stdin)
			fclose(in);
		return NULL;
	}
	if (c != EOF)
		ungetc(c, in);
	return in;
}

static int read_file(struct merge *m, const char *file)
{
	struct merge_oddities odd = {0};
	char why[MERGE_ERROR_LEN];
	FILE *in = open_input(m, file);
	int err;

	if (!in)
		return -EINVAL;
	err = merge_input_read(&m->input, in, file, &odd, why);
	if (in != stdin)
		fclose(in);
	if (err) {
		log_error("merge: %s", why);
		return err;
	}
	if (odd.torn)
		log_warning("merge: %s: its last line is cut off and left out", file);
	if (odd.no_trailer)
		log_warning(
		    "merge: %s ends without a line about its sweep: the scan was killed, or "
		    "was none with --shard or --trailer",
		    file);
	return 0;
}

/* Whether the files belong together. */
static bool is_one_sweep(const struct merge *m)
{
	size_t sweeps = sweep_tally_sweeps(m->input.tally);

	if (m->options->force || sweeps == 1 || (sweeps == 0 && !m->input.several_scans))
		return true;
	if (sweeps == 0)
		log_error("merge: the files are of several scans and do not say of which sweep; "
		          "--force joins them");
	else
		log_error("merge: the files are of %zu different sweeps; --force joins them",
		          sweeps);
	return false;
}

static int begin_output(struct merge *m, const char *file, int fd, enum output_format format)
{
	const struct sweep_trailer *runs;
	struct output_context context = {.scan_id = m->input.scan_id};
	size_t n = sweep_tally_runs(m->input.tally, &runs);
	int err;

	if (n > 0)
		context = (struct output_context){.scan_id = runs->sweep_id,
		                                  .started_ms = runs->started_ms};
	for (size_t i = 1; i < n; i++)
		if (runs[i].started_ms < context.started_ms)
			context.started_ms = runs[i].started_ms;
	m->fds[m->n_outputs] = fd;
	err = output_new(fd, format, &context, &m->outputs[m->n_outputs]);
	m->n_outputs++;
	if (err)
		log_error("merge: %s: %s", file, strerror(-err));
	return err;
}

static int open_outputs(struct merge *m)
{
	const struct merge_options *o = m->options;

	for (size_t i = 0; i < o->n_outputs; i++) {
		const char *file = o->outputs[i];
		int fd;

		for (size_t f = 0; f < o->n_files; f++) {
			if (is_same_file(file, o->files[f])) {
				log_error("merge: %s is read and written", file);
				return -EINVAL;
			}
		}
		fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, m->mode);
		if (fd < 0) {
			log_error("merge: %s: %s", file, strerror(errno));
			return -EINVAL;
		}
		if (begin_output(m, file, fd,
		                 o->format_given ? o->format : output_format_of_file(file)) < 0)
			return -EIO;
	}
	if (merge_options_prints(o))
		return begin_output(m, "standard output", STDOUT_FILENO, o->format);
	return 0;
}

static int write_finding(const struct finding *f, void *arg)
{
	struct merge *m = arg;

	m->exposed += finding_is_exposed(f, SEVERITY_NONE);
	m->found = m->found || (!f->accepted && finding_is_exposed(f, SEVERITY_LOW));
	for (size_t i = 0; i < m->n_outputs; i++) {
		int err = output_write(m->outputs[i], f, NULL);

		if (err)
			return err;
	}
	return 0;
}

/* The shards' own lines go on, so that what was joined can be joined again. */
static int write_trailers(struct merge *m)
{
	const struct sweep_trailer *runs;
	size_t n = sweep_tally_runs(m->input.tally, &runs);

	for (size_t r = 0; r < n; r++) {
		for (size_t i = 0; i < m->n_outputs; i++) {
			int err = output_write_trailer(m->outputs[i], &runs[r]);

			if (err)
				return err;
		}
	}
	return 0;
}

static int write_outputs(struct merge *m, bool whole)
{
	int err = merge_store_walk(m->input.store, write_finding, m);

	if (err == -EIO)
		log_error("merge: cannot write: %s", merge_store_error(m->input.store));
	if (!err)
		err = write_trailers(m);
	for (size_t i = 0; i < m->n_outputs; i++) {
		int bad = output_finish(m->outputs[i], whole && !err);

		err = err ? err : bad;
	}
	if (err && err != -EIO)
		log_error("merge: cannot write: %s", strerror(-err));
	return err;
}

static void print_summary(struct merge *m, uint64_t kept)
{
	fprintf(stderr,
	        "merged %zu file%s: %" PRIu64 " endpoints probed, %" PRIu64 " findings, %" PRIu64
	        " exposed, %" PRIu64 " there more than once\n",
	        m->options->n_files, m->options->n_files == 1 ? "" : "s",
	        sweep_tally_endpoints(m->input.tally), kept, m->exposed, m->input.findings - kept);
}

static int merge_findings(struct merge *m)
{
	uint64_t kept;
	int err = 0, whole;

	for (size_t i = 0; i < m->options->n_files && !err; i++)
		err = read_file(m, m->options->files[i]);
	if (err)
		return err == -EINVAL ? MERGE_USAGE : MERGE_INCOMPLETE;
	if (!is_one_sweep(m))
		return MERGE_USAGE;
	whole = report_shards(m->input.tally);
	if (whole < 0 || merge_store_count(m->input.store, &kept) < 0)
		return MERGE_INCOMPLETE;
	err = open_outputs(m);
	if (err)
		return err == -EINVAL ? MERGE_USAGE : MERGE_INCOMPLETE;
	if (write_outputs(m, whole) < 0)
		return MERGE_INCOMPLETE;
	if (!m->options->quiet)
		print_summary(m, kept);
	if (!whole)
		return MERGE_INCOMPLETE;
	return m->found ? MERGE_FOUND : MERGE_NOTHING;
}

static int merge_files(const struct merge_options *o)
{
	auto_tally struct sweep_tally *tally = sweep_tally_new();
	auto_store struct merge_store *store = NULL;
	struct merge m = {.options = o, .mode = 0666};
	char why[MERGE_ERROR_LEN];
	int status;

	if (!tally || merge_store_new(&store, why) < 0) {
		log_error("merge: %s", tally ? why : "out of memory");
		return MERGE_INCOMPLETE;
	}
	m.input = (struct merge_input){.store = store, .tally = tally};
	status = merge_findings(&m);
	for (size_t i = 0; i < m.n_outputs; i++) {
		output_free(m.outputs[i]);
		if (m.fds[i] != STDOUT_FILENO)
			close(m.fds[i]);
	}
	return status;
}

int merge_main(int argc, char **argv)
{
	struct merge_options options;
	char why[MERGE_OPTIONS_ERROR_LEN];

	signal(SIGPIPE, SIG_IGN); /* an unwritable output is an error like any other */
	if (merge_options_parse(argc, argv, &options, why) < 0) {
		log_error("merge: %s", why);
		return MERGE_USAGE;
	}
	if (options.help) {
		merge_options_print_help(stdout);
		return fflush(stdout) ? MERGE_INCOMPLETE : MERGE_NOTHING;
	}
	return options.history ? join_histories(&options) : merge_files(&options);
}
