/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One JSON object a line: the finding as it is (common/finding.h). */
#include "common/cleanup.h"
#include "scanner/output_format.h"

#include <errno.h>

static int put_line(struct output *o, FILE *to, const struct output_row *row)
{
	auto_free char *line = finding_to_line(row->finding);

	(void)o;
	if (!line)
		return -ENOMEM;
	fprintf(to, "%s\n", line);
	return 0;
}

static int put_trailer(struct output *o, FILE *to, const struct sweep_trailer *t)
{
	auto_free char *line = sweep_trailer_to_line(t);

	(void)o;
	if (!line)
		return -ENOMEM;
	fprintf(to, "%s\n", line);
	return 0;
}

const struct output_format_ops output_ndjson = {
    .name = "ndjson",
    .endings = {".ndjson", ".jsonl", ".json"},
    .row = put_line,
    .trailer = put_trailer,
};
