/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The formats behind input_formats.h. Internal to input_*.c. */
#pragma once

#include "common/endpoint.h"
#include "scanner/input_formats.h"

enum { INPUT_HEAD_MAX = 64 /* enough to tell any format */ };

/* A format's reader: its own state, and what reads on. */
struct input_reader {
	void *(*new)(struct input *in); /* NULL: out of memory */
	enum input_result (*next)(struct input *in, void *state, struct input_item *out,
	                          char why[static INPUT_ERROR_LEN]);
	void (*free)(void *state);
};

extern const struct input_reader input_reader_lines;
extern const struct input_reader input_reader_list;
extern const struct input_reader input_reader_grep;
extern const struct input_reader input_reader_xml;
extern const struct input_reader input_reader_json;

/* Bytes that can be taken now. False: none; then in->ended says whether more will come. */
bool input_has_bytes(struct input *in);
/* One of them. */
bool input_take_byte(struct input *in, char *out);

struct input {
	enum input_format format; /* INPUT_AUTO: not decided yet */
	const struct input_reader *reader;
	void *state;
	const char *at, *end; /* what is being read: the head, then the chunk */
	const char *chunk;    /* what comes after it */
	size_t chunk_length;
	bool ended;                 /* nothing will be fed any more */
	unsigned long line, column; /* of the next byte, from 1 */
	char head[INPUT_HEAD_MAX];
	size_t head_length;
};

/*
 * "10.0.0.1" and "80" as a target; the place is the caller's. INPUT_BAD and `why` when they are
 * none: other scanners' files are not to smuggle in what is no address.
 */
enum input_result input_set_target(struct input_item *out, const char *address, const char *port,
                                   char why[static INPUT_ERROR_LEN]);
/* One line into `why`, control characters made visible. Returns `result`. */
enum input_result input_say(char why[static INPUT_ERROR_LEN], enum input_result result,
                            const char *format, ...) __attribute__((format(printf, 3, 4)));
