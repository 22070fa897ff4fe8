/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_ledger.h"

#include "build_info.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/accept.h"
#include "scanner/history_writer.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

enum { MAX_BLOCKS = 1 << 20 };

struct scan_ledger {
	struct history_writer *writer;
	struct accept_list *accept;
	struct endpoint *walled; /* sorted */
	size_t n_walled;
	struct endpoint *known; /* sorted: what the history has */
	size_t n_known;
};

static int compare_endpoints(const void *a, const void *b)
{
	return endpoint_compare(a, b);
}

static int read_blocks(struct scan_ledger *l, const char *file, char *why)
{
	json_error_t error;
	auto_fclose FILE *from = fopen(file, "re");
	auto_json json_t *answer = NULL;
	const json_t *blocks, *block;
	struct stat st;
	size_t i;

	/* jansson says the same of each: that there is no JSON in it */
	if (!from || fstat(fileno(from), &st) < 0 || S_ISDIR(st.st_mode)) {
		snprintf(why, SCAN_LEDGER_ERROR_LEN,
		         "%.200s:1:1: cannot be read: %s; expected a readable file", file,
		         strerror(from ? EISDIR : errno));
		return -EINVAL;
	}
	answer = json_loadf(from, JSON_REJECT_DUPLICATES, &error);
	blocks = json_object_get(answer, "blocks");
	if (!answer) {
		snprintf(why, SCAN_LEDGER_ERROR_LEN, "%.200s:%d:%d: %.200s", file,
		         error.line > 0 ? error.line : 1, error.column > 0 ? error.column : 1,
		         error.text);
		return -EINVAL;
	}
	if (!json_is_true(json_object_get(answer, "ok")) || !json_is_array(blocks) ||
	    json_array_size(blocks) > MAX_BLOCKS) {
		snprintf(why, SCAN_LEDGER_ERROR_LEN,
		         "%.200s:1:1: not what `pprofwall blocks --json` prints", file);
		return -EINVAL;
	}
	l->walled = calloc(json_array_size(blocks) + 1, sizeof(*l->walled));
	if (!l->walled)
		return -ENOMEM;
	json_array_foreach (blocks, i, block) {
		const char *text = json_string_value(json_object_get(block, "endpoint"));

		if (!text || endpoint_parse(text, &l->walled[l->n_walled]) < 0) {
			snprintf(why, SCAN_LEDGER_ERROR_LEN,
			         "%.200s:1:1: block %zu has no numeric endpoint", file, i + 1);
			return -EINVAL;
		}
		l->n_walled++;
	}
	qsort(l->walled, l->n_walled, sizeof(*l->walled), compare_endpoints);
	return 0;
}

static int add_known(const struct endpoint *e, void *arg)
{
	struct scan_ledger *l = arg;

	/* in steps of powers of two */
	if ((l->n_known & (l->n_known - 1)) == 0) {
		size_t room = l->n_known ? 2 * l->n_known : 1;
		struct endpoint *grown = reallocarray(l->known, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->known = grown;
	}
	l->known[l->n_known++] = *e;
	return 0;
}

/* Only of these is it worth a line that they are closed now. */
static int read_known(struct scan_ledger *l, const char *file, char *why)
{
	char reason[HISTORY_ERROR_LEN];
	struct history *h = NULL;
	int err = history_open(file, HISTORY_READ, &h, reason);

	if (!err)
		err = history_each_endpoint(h, add_known, l);
	history_close(h);
	if (err)
		snprintf(why, SCAN_LEDGER_ERROR_LEN, "%.100s: what it knows cannot be read", file);
	if (l->n_known > 0)
		qsort(l->known, l->n_known, sizeof(*l->known), compare_endpoints);
	return err;
}

static int start_history(struct scan_ledger *l, const struct scan_ledger_conf *conf, char *why)
{
	char host[HISTORY_VANTAGE_LEN] = "", reason[HISTORY_ERROR_LEN], text[PREFIX_TEXT_LEN];
	struct history_begin begin = {
	    .name = conf->sweep_id,
	    .shard = conf->shard,
	    .shards = conf->shards,
	    .started_ms = clock_wall_ms(),
	    .vantage = conf->vantage ? conf->vantage : host,
	    .version = PPROFWALL_VERSION,
	    .options = conf->options,
	};
	int err;

	if (gethostname(host, sizeof(host) - 1) < 0)
		return -errno;
	err = history_writer_start(conf->history, &begin, &l->writer, reason);
	if (err) {
		snprintf(why, SCAN_LEDGER_ERROR_LEN, "%.100s: %s", conf->history, reason);
		return err;
	}
	for (size_t i = 0; conf->excludes && i < exclude_set_count(conf->excludes) && !err; i++)
		err = history_writer_cover(l->writer, HISTORY_EXCLUDES,
		                           prefix_format(exclude_set_at(conf->excludes, i), text),
		                           "");
	return err ? err : read_known(l, conf->history, why);
}

int scan_ledger_open(const struct scan_ledger_conf *conf, struct scan_ledger **out,
                     char why[static SCAN_LEDGER_ERROR_LEN])
{
	struct scan_ledger *l = calloc(1, sizeof(*l));
	char reason[CONF_ERROR_LEN];
	int err = l ? 0 : -ENOMEM;

	why[0] = '\0';
	if (!err && conf->accept) {
		l->accept = accept_load_file(conf->accept, reason);
		if (!l->accept) {
			snprintf(why, SCAN_LEDGER_ERROR_LEN, "%s", reason);
			err = -EINVAL;
		}
	}
	if (!err && conf->blocks)
		err = read_blocks(l, conf->blocks, why);
	if (!err && conf->history)
		err = start_history(l, conf, why);
	if (err) {
		if (!why[0])
			snprintf(why, SCAN_LEDGER_ERROR_LEN, "%s", strerror(-err));
		scan_ledger_close(l);
		return err;
	}
	*out = l;
	return 0;
}

void scan_ledger_close(struct scan_ledger *l)
{
	if (!l)
		return;
	history_writer_free(l->writer);
	accept_free(l->accept);
	free(l->walled);
	free(l->known);
	free(l);
}

/* "80,443,8000-8100": runs of a list that is in no order. */
static char *describe_ports(const struct target *target, const struct port_list *list)
{
	static const unsigned n_ports = 65536;
	auto_free bool *has = calloc(n_ports, sizeof(*has));
	char *text = NULL;
	size_t length;
	FILE *out;
	unsigned first = 0;

	if (!has || !(out = open_memstream(&text, &length)))
		return NULL;
	if (target->port)
		has[target->port] = true;
	for (size_t i = 0; i < list->count && !target->port; i++)
		has[list->ports[i]] = true;
	for (unsigned port = 1; port < n_ports; port++) {
		bool next = port + 1 < n_ports && has[port + 1];

		if (has[port] && first == 0)
			first = port;
		if (first == 0 || next)
			continue;
		fprintf(out, first == port ? "%s%u" : "%s%u-%u", ftell(out) ? "," : "", first,
		        port);
		first = 0;
	}
	fclose(out);
	return text;
}

int scan_ledger_add_target(struct scan_ledger *l, const struct target *target,
                           const struct port_list *ports)
{
	char network[PREFIX_TEXT_LEN];
	auto_free char *text = NULL;

	if (!l->writer)
		return 0;
	text = describe_ports(target, ports);
	if (!text)
		return -ENOMEM;
	return history_writer_cover(
	    l->writer, HISTORY_COVERS,
	    target->host[0] ? target->host : prefix_format(&target->prefix, network), text);
}

bool scan_ledger_knows(const struct scan_ledger *l, const struct endpoint *e)
{
	return l->n_known > 0 && bsearch(e, l->known, l->n_known, sizeof(*e), compare_endpoints);
}

int scan_ledger_accept(const struct scan_ledger *l, struct finding *f)
{
	const struct acceptance *a = accept_find(l->accept, &f->endpoint, f->host, f->time_ms);
	auto_free char *text = NULL;

	if (!a)
		return 0;
	text = accept_describe(a);
	return text ? finding_set(&f->accepted, text) : -ENOMEM;
}

static bool is_walled(const struct scan_ledger *l, const struct endpoint *e)
{
	return l->n_walled > 0 && bsearch(e, l->walled, l->n_walled, sizeof(*e), compare_endpoints);
}

int scan_ledger_observe(struct scan_ledger *l, const struct probe_request *request,
                        const struct finding *f)
{
	struct history_observation o = {
	    .endpoint = f->endpoint,
	    .time_ms = f->time_ms,
	    .verdict = f->verdict,
	    .severity = f->severity,
	    .high_risk = f->high_risk,
	};
	auto_free char *line = NULL;

	if (!l->writer)
		return 0;
	o.walled = is_walled(l, &f->endpoint);
	_Static_assert(sizeof(o.host) == sizeof(request->host) &&
	                   sizeof(o.prefix) == sizeof(request->prefix),
	               "they are copied");
	memcpy(o.host, request->host, sizeof(o.host));
	memcpy(o.prefix, request->prefix, sizeof(o.prefix));
	snprintf(o.vantage, sizeof(o.vantage), "%s", f->vantage ? f->vantage : "");
	if (history_is_exposed(f->verdict)) {
		line = finding_to_line(f);
		if (!line)
			return -ENOMEM;
	}
	return history_writer_observe(l->writer, &o, line);
}

int scan_ledger_end(struct scan_ledger *l, bool complete, const uint64_t verdicts[VERDICT_COUNT])
{
	struct history_end end = {.complete = complete, .ended_ms = clock_wall_ms()};

	if (!l->writer)
		return 0;
	memcpy(end.verdicts, verdicts, sizeof(end.verdicts));
	return history_writer_end(l->writer, &end);
}
