/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const type_names[] = {
    [METRICS_COUNTER] = "counter",
    [METRICS_GAUGE] = "gauge",
    [METRICS_HISTOGRAM] = "histogram",
};

enum { NUMBER_LEN = 32 };

/* Length of the UTF-8 character at `c` (RFC 3629), or 0 where there is none. */
static size_t utf8_length(const unsigned char *c)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte; of the second */
		size_t length;
	} forms[] = {
	    {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t n = 1;

		if (*c < forms[i].first || *c > forms[i].last)
			continue;
		if (forms[i].length > 1 && (c[1] < forms[i].low || c[1] > forms[i].high))
			return 0;
		for (n = 2; n < forms[i].length; n++) {
			if ((c[n] & 0xc0) != 0x80)
				return 0;
		}
		return forms[i].length;
	}
	return 0;
}

/* HELP lines know two escapes, label values also the quote. */
static void add_escaped(struct evbuffer *out, const char *text, bool quoted)
{
	const unsigned char *c = (const unsigned char *)text;

	while (*c) {
		size_t length = utf8_length(c);

		if (length == 0)
			evbuffer_add(out, "\xef\xbf\xbd", 3); /* U+FFFD */
		else if (*c == '\\')
			evbuffer_add(out, "\\\\", 2);
		else if (*c == '\n')
			evbuffer_add(out, "\\n", 2);
		else if (*c == '"' && quoted)
			evbuffer_add(out, "\\\"", 2);
		else
			evbuffer_add(out, c, length);
		c += length ? length : 1;
	}
}

static const char *format_number(double value, char text[static NUMBER_LEN])
{
	if (isnan(value))
		return "NaN";
	if (isinf(value))
		return value > 0 ? "+Inf" : "-Inf";
	/* 0.1 as 0.1; what that does not carry exactly, in full. */
	snprintf(text, NUMBER_LEN, "%.15g", value);
	if (strtod(text, NULL) < value || strtod(text, NULL) > value)
		snprintf(text, NUMBER_LEN, "%.17g", value);
	return text;
}

void metrics_family(struct evbuffer *out, const char *name, enum metrics_type type,
                    const char *help)
{
	evbuffer_add_printf(out, "# HELP %s ", name);
	add_escaped(out, help, false);
	evbuffer_add_printf(out, "\n# TYPE %s %s\n", name, type_names[type]);
}

static void add_label(struct evbuffer *out, const struct metrics_label *label, char before)
{
	evbuffer_add_printf(out, "%c%s=\"", before, label->name);
	add_escaped(out, label->value ? label->value : "", true);
	evbuffer_add(out, "\"", 1);
}

/* `last` is one more label, or NULL. */
static void add_sample(struct evbuffer *out, const char *name, const char *suffix,
                       const struct metrics_label *labels, size_t n_labels,
                       const struct metrics_label *last, double value)
{
	char number[NUMBER_LEN];

	evbuffer_add_printf(out, "%s%s", name, suffix);
	for (size_t i = 0; i < n_labels; i++)
		add_label(out, &labels[i], i == 0 ? '{' : ',');
	if (last)
		add_label(out, last, n_labels == 0 ? '{' : ',');
	if (n_labels > 0 || last)
		evbuffer_add(out, "}", 1);
	evbuffer_add_printf(out, " %s\n", format_number(value, number));
}

void metrics_sample(struct evbuffer *out, const char *name, const struct metrics_label *labels,
                    size_t n_labels, double value)
{
	add_sample(out, name, "", labels, n_labels, NULL, value);
}

void metrics_observe(struct metrics_histogram *h, double value)
{
	size_t i = 0;

	if (isnan(value))
		return; /* one would make the sum NaN for ever */
	while (i < h->n_bounds && value > h->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += value;
}

void metrics_histogram_write(struct evbuffer *out, const char *name,
                             const struct metrics_label *labels, size_t n_labels,
                             const struct metrics_histogram *h)
{
	uint64_t total = 0;

	for (size_t i = 0; i <= h->n_bounds; i++) {
		char number[NUMBER_LEN];
		double bound = i < h->n_bounds ? h->bounds[i] : (double)INFINITY;
		struct metrics_label le = {"le", format_number(bound, number)};

		total += h->counts[i];
		add_sample(out, name, "_bucket", labels, n_labels, &le, (double)total);
	}
	add_sample(out, name, "_sum", labels, n_labels, NULL, h->sum);
	add_sample(out, name, "_count", labels, n_labels, NULL, (double)total);
}
