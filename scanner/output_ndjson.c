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

const struct output_format_ops output_ndjson = {
    .name = "ndjson",
    .endings = {".ndjson", ".jsonl", ".json"},
    .row = put_line,
};
