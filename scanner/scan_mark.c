/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_mark.h"

#include "common/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

int scan_mark_parse_number(const char *text, const char **end, uint64_t *out)
{
	char *stop;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &stop, 10);
	*end = stop;
	return errno ? -EINVAL : 0;
}

void scan_mark_format(const struct scan_mark *mark, char text[static SCAN_MARK_TEXT_LEN])
{
	int n = snprintf(text, SCAN_MARK_TEXT_LEN, "%" PRIu64 ":%" PRIu64, mark->first_target,
	                 mark->n_taken);

	for (size_t i = 0; i < mark->n_parts; i++)
		n += snprintf(text + n, SCAN_MARK_TEXT_LEN - (size_t)n, ":%016" PRIx64 "=%" PRIu64,
		              mark->parts[i].digest, mark->parts[i].position);
}

int scan_mark_parse(const char *text, struct scan_mark *out)
{
	struct scan_mark mark = {0};

	if (scan_mark_parse_number(text, &text, &mark.first_target) < 0 || *text++ != ':' ||
	    scan_mark_parse_number(text, &text, &mark.n_taken) < 0 ||
	    mark.n_taken > SCAN_MARK_MAX_TAKEN)
		return -EINVAL;
	while (*text == ':') {
		char digest[17] = "";

		if (mark.n_parts == ARRAY_LEN(mark.parts) ||
		    strspn(text + 1, "0123456789abcdef") != 16 || text[17] != '=')
			return -EINVAL;
		memcpy(digest, text + 1, 16);
		mark.parts[mark.n_parts].digest = strtoull(digest, NULL, 16);
		if (scan_mark_parse_number(text + 18, &text, &mark.parts[mark.n_parts].position) <
		    0)
			return -EINVAL;
		mark.n_parts++;
	}
	if (*text)
		return -EINVAL;
	*out = mark;
	return 0;
}
