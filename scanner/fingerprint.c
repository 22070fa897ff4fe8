/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine: which request comes next, and what all answers together mean. Single answers
 * are read by the rules of fingerprint_rules.h.
 *
 *	index ──▶ redirected ─┐
 *	  │ ▲ (other scheme)  │
 *	  ├─┘                 ▼
 *	  ├── index, or a reason to go on ──▶ symbol ──▶ control ──▶ goroutine ──▶ cmdline ──▶ end
 *	  ├── 401, 403 ──▶ control ──▶ redirected (does the path exist?) ──▶ end
 *	  └── anything else ──▶ other prefixes ──▶ relatives ──▶ control ──▶ end
 *
 * What is exposed is asked for /metrics and / before the end, where the caller wants to know what
 * else the port serves and the product does not say.
 *
 * The other prefixes and relatives only where it is a Go server's 404, or the user says so. Where
 * HTTP/1.1 was met by HTTP/2's first frame or an end, the index is asked for once by HTTP/2.
 */
#include "scanner/fingerprint.h"

#include "common/cleanup.h"
#include "scanner/fingerprint_rules.h"
#include "scanner/fingerprint_state.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
	SMALL_BODY_MAX_BYTES = 4 * 1024, /* symbol, and errors */
	CMDLINE_MAX_BYTES = 32 * 1024,
	GOROUTINE_READ_MAX = 1000,
};

/* Where C++ programs answer, and no Go. */
static const char gperftools_prefix[] = "/pprof/";
static const char default_prefix[] = "/debug/pprof/";

struct fingerprint *fingerprint_new(void)
{
	struct fingerprint *fp = calloc(1, sizeof(*fp));

	if (fp) {
		finding_init(&fp->draft);
		fp->done = true;
	}
	return fp;
}

void fingerprint_free(struct fingerprint *fp)
{
	if (fp)
		finding_fini(&fp->draft);
	free(fp);
}

/* With a slash at both ends. Returns false when it is too long. */
static bool set_prefix(struct fingerprint *fp, const char *prefix)
{
	int n;

	if (prefix == default_prefix) {
		memcpy(fp->prefix, default_prefix, sizeof(default_prefix));
		return true;
	}
	n = snprintf(fp->prefix, sizeof(fp->prefix), "%s%s%s", prefix[0] == '/' ? "" : "/", prefix,
	             prefix[strlen(prefix) - 1] == '/' ? "" : "/");
	return n > 0 && (size_t)n < sizeof(fp->prefix);
}

void fingerprint_reset(struct fingerprint *fp, const struct fingerprint_conf *conf)
{
	bool has_prefix = conf->prefix && conf->prefix[0];

	finding_fini(&fp->draft);
	*fp = (struct fingerprint){
	    .tls_only = conf->tls_only,
	    .plain_only = conf->plain_only && !conf->tls_only,
	    .show_secrets = conf->show_secrets,
	    .goroutine_read_max =
	        conf->goroutine_read_max ? conf->goroutine_read_max : GOROUTINE_READ_MAX,
	    .nonce = conf->nonce,
	    .signatures = conf->signatures,
	    .all_relatives = conf->all_relatives,
	    .all_prefixes = conf->all_prefixes,
	    .asks_serves = conf->asks_serves,
	    .any_prefix = !has_prefix,
	    .step = FINGERPRINT_INDEX,
	};
	finding_init(&fp->draft);
	fp->tls = conf->tls_only || (conf->tls_first && !conf->plain_only);
	if (!set_prefix(fp, has_prefix ? conf->prefix : default_prefix)) {
		fp->done = true;
		fp->failure = "the path is too long";
	}
	if (conf->authority)
		snprintf(fp->authority, sizeof(fp->authority), "%s", conf->authority);
}

/* The prefix without its trailing slash; "" for the root. */
static void format_slashless(const struct fingerprint *fp, char path[FINGERPRINT_PATH_MAX_LEN])
{
	snprintf(path, FINGERPRINT_PATH_MAX_LEN, "%.*s", (int)strlen(fp->prefix) - 1, fp->prefix);
}

/* Sixteen hex digits that no server can foresee (the finalizer of splitmix64). */
static void format_control_path(uint64_t nonce, char path[FINGERPRINT_PATH_MAX_LEN])
{
	uint64_t z = nonce + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	snprintf(path, FINGERPRINT_PATH_MAX_LEN, "/%016" PRIx64, z ^ (z >> 31));
}

static void format_path(struct fingerprint_request *out, const char *prefix, const char *name)
{
	snprintf(out->path, sizeof(out->path), "%s%s", prefix, name);
}

static bool find_relative(struct fingerprint *fp);

/* Nothing further will be asked, unless this shows something. */
static bool is_likely_last(struct fingerprint *fp)
{
	size_t here = fp->next_relative;
	bool more;

	switch ((int)fp->step) {
	case FINGERPRINT_CMDLINE:
		return !fp->asks_serves && (!fp->signatures || !fp->all_relatives);
	case FINGERPRINT_CONTROL: return !fp->asks_serves && fp->relatives != 0 && !fp->is_index;
	case FINGERPRINT_ROOT: return true;
	case FINGERPRINT_RELATIVE:
		fp->next_relative++;
		more = find_relative(fp) || (fp->relatives && fp->control == CONTROL_NOT_ASKED);
		fp->next_relative = here;
		return !more && !(fp->asks_serves && fp->relatives);
	default: return false;
	}
}

bool fingerprint_next(struct fingerprint *fp, struct fingerprint_request *out)
{
	if (fp->done || fp->requests >= FINGERPRINT_MAX_REQUESTS)
		return false;
	*out = (struct fingerprint_request){
	    .step = fp->step,
	    .tls = fp->tls,
	    .http2 = fp->http2,
	    .last = is_likely_last(fp),
	    .body_max_bytes = SMALL_BODY_MAX_BYTES,
	};
	switch (fp->step) {
	case FINGERPRINT_INDEX:
		format_path(out, fp->prefix, "");
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_INDEX_REDIRECTED:
		format_slashless(fp, out->path);
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_SYMBOL: format_path(out, fp->prefix, "symbol"); break;
	case FINGERPRINT_CONTROL:
		format_control_path(fp->nonce, out->path);
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_CMDLINE:
		format_path(out, fp->prefix, "cmdline");
		out->body_max_bytes = CMDLINE_MAX_BYTES;
		break;
	case FINGERPRINT_GOROUTINE:
		format_path(out, fp->prefix, "goroutine?debug=2");
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_GOROUTINE_REFUSED:
		format_path(out, fp->prefix, "goroutine?debug=2&seconds=x");
		break;
	case FINGERPRINT_PREFIX:
		format_path(out, fp->signatures->prefixes.items[fp->next_prefix], "");
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_RELATIVE:
		format_path(out, fp->signatures->relatives[fp->next_relative].path, "");
		out->body_max_bytes = FINGERPRINT_BODY_MAX_BYTES;
		break;
	case FINGERPRINT_METRICS: format_path(out, "/metrics", ""); break;
	case FINGERPRINT_ROOT: format_path(out, "/", ""); break;
	}
	fp->requests++;
	return true;
}

static void go_to(struct fingerprint *fp, enum fingerprint_step step)
{
	fp->step = step;
}

static void end(struct fingerprint *fp)
{
	fp->done = true;
}

static void keep(struct fingerprint *fp, int err)
{
	if (err == -ENOMEM)
		fp->out_of_memory = true;
}

static bool is_exposed(const struct fingerprint *fp)
{
	return fp->is_index || fp->symbol != SYMBOL_NONE;
}

static bool has_relative_of_go(const struct fingerprint *fp)
{
	for (size_t i = 0; fp->signatures && i < 64 && fp->relatives >> i; i++)
		if ((fp->relatives >> i & 1) && !fp->signatures->relatives[i].lookalike)
			return true;
	return false;
}

/* All that is to be known of profiling is known: what else would a closed port take away? */
static void end_or_ask_what_else(struct fingerprint *fp)
{
	const struct signature_product *product = program_find_product(fp);
	bool wanted = fp->asks_serves && (is_exposed(fp) || has_relative_of_go(fp)) &&
	              !(product && product->serves.count > 0);

	if (wanted && !fp->metrics_asked)
		go_to(fp, FINGERPRINT_METRICS);
	else if (wanted && fp->serves == 0 && strlen(fp->prefix) > 1)
		go_to(fp, FINGERPRINT_ROOT);
	else
		end(fp);
}

static bool find_prefix(struct fingerprint *fp)
{
	const struct conf_strings *all = &fp->signatures->prefixes;

	for (; fp->next_prefix < all->count; fp->next_prefix++) {
		const char *prefix = all->items[fp->next_prefix];
		size_t n = strlen(prefix);

		if (n > 1 && n < sizeof(fp->prefix) && prefix[n - 1] == '/' &&
		    strcmp(prefix, default_prefix) != 0 && !rule_is_costly_path(prefix))
			return true;
	}
	return false;
}

/* Those that are no Go are looked for only where all are. */
static bool find_relative(struct fingerprint *fp)
{
	for (; fp->next_relative < fp->signatures->n_relatives; fp->next_relative++) {
		const struct signature_relative *r = &fp->signatures->relatives[fp->next_relative];

		if (fp->next_relative < 64 && (fp->all_relatives || !r->lookalike) &&
		    strlen(r->path) < FINGERPRINT_PATH_MAX_LEN && !rule_is_costly_path(r->path))
			return true;
	}
	return false;
}

/*
 * Nothing at the prefix, or all that is to be known of it. Only a Go server is worth further
 * requests, unless the user wants them made: one decides most endpoints.
 */
static void look_further(struct fingerprint *fp)
{
	bool is_go = fp->is_go && !is_exposed(fp);

	if (fp->signatures && (is_go || (fp->all_prefixes && !is_exposed(fp))) && fp->any_prefix &&
	    find_prefix(fp))
		go_to(fp, FINGERPRINT_PREFIX);
	else if (fp->signatures && (is_go || fp->all_relatives) && find_relative(fp))
		go_to(fp, FINGERPRINT_RELATIVE);
	else if (fp->relatives && fp->control == CONTROL_NOT_ASKED)
		go_to(fp, FINGERPRINT_CONTROL);
	else
		end_or_ask_what_else(fp);
}

static void feed_prefix(struct fingerprint *fp, const struct http_answer *a)
{
	const char *prefix = fp->signatures->prefixes.items[fp->next_prefix++];

	if (!rule_is_index(a) || !set_prefix(fp, prefix)) {
		look_further(fp);
		return;
	}
	fp->status = a->status;
	fp->is_index = true;
	fp->slashless = false;
	keep(fp, rule_read_index(a, &fp->page, &fp->draft.profiles));
	go_to(fp, FINGERPRINT_SYMBOL);
}

static bool matches_relative(const struct fingerprint *fp, size_t i, const struct http_answer *a)
{
	return a->status == 200 &&
	       signature_relative_matches(&fp->signatures->relatives[i], a->content_type, a->body,
	                                  a->body_length);
}

static void feed_index(struct fingerprint *fp, const struct http_answer *a, bool redirected)
{
	if (!redirected && !fp->http2 && scheme_try_other(fp, a))
		return;
	if (a->status == 0 || (rule_wants_tls(a) && !fp->plain_only)) {
		scheme_feed_no_answer(fp, a);
		return;
	}
	fp->status = a->status;
	fp->slashless = redirected;
	fp->is_index = rule_is_index(a);
	fp->is_undecided = rule_is_undecided_index(a);
	fp->has_profile_title = rule_has_profile_title(a);
	fp->is_denied = rule_is_denied(a);
	fp->is_go = rule_is_go_not_found(a);
	if (fp->is_index) {
		keep(fp, rule_read_index(a, &fp->page, &fp->draft.profiles));
		go_to(fp, FINGERPRINT_SYMBOL);
	} else if (fp->is_denied) {
		go_to(fp, FINGERPRINT_CONTROL);
	} else if (!redirected &&
	           rule_read_redirect(a, fp->prefix, fp->authority) == REDIRECT_SLASH) {
		go_to(fp, FINGERPRINT_INDEX_REDIRECTED);
	} else if (fp->is_go || rule_has_index_title(a) || fp->has_profile_title ||
	           strcmp(fp->prefix, gperftools_prefix) == 0) {
		go_to(fp, FINGERPRINT_SYMBOL);
	} else {
		look_further(fp);
	}
}

/* After a 401 or 403: PREFIX redirects to exactly PREFIX/, so that a handler is there. */
static void feed_protected_redirect(struct fingerprint *fp, const struct http_answer *a)
{
	char asked[FINGERPRINT_PATH_MAX_LEN];

	format_slashless(fp, asked);
	fp->redirects_to_prefix = (a->status == 301 || a->status == 307 || a->status == 308) &&
	                          rule_read_redirect(a, asked, fp->authority) == REDIRECT_SLASH;
	look_further(fp);
}

static void feed_symbol(struct fingerprint *fp, const struct http_answer *a)
{
	fp->symbol = rule_read_symbol(a);
	fp->symbol_by_go = a->go_pprof_header;
	if (fp->symbol != SYMBOL_NONE || fp->is_index) {
		go_to(fp, FINGERPRINT_CONTROL);
		return;
	}
	fp->lookalike = rule_name_lookalike(a);
	/* asked for a reason, and not told: this must not count as clean */
	if (a->status == 0) {
		fp->error = a->error;
		fp->timed_out = a->timed_out;
		fp->is_undecided = true;
		end(fp);
		return;
	}
	look_further(fp);
}

/* FNV-1a: only tells whether two pages are the same. */
static uint64_t hash_body(const struct http_answer *a)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < a->body_length; i++)
		h = (h ^ a->body[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Where the index is not known, or no fit proof exists, stacks are left alone. */
static void go_to_goroutine(struct fingerprint *fp)
{
	if (fp->is_index && fp->page.counted && fp->page.goroutines <= fp->goroutine_read_max)
		go_to(fp, FINGERPRINT_GOROUTINE);
	else if (fp->is_index && fp->page.single_quotes)
		go_to(fp, FINGERPRINT_GOROUTINE_REFUSED);
	else
		go_to(fp, FINGERPRINT_CMDLINE);
}

/* It was asked for the relatives' sake: what answers everything alike is none of them. */
static void feed_control_of_relatives(struct fingerprint *fp, const struct http_answer *a)
{
	for (size_t i = 0; i < fp->signatures->n_relatives && i < 64; i++)
		if ((fp->relatives >> i & 1) && matches_relative(fp, i, a))
			fp->relatives &= ~(UINT64_C(1) << i);
	fp->control = a->status == 0 ? CONTROL_FAILED : CONTROL_OTHER;
	if (fp->relatives)
		fp->serves |= serves_read_control(a);
	end_or_ask_what_else(fp);
}

/*
 * pprof.Index as the handler of all paths is the index on a random one too, and dispatches those
 * below /debug/pprof/ all the same: it is no decoy if the stacks prove it.
 */
static bool may_be_mounted_at_the_root(const struct fingerprint *fp)
{
	return fp->control == CONTROL_INDEX && fp->is_index && fp->symbol == SYMBOL_UNKNOWN &&
	       fp->symbol_by_go && strcmp(fp->prefix, default_prefix) == 0;
}

static void feed_control(struct fingerprint *fp, const struct http_answer *a)
{
	if (fp->relatives && !is_exposed(fp)) {
		feed_control_of_relatives(fp, a);
		return;
	}
	if (a->status == 0)
		fp->control = CONTROL_FAILED;
	else if (rule_is_index(a))
		fp->control = CONTROL_INDEX;
	else if (!fp->is_index && fp->symbol != SYMBOL_NONE && rule_read_symbol(a) == fp->symbol)
		fp->control = CONTROL_SYMBOL;
	else if (rule_is_denied(a))
		fp->control = CONTROL_DENIED;
	else
		fp->control = CONTROL_OTHER;
	fp->control_status = a->status;
	fp->control_hash = hash_body(a);
	if (fp->is_denied) {
		if (fp->control == CONTROL_OTHER && !fp->slashless && strlen(fp->prefix) > 1)
			go_to(fp, FINGERPRINT_INDEX_REDIRECTED);
		else
			look_further(fp);
	} else if (fp->control == CONTROL_SYMBOL ||
	           (fp->control == CONTROL_INDEX && !may_be_mounted_at_the_root(fp))) {
		end(fp);
	} else {
		fp->serves |= serves_read_control(a);
		go_to_goroutine(fp);
	}
}

static void feed_goroutine(struct fingerprint *fp, const struct http_answer *a)
{
	if (rule_is_goroutine_dump(a)) {
		fp->goroutine = GOROUTINE_READ;
		keep(fp, rule_find_go_version(a, &fp->draft.go_version, &fp->go_version_from_path));
		keep(fp, rule_find_module(a, &fp->draft.module));
	}
	go_to(fp, FINGERPRINT_CMDLINE);
}

static void feed_goroutine_refused(struct fingerprint *fp, const struct http_answer *a)
{
	if (rule_is_goroutine_refusal(a))
		fp->goroutine = GOROUTINE_REFUSED;
	go_to(fp, FINGERPRINT_CMDLINE);
}

static void feed_cmdline(struct fingerprint *fp, const struct http_answer *a)
{
	/* a server that answers every path with the same text has no command line here */
	bool is_control = fp->control_status == 200 && fp->control_hash == hash_body(a);

	if (a->status == 200 && rule_is_plain_text(a) && a->body_length > 0 && !is_control) {
		fp->cmdline_read = true;
		keep(fp, rule_read_cmdline(a, fp->show_secrets, &fp->draft.command));
	}
	look_further(fp);
}

static void feed_relative(struct fingerprint *fp, const struct http_answer *a)
{
	size_t i = fp->next_relative++;
	bool is_control = fp->control_status == 200 && fp->control_hash == hash_body(a);

	if (matches_relative(fp, i, a) && !is_control) {
		fp->relatives |= UINT64_C(1) << i;
		if (fp->draft.command.count == 0)
			keep(fp, rule_read_expvar_cmdline(a, fp->show_secrets, &fp->draft.command));
	}
	look_further(fp);
}

static void feed_metrics(struct fingerprint *fp, const struct http_answer *a)
{
	fp->metrics_asked = true;
	fp->serves |= serves_read_metrics(a, fp->control == CONTROL_DENIED);
	end_or_ask_what_else(fp);
}

static void feed_root(struct fingerprint *fp, const struct http_answer *a)
{
	fp->serves |= serves_read_root(a, fp->prefix);
	end(fp);
}

void fingerprint_feed(struct fingerprint *fp, const struct http_answer *answer)
{
	struct http_answer a = *answer;

	if (fp->done)
		return;
	if (!a.body || a.body_length == 0) {
		a.body = (const uint8_t *)"";
		a.body_length = 0;
	}
	if (a.body_length > FINGERPRINT_BODY_MAX_BYTES)
		a.body_length = FINGERPRINT_BODY_MAX_BYTES;
	a.content_type = a.content_type ? a.content_type : "";
	a.location = a.location ? a.location : "";
	program_note_answer(fp, &a);
	switch (fp->step) {
	case FINGERPRINT_INDEX: feed_index(fp, &a, false); break;
	case FINGERPRINT_INDEX_REDIRECTED:
		if (fp->is_denied)
			feed_protected_redirect(fp, &a);
		else
			feed_index(fp, &a, true);
		break;
	case FINGERPRINT_SYMBOL: feed_symbol(fp, &a); break;
	case FINGERPRINT_CONTROL: feed_control(fp, &a); break;
	case FINGERPRINT_CMDLINE: feed_cmdline(fp, &a); break;
	case FINGERPRINT_GOROUTINE: feed_goroutine(fp, &a); break;
	case FINGERPRINT_GOROUTINE_REFUSED: feed_goroutine_refused(fp, &a); break;
	case FINGERPRINT_PREFIX: feed_prefix(fp, &a); break;
	case FINGERPRINT_RELATIVE: feed_relative(fp, &a); break;
	case FINGERPRINT_METRICS: feed_metrics(fp, &a); break;
	case FINGERPRINT_ROOT: feed_root(fp, &a); break;
	}
}
