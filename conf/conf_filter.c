/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_filter.h"

#include <string.h>

static bool has_dubious_segment(const char *path)
{
	size_t length;

	for (const char *segment = path + 1;; segment += length + 1) {
		length = strcspn(segment, "/");
		if (length == 0 || strncmp(segment, ".", length) == 0 ||
		    (length == 2 && strncmp(segment, "..", length) == 0))
			return true;
		if (!segment[length])
			return false;
	}
}

const char *conf_filter_blame_path(const char *text, size_t length)
{
	if (text[0] != '/')
		return "does not begin with a slash";
	if (!conf_text_is_clean(text, length))
		return "has control characters";
	if (strpbrk(text, "?#"))
		return "has a query or a fragment";
	if (strchr(text, '%'))
		return "is escaped";
	if (strpbrk(text, ";\\"))
		return "has a semicolon or a backslash";
	if (length > 1 && has_dubious_segment(text))
		return "has an empty segment or one of dots";
	return NULL;
}

static int check_paths(const char *of, const struct conf_filter *filter,
                       const struct conf_diag *diag)
{
	for (size_t i = 0; i < filter->allow.count; i++) {
		const char *path = filter->allow.items[i];

		for (size_t j = 0; j < filter->deny.count; j++) {
			if (strcmp(path, filter->deny.items[j]) == 0)
				return conf_fail(diag, filter->allow.marks[i],
				                 "%s.allow: \"%s\" is in deny, too; expected it "
				                 "in one of the lists",
				                 of, path);
		}
	}
	return 0;
}

static bool asks_nothing(const struct conf_match *m)
{
	return m->ports.count + m->addresses.count + m->process.count + m->unit.count +
	           m->container.count + m->user.count ==
	       0;
}

int conf_filter_check(const char *of, const struct conf_breaker *breaker, struct conf_mark at,
                      const struct conf_diag *diag)
{
	if (breaker->standing && asks_nothing(&breaker->match))
		return conf_fail(diag, at,
		                 "%s.match: it asks nothing, and would filter every endpoint; "
		                 "expected ports, addresses, process, unit, container or user",
		                 of);
	return check_paths(of, &breaker->filter, diag);
}
