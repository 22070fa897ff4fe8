/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/fingerprint_serves.h"

#include "common/cleanup.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

const char *const serves_names[] = {"metrics", "api", "ui", NULL};

static bool has_type(const struct http_answer *a, const char *type)
{
	return strncasecmp(a->content_type, type, strlen(type)) == 0;
}

static unsigned read_page(const struct http_answer *a)
{
	return has_type(a, "text/html") || has_type(a, "application/xhtml") ? SERVES_UI
	                                                                    : SERVES_API;
}

static bool is_redirect(const struct http_answer *a)
{
	return a->status >= 300 && a->status < 400 && a->location[0];
}

/*
 * A mux with pprof on it and nothing else says Go's own 404. A page for people, an answer for
 * programs, a login or a demand for credentials comes from an application behind it.
 */
unsigned serves_read_control(const struct http_answer *a)
{
	if (a->status == 0 || rule_is_index(a))
		return 0;
	if (a->status < 300)
		return read_page(a);
	if (is_redirect(a))
		return SERVES_UI;
	if (rule_is_denied(a) || a->status == 405)
		return SERVES_API;
	if (a->status != 404 || rule_is_go_not_found(a))
		return 0;
	if (has_type(a, "text/html"))
		return SERVES_UI;
	return has_type(a, "application/json") || has_type(a, "application/problem+json")
	           ? SERVES_API
	           : 0;
}

static bool begins_with(const struct http_answer *a, const char *text)
{
	size_t n = strlen(text);

	return a->body_length >= n && memcmp(a->body, text, n) == 0;
}

static bool is_exposition(const struct http_answer *a)
{
	return has_type(a, "text/plain; version=0.0.4") ||
	       has_type(a, "application/openmetrics-text") || begins_with(a, "# HELP ") ||
	       begins_with(a, "# TYPE ");
}

unsigned serves_read_metrics(const struct http_answer *a, bool is_denied)
{
	/* What is not there is told at once: this is being gathered, or waits for somebody. */
	if (a->status == 0)
		return a->timed_out ? SERVES_METRICS : 0;
	if (rule_is_denied(a))
		return is_denied ? 0 : SERVES_METRICS;
	/* gathering failed, which is no reason to cut off those who gather */
	if (a->status >= 500 || is_redirect(a))
		return SERVES_METRICS;
	if (a->status != 200)
		return 0;
	return is_exposition(a) || has_type(a, "application/json") ? SERVES_METRICS : read_page(a);
}

unsigned serves_read_root(const struct http_answer *a, const char *prefix)
{
	if (is_redirect(a))
		return strstr(a->location, prefix) ? 0 : SERVES_UI;
	if (rule_is_denied(a))
		return SERVES_API;
	return a->status >= 200 && a->status < 300 && !rule_is_index(a) ? read_page(a) : 0;
}

static bool is_served(unsigned seen, const struct signature_product *product, size_t i)
{
	if (seen >> i & 1)
		return true;
	for (size_t k = 0; product && k < product->serves.count; k++)
		if (strcmp(product->serves.items[k], serves_names[i]) == 0)
			return true;
	return false;
}

int serves_fill(unsigned seen, const struct signature_product *product, struct finding *out)
{
	for (size_t i = 0; serves_names[i]; i++) {
		int err = 0;

		if (is_served(seen, product, i))
			err = finding_list_add(&out->serves, serves_names[i],
			                       strlen(serves_names[i]));
		if (err)
			return err;
	}
	return 0;
}
