/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The index page of net/http/pprof, as Go 1.0 to 1.26 write it. */
#include "common/cleanup.h"
#include "scanner/fingerprint_rules.h"

#include <errno.h>
#include <string.h>

enum {
	TITLE_WITHIN_BYTES = 512,
	PROFILE_NAME_MAX_LEN = 128,
};

static const char index_title[] = "<title>/debug/pprof/</title>";
static const char profile_title[] = "<title>Profile</title>";
/* A page that documents pprof has an absolute link; Go <= 1.4 had one without a host. */
static const char *const dump_links[] = {
    "href=\"goroutine?debug=2\">full goroutine stack dump</a>",
    "href=\"/debug/pprof/goroutine?debug=2\">full goroutine stack dump</a>",
};

static const char *find(const char *in, size_t length, const char *what)
{
	return memmem(in, length, what, strlen(what));
}

static bool is_html(const struct http_answer *a)
{
	return a->status == 200 && strncasecmp(a->content_type, "text/html", 9) == 0;
}

static bool has_title(const struct http_answer *a, const char *title)
{
	size_t length = a->body_length < TITLE_WITHIN_BYTES ? a->body_length : TITLE_WITHIN_BYTES;

	return is_html(a) && find((const char *)a->body, length, title);
}

static const char *find_dump_link(const struct http_answer *a)
{
	for (size_t i = 0; i < ARRAY_LEN(dump_links); i++) {
		const char *link = find((const char *)a->body, a->body_length, dump_links[i]);

		if (link)
			return link;
	}
	return NULL;
}

bool rule_has_index_title(const struct http_answer *a)
{
	return has_title(a, index_title);
}

bool rule_has_profile_title(const struct http_answer *a)
{
	return has_title(a, profile_title);
}

bool rule_is_index(const struct http_answer *a)
{
	return rule_has_index_title(a) && find_dump_link(a);
}

bool rule_is_undecided_index(const struct http_answer *a)
{
	return is_html(a) && (a->truncated || a->timed_out) && !rule_is_index(a) &&
	       (a->body_length < TITLE_WITHIN_BYTES || rule_has_index_title(a));
}

/*
 * The number in the table cell before an anchor: "<td>3</td><td>" since Go 1.8,
 * "<td align=right>3<td>" before. Returns false when there is none.
 */
static bool read_count(const char *page, const char *anchor, uint64_t *count)
{
	const char *p = anchor, *digits;
	uint64_t value = 0;

	/* back over tags */
	while (p > page && p[-1] == '>') {
		const char *open = memrchr(page, '<', (size_t)(p - page));

		if (!open)
			return false;
		p = open;
	}
	for (digits = p; digits > page && digits[-1] >= '0' && digits[-1] <= '9';)
		digits--;
	/* "-1" is no count, and neither is "1,000" */
	if (digits == p || p - digits > 18 || digits == page || digits[-1] != '>')
		return false;
	for (; digits < p; digits++)
		value = value * 10 + (uint64_t)(*digits - '0');
	*count = value;
	return true;
}

/* The anchor's text, between '>' and "</a>". */
static const char *read_text(const char *p, const char *end, size_t *length)
{
	const char *open = memchr(p, '>', (size_t)(end - p));
	const char *close;
	size_t within = PROFILE_NAME_MAX_LEN + sizeof("</a>") - 1;

	if (!open)
		return NULL;
	open++;
	/* No further: a page of anchors without an end would be read once for each of them. */
	if ((size_t)(end - open) < within)
		within = (size_t)(end - open);
	close = find(open, within, "</a>");
	if (!close || close == open || memchr(open, '<', (size_t)(close - open)))
		return NULL;
	*length = (size_t)(close - open);
	return open;
}

int rule_read_index(const struct http_answer *a, struct index_page *page,
                    struct finding_list *profiles)
{
	const char *begin = (const char *)a->body, *end = find_dump_link(a);
	static const char anchor[] = "<a href=";

	*page = (struct index_page){0};
	if (!end)
		return 0;
	for (const char *p = begin; (p = find(p, (size_t)(end - p), anchor));) {
		const char *href = p + sizeof(anchor) - 1;
		size_t length = 0;
		const char *text = read_text(href, end, &length);
		uint64_t count;
		int err;

		if (text) {
			err = finding_list_add(profiles, text, length);
			if (err == -ENOMEM)
				return err;
			page->single_quotes |= *href == '\'';
			if (length == 9 && memcmp(text, "goroutine", 9) == 0 &&
			    read_count(begin, p, &count)) {
				page->counted = true;
				if (count > page->goroutines) /* listed twice: believe the larger */
					page->goroutines = count;
			}
		}
		p = href;
	}
	return 0;
}
