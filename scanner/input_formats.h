/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of targets: plain lines, and what other scanners write. Of the latter only open TCP ports
 * are targets, by their addresses; everything else in them is passed over.
 *
 * A stream: bytes are fed, targets are taken, and memory does not grow with the file. Pure; any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum input_format {
	INPUT_AUTO = 0,     /* by the first bytes */
	INPUT_LINES,        /* a target a line, with labels; also naabu's plain output */
	INPUT_NMAP_XML,     /* -oX; also masscan's */
	INPUT_NMAP_GREP,    /* -oG; also masscan's */
	INPUT_MASSCAN_JSON, /* -oJ, and NDJSON (-oD) */
	INPUT_MASSCAN_LIST, /* -oL */
	INPUT_NAABU_JSON,   /* -json */
};

enum {
	INPUT_TEXT_LEN = 2001, /* more than the longest target, its labels, and a comment */
	INPUT_ERROR_LEN = 320,
	INPUT_RECORD_MAX_BYTES = 256 * 1024, /* one tag, one JSON object */
};

/* "auto", "lines", "nmap-xml", "nmap-grep", "masscan-json", "masscan-list", "naabu-json" */
bool input_format_parse(const char *text, enum input_format *out);
const char *input_format_name(enum input_format format);

enum input_result {
	INPUT_TARGET = 1, /* out->text is for target_parse_labelled() */
	INPUT_BAD,        /* something is no target; `why`; go on with the next */
	INPUT_BROKEN,     /* nothing can be read any more; `why`; no call after it */
	INPUT_TRUNCATED,  /* it ended before its end; all that was whole has been given; likewise */
	INPUT_MORE,       /* feed it */
	INPUT_END,
};

struct input_item {
	char text[INPUT_TEXT_LEN];
	/* Where it stands, from 1; also of errors. Column 0: the line as a whole. */
	unsigned long line, column;
};

struct input;

/* NULL when memory is out. */
struct input *input_new(enum input_format format);
void input_free(struct input *in);
/*
 * After INPUT_MORE, and at first: the next bytes, which must stay until INPUT_MORE comes again; or
 * none, at the end.
 */
void input_feed(struct input *in, const char *bytes, size_t length);
enum input_result input_next(struct input *in, struct input_item *out,
                             char why[static INPUT_ERROR_LEN]);
