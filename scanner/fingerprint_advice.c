/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What to do about a finding, in a sentence or two, by what was recognised. */
#include "scanner/fingerprint_state.h"
#include "scanner/signatures.h"

#include <stdio.h>
#include <string.h>

static bool is_loopback(const char *bind)
{
	return strncmp(bind, "127.", 4) == 0 || strncmp(bind, "localhost", 9) == 0 ||
	       strncmp(bind, "[::1]", 5) == 0;
}

static void advise_on_product(const struct signature_product *p,
                              char out[static FINDING_STRING_MAX_BYTES])
{
	const size_t size = FINDING_STRING_MAX_BYTES;

	if (p->advice)
		snprintf(out, size, "%s", p->advice);
	else if (p->pprof_switch && strcmp(p->pprof_switch, "none") == 0)
		snprintf(out, size,
		         "%s has no switch for pprof: use allow_from or filter, so that only "
		         "those who need the port reach it.",
		         p->name);
	else if (p->pprof_switch)
		snprintf(out, size, "Turn pprof off in %s: %s.", p->name, p->pprof_switch);
	else if (p->default_bind && is_loopback(p->default_bind))
		snprintf(out, size, "%s listens on %s unless told otherwise: set that back.",
		         p->name, p->default_bind);
	else
		snprintf(out, size,
		         "We know of no switch for pprof in %s: bind it to fewer addresses, or use "
		         "allow_from or filter.",
		         p->name);
}

static void advise_on_code(const struct fingerprint *fp, char out[static FINDING_STRING_MAX_BYTES])
{
	const size_t size = FINDING_STRING_MAX_BYTES;

	if (strcmp(fp->prefix, "/debug/pprof/") == 0)
		snprintf(out, size,
		         "In your own code, import _ \"net/http/pprof\" puts pprof on "
		         "http.DefaultServeMux: serve it on a separate mux bound to 127.0.0.1.");
	else
		snprintf(out, size,
		         "Somebody registered pprof under %.200s: register it on a separate mux "
		         "bound to 127.0.0.1 instead.",
		         fp->prefix);
}

/* The advice that came with the relative, if one of that name is all there is. */
static const char *find_relative_advice(const struct fingerprint *fp, const struct finding *f)
{
	for (size_t i = 0; fp->signatures && f->kind && i < fp->signatures->n_relatives; i++)
		if (strcmp(fp->signatures->relatives[i].name, f->kind) == 0)
			return fp->signatures->relatives[i].advice;
	return NULL;
}

int advice_fill(const struct fingerprint *fp, const struct signature_product *product,
                struct finding *out)
{
	char advice[FINDING_STRING_MAX_BYTES];
	size_t n;

	if (!out->kind || strcmp(out->kind, "go-pprof") != 0) {
		const char *of_relative = find_relative_advice(fp, out);

		return of_relative ? finding_set(&out->advice, of_relative) : 0;
	}
	if (product)
		advise_on_product(product, advice);
	else
		advise_on_code(fp, advice);
	n = strlen(advice);
	if (out->verdict == VERDICT_PROTECTED)
		snprintf(advice + n, sizeof(advice) - n, " It asks for credentials already.");
	else if (out->high_risk)
		snprintf(advice + n, sizeof(advice) - n,
		         " Goroutine stacks are readable: wall it off until then.");
	return finding_set(&out->advice, advice);
}
