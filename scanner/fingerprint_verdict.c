/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the evidence to a verdict: the table of docs/detection.md. */
#include "common/cleanup.h"
#include "scanner/fingerprint_state.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

static enum finding_verdict verdict_without_answer(const struct fingerprint *fp)
{
	if (fp->failure)
		return VERDICT_ERROR;
	if (fp->no_http)
		return VERDICT_CLEAR;
	if (fp->wants_tls)
		return VERDICT_ERROR;
	switch (-fp->error) {
	case ECONNREFUSED: return VERDICT_CLOSED;
	case ETIMEDOUT: return fp->timed_out ? VERDICT_ERROR : VERDICT_FILTERED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN: return VERDICT_FILTERED;
	default: return VERDICT_ERROR;
	}
}

/* The first page of another kind that answered; a Go one before a lookalike. NULL: none. */
static const struct signature_relative *find_relative(const struct fingerprint *fp)
{
	const struct signature_relative *lookalike = NULL;

	for (size_t i = 0; i < 64 && fp->relatives >> i; i++) {
		const struct signature_relative *r;

		if (!(fp->relatives >> i & 1))
			continue;
		r = &fp->signatures->relatives[i];
		if (!r->lookalike)
			return r;
		lookalike = lookalike ? lookalike : r;
	}
	return lookalike;
}

/* Another kind of debug page is all that there is. */
static bool is_relative_alone(const struct fingerprint *fp)
{
	const struct signature_relative *r = find_relative(fp);

	return r && !r->lookalike && !fp->is_index && fp->symbol == SYMBOL_NONE &&
	       !fp->is_undecided;
}

/* Anything is answered alike; but stacks that were shown to be there are there. */
static bool is_decoy(const struct fingerprint *fp)
{
	return fp->control == CONTROL_SYMBOL ||
	       (fp->control == CONTROL_INDEX && fp->goroutine == GOROUTINE_NONE);
}

static enum finding_verdict weigh(const struct fingerprint *fp)
{
	if (fp->status == 0)
		return verdict_without_answer(fp);
	if (is_relative_alone(fp))
		return fp->control == CONTROL_FAILED ? VERDICT_LIKELY : VERDICT_CONFIRMED;
	if (fp->is_denied) {
		return fp->control == CONTROL_OTHER || fp->control == CONTROL_INDEX
		           ? VERDICT_PROTECTED
		           : VERDICT_UNKNOWN;
	}
	if (is_decoy(fp))
		return VERDICT_CLEAR;
	/* a control request that failed has not shown that this is no decoy */
	if (fp->is_index && fp->symbol != SYMBOL_NONE &&
	    (fp->control == CONTROL_OTHER || fp->control == CONTROL_DENIED))
		return VERDICT_CONFIRMED;
	if (fp->is_index || fp->symbol != SYMBOL_NONE)
		return VERDICT_LIKELY;
	return fp->is_undecided ? VERDICT_ERROR : VERDICT_CLEAR;
}

static enum finding_severity weigh_severity(const struct fingerprint *fp,
                                            enum finding_verdict verdict)
{
	if (verdict == VERDICT_PROTECTED)
		return SEVERITY_INFO;
	if (verdict != VERDICT_CONFIRMED && verdict != VERDICT_LIKELY)
		return SEVERITY_NONE;
	if (is_relative_alone(fp))
		return SEVERITY_LOW;
	return fp->goroutine != GOROUTINE_NONE || fp->cmdline_read ? SEVERITY_HIGH
	                                                           : SEVERITY_MEDIUM;
}

static const char *find_reason(const struct fingerprint *fp)
{
	const char *text;

	if (fp->failure)
		return fp->failure;
	if (fp->timed_out)
		return "no answer within the deadline";
	if (fp->wants_tls && fp->status == 0)
		return "TLS is wanted, and failed";
	switch (-fp->error) {
	case 0: return fp->status ? "the answer was cut off before it could be told" : "no answer";
	case EMSGSIZE: return "the head of the answer is too long";
	case EPROTO: return fp->tls ? "TLS failed" : "not HTTP";
	case EREMOTEIO: return "the proxy did not connect; what is behind it is not known";
	default: text = strerrordesc_np(-fp->error); return text ? text : "the connection failed";
	}
}

static int add(struct finding *out, const char *item)
{
	int err = finding_list_add(&out->evidence, item, strlen(item));

	return err == -ENOSPC ? 0 : err;
}

static int add_if(struct finding *out, bool seen, const char *item)
{
	return seen ? add(out, item) : 0;
}

static int fill_evidence(const struct fingerprint *fp, struct finding *out)
{
	bool exposed = out->verdict == VERDICT_CONFIRMED || out->verdict == VERDICT_LIKELY;
	bool pprof = exposed && !is_relative_alone(fp);
	const struct {
		bool seen;
		const char *item;
	} items[] = {
	    {fp->is_index, "index"},
	    {fp->has_profile_title, "title-profile"},
	    {fp->symbol == SYMBOL_ANSWERED, "symbol"},
	    {fp->symbol == SYMBOL_UNKNOWN, "unknown-profile"},
	    {is_decoy(fp), "decoy"},
	    {fp->control == CONTROL_FAILED, "control-failed"},
	    {fp->goroutine == GOROUTINE_READ, "goroutine-debug2"},
	    {fp->goroutine == GOROUTINE_REFUSED, "goroutine-refused"},
	    {pprof && fp->goroutine == GOROUTINE_NONE && fp->symbol != SYMBOL_NONE,
	     "goroutine-inferred"},
	    {fp->cmdline_read, "cmdline"},
	    {fp->is_denied, "denied"},
	    {fp->redirects_to_prefix, "redirect"},
	    {fp->relatives != 0, "relative"},
	    {fp->lookalike != NULL, "lookalike"},
	    {fp->http2 && fp->status, "http2"},
	    {fp->status == 0 && fp->no_http, "not-http"},
	    {fp->wants_tls, "tls-required"},
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(items) && !err; i++)
		err = add_if(out, items[i].seen, items[i].item);
	return err;
}

static int copy_list(struct finding_list *to, const struct finding_list *from)
{
	for (size_t i = 0; i < from->count; i++) {
		int err = finding_list_add(to, from->items[i], strlen(from->items[i]));

		if (err == -ENOSPC)
			break;
		if (err)
			return err;
	}
	return 0;
}

/* What only an endpoint that is there has to say. */
static int fill_exposure(const struct fingerprint *fp, struct finding *out)
{
	int err = 0;

	if (!is_relative_alone(fp))
		err = finding_set(&out->kind, "go-pprof");
	if (!err)
		err = copy_list(&out->profiles, &fp->draft.profiles);
	if (!err)
		err = copy_list(&out->command, &fp->draft.command);
	if (!err)
		err = finding_set(&out->go_version, fp->draft.go_version);
	return err ? err : finding_set(&out->module, fp->draft.module);
}

static int fill_answered(const struct fingerprint *fp, struct finding *out)
{
	size_t length = strlen(fp->prefix) - (fp->slashless ? 1 : 0);
	int err = finding_set(&out->scheme, fp->tls ? "https" : "http");

	if (!err && is_relative_alone(fp))
		return finding_set(&out->path, find_relative(fp)->path);
	return err ? err : finding_set_bytes(&out->path, fp->prefix, length);
}

/* Names what is there and is no Go pprof: in `relatives`, and as the kind where there is no other.
 */
static int fill_relatives(const struct fingerprint *fp, struct finding *out)
{
	const struct signature_relative *first = find_relative(fp);
	const char *kind = first ? first->name : fp->lookalike;
	int err = 0;

	for (size_t i = 0; i < 64 && fp->relatives >> i && !err; i++) {
		const struct signature_relative *r = &fp->signatures->relatives[i];

		if (fp->relatives >> i & 1 && !r->lookalike)
			err = finding_list_add(&out->relatives, r->name, strlen(r->name));
	}
	if (err && err != -ENOSPC)
		return err;
	return !out->kind && kind ? finding_set(&out->kind, kind) : 0;
}

/* Who it is and what to do about it, of whatever was worth a kind. */
static int fill_identity(const struct fingerprint *fp, struct finding *out)
{
	const struct signature_product *product = NULL;
	int err = fp->signatures ? finding_set(&out->signatures, fp->signatures->version) : 0;

	if (err || !out->kind)
		return err;
	if (out->verdict != VERDICT_CLEAR)
		err = program_fill(fp, out, &product);
	if (!err && (out->verdict == VERDICT_CONFIRMED || out->verdict == VERDICT_LIKELY))
		err = serves_fill(fp->serves, product, out);
	return err ? err : advice_fill(fp, product, out);
}

int fingerprint_finish(const struct fingerprint *fp, struct finding *out)
{
	int err;

	if (fp->out_of_memory)
		return -ENOMEM;
	out->verdict = weigh(fp);
	out->severity = weigh_severity(fp, out->verdict);
	out->high_risk = out->severity == SEVERITY_HIGH && fp->goroutine != GOROUTINE_NONE;
	out->status = fp->status;
	err = fill_evidence(fp, out);
	if (!err && fp->status)
		err = fill_answered(fp, out);
	if (!err && (out->verdict == VERDICT_CONFIRMED || out->verdict == VERDICT_LIKELY ||
	             out->verdict == VERDICT_PROTECTED))
		err = fill_exposure(fp, out);
	if (!err && out->verdict != VERDICT_ERROR)
		err = fill_relatives(fp, out);
	if (!err)
		err = fill_identity(fp, out);
	if (!err && (out->verdict == VERDICT_ERROR || out->verdict == VERDICT_FILTERED))
		err = finding_set(&out->error, find_reason(fp));
	out->timed_out = out->verdict == VERDICT_ERROR && fp->timed_out;
	return err;
}
