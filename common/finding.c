/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/finding.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>

enum { LIST_FIRST_ROOM = 4 };

static const char *const verdict_names[VERDICT_COUNT] = {
    [VERDICT_ERROR] = "error",     [VERDICT_CONFIRMED] = "confirmed",
    [VERDICT_LIKELY] = "likely",   [VERDICT_PROTECTED] = "protected",
    [VERDICT_UNKNOWN] = "unknown", [VERDICT_CLEAR] = "clear",
    [VERDICT_CLOSED] = "closed",   [VERDICT_FILTERED] = "filtered",
};

static const char *const severity_names[SEVERITY_COUNT] = {
    [SEVERITY_NONE] = "none",     [SEVERITY_INFO] = "info", [SEVERITY_LOW] = "low",
    [SEVERITY_MEDIUM] = "medium", [SEVERITY_HIGH] = "high",
};

void finding_init(struct finding *f)
{
	*f = (struct finding){.latency_ms = -1};
}

void finding_list_fini(struct finding_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct finding_list){0};
}

void finding_fini(struct finding *f)
{
	free(f->scan_id);
	free(f->vantage);
	free(f->host);
	free(f->scheme);
	free(f->path);
	free(f->kind);
	free(f->go_version);
	free(f->module);
	free(f->program);
	free(f->advice);
	free(f->signatures);
	free(f->error);
	finding_list_fini(&f->evidence);
	finding_list_fini(&f->profiles);
	finding_list_fini(&f->command);
	finding_list_fini(&f->identified_by);
	finding_list_fini(&f->relatives);
	finding_list_fini(&f->serves);
	finding_list_fini(&f->labels);
	free(f->accepted);
	finding_init(f);
}

/*
 * One character of UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). Returns
 * its length, or 0 when the first byte begins no valid character.
 */
static size_t decode(const uint8_t *p, size_t left, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length;
	uint32_t c;

	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		length = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		length = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (length > left)
		return 0;
	c = p[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[length] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	*code = c;
	return length;
}

/*
 * What may not reach a terminal or a ticket: C0, DEL, C1, and the line separators and
 * bidirectional controls that make a text read as another (CVE-2021-42574).
 */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x061c ||
	       c == 0xfeff;
}

/* A clean, capped copy; NULL when memory is out. */
static char *sanitize(const uint8_t *bytes, size_t length)
{
	static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
	char clean[FINDING_STRING_MAX_BYTES + 1];
	size_t used = 0;

	for (size_t i = 0; i < length;) {
		uint32_t code = 0;
		size_t taken = decode(bytes + i, length - i, &code);
		bool bad = taken == 0 || is_control(code);
		const void *from = bad ? (const void *)replacement : (const void *)(bytes + i);
		size_t add = bad ? sizeof(replacement) - 1 : taken;

		if (used + add > FINDING_STRING_MAX_BYTES)
			break;
		memcpy(clean + used, from, add);
		used += add;
		i += taken ? taken : 1;
	}
	return strndup(clean, used);
}

int finding_set_bytes(char **slot, const void *bytes, size_t length)
{
	char *copy = NULL;

	if (bytes) {
		copy = sanitize(bytes, length);
		if (!copy)
			return -ENOMEM;
	}
	free(*slot);
	*slot = copy;
	return 0;
}

int finding_set(char **slot, const char *text)
{
	return finding_set_bytes(slot, text, text ? strlen(text) : 0);
}

int finding_list_give(struct finding_list *list, char *text)
{
	size_t n = list->count;

	if (n >= FINDING_LIST_MAX)
		return -ENOSPC;
	/* Room for 4, 8, 16, ... */
	if (n == 0 || (n >= LIST_FIRST_ROOM && (n & (n - 1)) == 0)) {
		size_t room = n ? 2 * n : LIST_FIRST_ROOM;
		char **items = reallocarray(n ? list->items : NULL, room, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
	}
	list->items[list->count++] = text;
	return 0;
}

int finding_list_add(struct finding_list *list, const void *bytes, size_t length)
{
	auto_free char *copy = NULL;
	int err;

	if (list->count >= FINDING_LIST_MAX)
		return -ENOSPC;
	copy = sanitize(bytes, length);
	if (!copy)
		return -ENOMEM;
	err = finding_list_give(list, copy);
	if (!err)
		steal_ptr(&copy);
	return err;
}

bool finding_list_has(const struct finding_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

const char *finding_verdict_name(enum finding_verdict verdict)
{
	return (unsigned)verdict < VERDICT_COUNT ? verdict_names[verdict] : "error";
}

const char *finding_severity_name(enum finding_severity severity)
{
	return (unsigned)severity < SEVERITY_COUNT ? severity_names[severity] : "none";
}

int finding_verdict_parse(const char *name, enum finding_verdict *out)
{
	for (unsigned i = 0; i < VERDICT_COUNT; i++) {
		if (strcmp(name, verdict_names[i]) == 0) {
			*out = (enum finding_verdict)i;
			return 0;
		}
	}
	return -EINVAL;
}

int finding_severity_parse(const char *name, enum finding_severity *out)
{
	for (unsigned i = 0; i < SEVERITY_COUNT; i++) {
		if (strcmp(name, severity_names[i]) == 0) {
			*out = (enum finding_severity)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool finding_is_exposed(const struct finding *f, enum finding_severity floor)
{
	return (f->verdict == VERDICT_CONFIRMED || f->verdict == VERDICT_LIKELY) &&
	       f->severity >= floor;
}
