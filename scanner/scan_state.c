/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_state.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sha2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { STATE_SCHEMA = 1, STATE_MAX_BYTES = 64 * 1024 };

AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_json __attribute__((cleanup(cleanup_json)))

static void add_text(SHA2_CTX *sha, const char *text)
{
	if (!text)
		text = "";
	SHA256Update(sha, (const uint8_t *)text, strlen(text) + 1);
}

static void add_number(SHA2_CTX *sha, uint64_t n)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(n >> (8 * i));
	SHA256Update(sha, bytes, sizeof(bytes));
}

static void take_digest(SHA2_CTX *sha, char out[static SCAN_SWEEP_ID_LEN])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	SHA256Final(digest, sha);
	for (size_t i = 0; i < (SCAN_SWEEP_ID_LEN - 1) / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* What decides which endpoints there are, and what is asked of them. */
static void add_question(SHA2_CTX *sha, const struct scan_options *o)
{
	for (size_t i = 0; i < o->n_targets; i++)
		add_text(sha, o->targets[i]);
	add_text(sha, "");
	for (size_t i = 0; i < o->ports.count; i++)
		add_number(sha, o->ports.ports[i]);
	add_text(sha, o->prefixes);
	add_text(sha, o->signatures_file);
	add_text(sha, o->route.host);
	add_number(sha, o->relatives);
	if (o->serves)
		add_text(sha, "serves");
	add_number(sha, o->first_address);
}

static void digest_question(const struct scan_options *o, char out[static SCAN_SWEEP_ID_LEN])
{
	SHA2_CTX sha;

	SHA256Init(&sha);
	add_question(&sha, o);
	take_digest(&sha, out);
}

static void make_sweep_id(const struct scan_options *o, struct scan_state *s)
{
	SHA2_CTX sha;

	SHA256Init(&sha);
	add_question(&sha, o);
	add_number(&sha, s->seed);
	add_number(&sha, s->shard.count);
	take_digest(&sha, s->sweep_id);
}

int scan_state_begin(const struct scan_options *o, struct scan_state *out)
{
	struct scan_state s = {.seed = o->seed, .shard = o->shard};

	digest_question(o, s.asked);
	/* Shards that are not told a seed must come to the same one. */
	if (!o->seed_given && s.shard.count > 1)
		s.seed = strtoull(s.asked + 16, NULL, 16);
	else if (!o->seed_given && getrandom(&s.seed, sizeof(s.seed), 0) != (ssize_t)sizeof(s.seed))
		return -EIO;
	s.mark = o->start_at;
	make_sweep_id(o, &s);
	*out = s;
	return 0;
}

static json_t *format_counts(const struct scan_state *s)
{
	json_t *verdicts = json_object();

	for (size_t i = 0; i < VERDICT_COUNT; i++)
		json_object_set_new(verdicts, finding_verdict_name((enum finding_verdict)i),
		                    json_integer((json_int_t)s->verdicts[i]));
	return verdicts;
}

/* The order of a sweep and its place in it are numbers that JSON's readers may not hold: text. */
char *scan_state_format(const struct scan_state *s)
{
	char mark[SCAN_MARK_TEXT_LEN], seed[24];
	auto_json json_t *object = NULL;
	auto_free char *text = NULL;
	char *line = NULL;

	snprintf(seed, sizeof(seed), "%" PRIu64, s->seed);
	scan_mark_format(&s->mark, mark);
	object =
	    json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:I, s:o, s:I, s:I}", "schema",
	              STATE_SCHEMA, "type", "resume", "sweep_id", s->sweep_id, "asked", s->asked,
	              "seed", seed, "shard", (json_int_t)s->shard.index + 1, "shards",
	              (json_int_t)s->shard.count, "complete", s->complete, "start_at", mark,
	              "endpoints", (json_int_t)s->endpoints, "verdicts", format_counts(s),
	              "high_risk", (json_int_t)s->high_risk, "set_aside", (json_int_t)s->set_aside);
	text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return NULL;
	return line;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SCAN_STATE_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

static bool is_id(const char *text)
{
	return text && strlen(text) == SCAN_SWEEP_ID_LEN - 1 &&
	       strspn(text, "0123456789abcdef") == SCAN_SWEEP_ID_LEN - 1;
}

static int read_counts(const json_t *object, struct scan_state *s)
{
	const json_t *verdicts = json_object_get(object, "verdicts");

	for (size_t i = 0; i < VERDICT_COUNT; i++) {
		const char *name = finding_verdict_name((enum finding_verdict)i);
		json_int_t n = json_integer_value(json_object_get(verdicts, name));

		if (n < 0)
			return -EINVAL;
		s->verdicts[i] = (uint64_t)n;
	}
	return 0;
}

int scan_state_parse(const char *text, size_t length, struct scan_state *out,
                     char why[static SCAN_STATE_ERROR_LEN])
{
	json_error_t error;
	auto_json json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	const char *type = "", *sweep_id = "", *asked = "", *seed = "", *mark = "", *end = "";
	json_int_t schema = 0, shard = 0, shards = 0, endpoints = 0, high_risk = 0, set_aside = 0;
	int complete = 0;
	struct scan_state s = {0};

	if (!object)
		return refuse(why, "%d:%d: %.200s; expected one JSON object",
		              error.line > 0 ? error.line : 1, error.column > 0 ? error.column : 1,
		              error.text);
	if (json_unpack(object, "{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:I, s:I, s:I}",
	                "schema", &schema, "type", &type, "sweep_id", &sweep_id, "asked", &asked,
	                "seed", &seed, "shard", &shard, "shards", &shards, "complete", &complete,
	                "start_at", &mark, "endpoints", &endpoints, "high_risk", &high_risk,
	                "set_aside", &set_aside) < 0 ||
	    schema != STATE_SCHEMA || strcmp(type, "resume") != 0)
		return refuse(why, "1:1: not what --resume keeps");
	if (!is_id(sweep_id) || !is_id(asked) || scan_mark_parse_number(seed, &end, &s.seed) < 0 ||
	    *end || shards < 1 || shards > UINT32_MAX || shard < 1 || shard > shards ||
	    endpoints < 0 || high_risk < 0 || set_aside < 0 || scan_mark_parse(mark, &s.mark) < 0 ||
	    read_counts(object, &s) < 0)
		return refuse(why, "1:1: what --resume keeps, but damaged");
	memcpy(s.sweep_id, sweep_id, sizeof(s.sweep_id));
	memcpy(s.asked, asked, sizeof(s.asked));
	s.shard = (struct sweep_shard){(uint32_t)shard - 1, (uint32_t)shards};
	s.complete = complete;
	s.endpoints = (uint64_t)endpoints;
	s.high_risk = (uint64_t)high_risk;
	s.set_aside = (uint64_t)set_aside;
	*out = s;
	return 0;
}

static int read_file(const char *file, char *text, size_t size, size_t *length)
{
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	*length = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	while (*length < size) {
		ssize_t n = read(fd, text + *length, size - *length);

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		*length += (size_t)n;
	}
	return -EFBIG;
}

int scan_state_load(const char *file, const struct scan_options *o, struct scan_state *s,
                    char why[static SCAN_STATE_ERROR_LEN])
{
	auto_free char *text = malloc(STATE_MAX_BYTES);
	char reason[SCAN_STATE_ERROR_LEN];
	struct scan_state found = {0};
	size_t length;
	int err = text ? read_file(file, text, STATE_MAX_BYTES, &length) : -ENOMEM;

	if (err == -ENOENT || (!err && length == 0))
		return 0;
	if (err) {
		refuse(why, "%.200s: %s", file, strerror(-err));
		return err;
	}
	if (scan_state_parse(text, length, &found, reason) < 0)
		return refuse(why, "%.200s:%.250s", file, reason);
	if (found.complete)
		return 0;
	if (strcmp(found.asked, s->asked) != 0)
		return refuse(why,
		              "%.200s: of a sweep with other targets, ports or prefixes, which is "
		              "not complete; remove it to begin anew",
		              file);
	if (found.shard.index != s->shard.index || found.shard.count != s->shard.count)
		return refuse(why, "%.200s: of shard %u/%u", file, (unsigned)found.shard.index + 1,
		              (unsigned)found.shard.count);
	if (o->seed_given && found.seed != o->seed)
		return refuse(why, "%.200s: of a sweep with the seed %" PRIu64, file, found.seed);
	*s = found;
	return 0;
}
