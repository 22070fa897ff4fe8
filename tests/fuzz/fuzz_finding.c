/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line from a prober that has been taken over: what is accepted is within the caps, and writes
 * to a line that reads back to the same.
 */
#include "common/cleanup.h"
#include "common/finding.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const char *text)
{
	if (!text)
		return;
	check(strlen(text) <= FINDING_STRING_MAX_BYTES);
	for (const char *p = text; *p; p++)
		check((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void check_list(const struct finding_list *list)
{
	check(list->count <= FINDING_LIST_MAX);
	for (size_t i = 0; i < list->count; i++)
		check_text(list->items[i]);
}

/* The same bytes as a server's text: whatever they are, the result is clean and stays so. */
static void check_set(const uint8_t *data, size_t size)
{
	auto_free char *once = NULL, *twice = NULL;

	check(finding_set_bytes(&once, data, size) == 0);
	check_text(once);
	check(finding_set(&twice, once) == 0);
	check(strcmp(once, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *line = NULL, *again = NULL;
	struct finding f, back;
	char why[128];

	check_set(data, size);
	finding_init(&f);
	if (finding_from_line((const char *)data, size, &f, why) < 0)
		return 0;
	check_text(f.scan_id);
	check_text(f.vantage);
	check_text(f.host);
	check_text(f.path);
	check_text(f.kind);
	check_text(f.go_version);
	check_text(f.module);
	check_text(f.error);
	check_list(&f.evidence);
	check_list(&f.profiles);
	check_list(&f.command);
	line = finding_to_line(&f);
	check(line && strlen(line) <= FINDING_JSON_MAX_BYTES);
	finding_init(&back);
	check(finding_from_line(line, strlen(line), &back, why) == 0);
	again = finding_to_line(&back);
	check(again && strcmp(line, again) == 0);
	finding_fini(&f);
	finding_fini(&back);
	return 0;
}
