/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_options_sweep.h"

#include "conf/conf.h"
#include "scanner/probe_pool.h"

#include <errno.h>
#include <string.h>

static int set_method(struct scan_options *o, const char *text, char *why)
{
	static const char *const names[] = {[SCAN_METHOD_AUTO] = "auto",
	                                    [SCAN_METHOD_DIRECT] = "direct",
	                                    [SCAN_METHOD_CONNECT] = "connect",
	                                    [SCAN_METHOD_SYN] = "syn"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			o->method = (enum scan_method)i;
			return 0;
		}
	}
	return scan_options_refuse(
	    why, "--method: '%.32s' is not one of auto, direct, connect, syn", text);
}

static int set_number(const char *option, const char *text, uint64_t min, uint64_t max,
                      uint64_t *out, char *why)
{
	uint64_t n = 0;

	if (conf_parse_number(text, max, &n) < 0 || n < min)
		return scan_options_refuse(why, "--%s: '%.32s' is not a number from %llu to %llu",
		                           option, text, (unsigned long long)min,
		                           (unsigned long long)max);
	*out = n;
	return 0;
}

static int set_retries(struct scan_options *o, const char *text, char *why)
{
	uint64_t n = 0;

	o->retries = -1;
	if (strcmp(text, "auto") == 0)
		return 0;
	if (conf_parse_number(text, SCAN_MAX_RETRIES, &n) < 0)
		return scan_options_refuse(
		    why, "--retries: '%.32s' is neither auto nor a number from 0 to %d", text,
		    SCAN_MAX_RETRIES);
	o->retries = (int)n;
	return 0;
}

static int set_threads(struct scan_options *o, const char *text, char *why)
{
	uint64_t n = 0;

	if (set_number("threads", text, 1, PROBE_POOL_MAX_THREADS, &n, why) < 0)
		return -EINVAL;
	o->threads = (unsigned)n;
	return 0;
}

static int set_seed(struct scan_options *o, const char *text, char *why)
{
	const char *end;

	if (scan_mark_parse_number(text, &end, &o->seed) < 0 || *end)
		return scan_options_refuse(why, "--seed: '%.32s' is not a number from 0 to 2^64-1",
		                           text);
	o->seed_given = true;
	return 0;
}

static int set_shard(struct scan_options *o, const char *text, char *why)
{
	uint64_t i, n;
	const char *end;

	if (scan_mark_parse_number(text, &end, &i) < 0 || *end != '/' ||
	    scan_mark_parse_number(end + 1, &end, &n) < 0 || *end || i < 1 || i > n ||
	    n > SCAN_MAX_SHARDS)
		return scan_options_refuse(
		    why, "--shard: '%.32s' is not I/N with I from 1 to N, such as 3/8", text);
	o->shard = (struct sweep_shard){(uint32_t)i - 1, (uint32_t)n};
	return 0;
}

static int set_start(struct scan_options *o, const char *text, char *why)
{
	if (scan_mark_parse(text, &o->start_at) < 0)
		return scan_options_refuse(
		    why, "--start-at: '%.64s' is not what an interrupted scan said", text);
	return 0;
}

static int add_exclude_file(struct scan_options *o, const char *path, char *why)
{
	if (o->n_exclude_files == SCAN_MAX_EXCLUDE_FILES)
		return scan_options_refuse(why, "--exclude-file: more than %d files",
		                           SCAN_MAX_EXCLUDE_FILES);
	o->exclude_files[o->n_exclude_files++] = path;
	return 0;
}

/* It stands in a header of every request. */
static int set_contact(struct scan_options *o, const char *text, char *why)
{
	size_t length = strlen(text);

	for (const char *p = text; *p; p++) {
		if (*p < 0x20 || *p >= 0x7f || strchr("()\\", *p))
			length = 0;
	}
	if (length == 0 || length > SCAN_MAX_CONTACT)
		return scan_options_refuse(
		    why,
		    "--contact: expected 1 to %d ASCII characters, such as a URL or a "
		    "mail address, without brackets",
		    SCAN_MAX_CONTACT);
	o->contact = text;
	return 0;
}

static int set_input_format(struct scan_options *o, const char *text, char *why)
{
	if (input_format_parse(text, &o->input_format))
		return 0;
	return scan_options_refuse(
	    why,
	    "--input-format: '%.32s' is not one of auto, lines, nmap-xml, nmap-grep, "
	    "masscan-json, masscan-list, naabu-json",
	    text);
}

static int set_addresses(struct scan_options *o, const char *text, char *why)
{
	if (strcmp(text, "first") != 0 && strcmp(text, "all") != 0)
		return scan_options_refuse(why, "--addresses: '%.32s' is neither all nor first",
		                           text);
	o->first_address = text[0] == 'f';
	return 0;
}

int scan_options_set_sweep(struct scan_options *o, int id, const char *value,
                           char why[static SCAN_ERROR_LEN])
{
	switch (id) {
	case SCAN_SWEEP_METHOD: return set_method(o, value, why);
	case SCAN_SWEEP_RATE:
		return set_number("rate", value, 0, SCAN_MAX_RATE, &o->rate_per_sec, why);
	case SCAN_SWEEP_PER_HOST_RATE:
		return set_number("per-host-rate", value, 0, SCAN_MAX_RATE, &o->per_host_per_sec,
		                  why);
	case SCAN_SWEEP_RETRIES: return set_retries(o, value, why);
	case SCAN_SWEEP_THREADS: return set_threads(o, value, why);
	case SCAN_SWEEP_SEED: return set_seed(o, value, why);
	case SCAN_SWEEP_SHARD: return set_shard(o, value, why);
	case SCAN_SWEEP_START_AT: return set_start(o, value, why);
	case SCAN_SWEEP_RESUME: o->resume = value; return 0;
	case SCAN_SWEEP_STOP_FILE: o->stop_file = value; return 0;
	case SCAN_SWEEP_METRICS_FILE: o->metrics_file = value; return 0;
	case SCAN_SWEEP_EXCLUDE_FILE: return add_exclude_file(o, value, why);
	case SCAN_SWEEP_INPUT_FORMAT: return set_input_format(o, value, why);
	case SCAN_SWEEP_CONTACT: return set_contact(o, value, why);
	case SCAN_SWEEP_ADDRESSES: return set_addresses(o, value, why);
	case SCAN_SWEEP_DRY_RUN: o->dry_run = true; return 0;
	case SCAN_SWEEP_TRAILER: o->trailer = true; return 0;
	case SCAN_SWEEP_NO_PRINTER_GUARD: o->no_printer_guard = true; return 0;
	case SCAN_SWEEP_NO_ACCEPT_ALL_GUARD: o->no_accept_all_guard = true; return 0;
	default: return 1;
	}
}

int scan_options_check_sweep(const struct scan_options *o, char why[static SCAN_ERROR_LEN])
{
	bool discovers = o->method == SCAN_METHOD_CONNECT || o->method == SCAN_METHOD_SYN;
	bool starts_late = o->start_at.first_target || o->start_at.n_taken;

	if (discovers && o->route.proxy)
		return scan_options_refuse(
		    why, "--method connect and syn go past a --proxy: leave one out");
	if (starts_late && !o->seed_given)
		return scan_options_refuse(
		    why, "--start-at needs the --seed of the scan that it continues");
	if (starts_late && o->resume)
		return scan_options_refuse(
		    why, "--start-at and --resume both say where to go on: leave one out");
	return 0;
}
