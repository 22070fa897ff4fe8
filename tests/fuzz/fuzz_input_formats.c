/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of targets, of the format that its first byte tells, whole and in small pieces: both must
 * say the same. What another scanner's file holds is an address and a port, or a plain name.
 */
#include "scanner/input_formats.h"

#include "common/cleanup.h"
#include "scanner/target.h"

#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

AUTO_CLEANUP(input, struct input *, input_free)
#define auto_input __attribute__((cleanup(cleanup_input)))

/* What was said, as one number; places and texts of errors included. */
static uint64_t mix(uint64_t sum, const void *bytes, size_t length)
{
	const uint8_t *p = bytes;

	while (length-- > 0)
		sum = (sum ^ *p++) * 0x100000001b3; /* FNV-1a */
	return sum;
}

static void check_target(enum input_format format, const char *text)
{
	char why[TARGET_ERROR_LEN];
	struct target t;

	CHECK(*text && strlen(text) < INPUT_TEXT_LEN);
	if (format == INPUT_LINES || format == INPUT_AUTO)
		return;
	if (target_parse_labelled(text, &t, why) < 0) {
		CHECK(format == INPUT_MASSCAN_JSON || format == INPUT_NAABU_JSON);
		return;
	}
	CHECK(t.port != 0 && !t.labels[0] && !t.path[0] && t.scheme == TARGET_ANY);
	CHECK(t.host[0] || t.prefix.bits == (t.prefix.family == AF_INET ? 32 : 128));
}

static uint64_t read_all(enum input_format format, const uint8_t *data, size_t size, size_t piece)
{
	auto_input struct input *in = input_new(format);
	auto_free char *chunk = malloc(piece);
	uint64_t sum = 0xcbf29ce484222325;
	size_t fed = 0;

	CHECK(in && chunk);
	for (;;) {
		char why[INPUT_ERROR_LEN] = "";
		struct input_item item;
		enum input_result result = input_next(in, &item, why);
		size_t n = size - fed < piece ? size - fed : piece;

		if (result == INPUT_MORE) {
			if (n > 0)
				memcpy(chunk, data + fed, n);
			input_feed(in, chunk, n);
			fed += n;
			continue;
		}
		if (result == INPUT_END)
			return sum;
		sum = mix(sum, &result, sizeof(result));
		if (result == INPUT_TARGET) {
			check_target(format, item.text);
			sum = mix(sum, item.text, strlen(item.text));
		} else {
			CHECK(*why && !strpbrk(why, "\n\r"));
			CHECK(item.line >= 1);
			/* expat counts a CR and an LF in two pieces as two lines. */
			if (format != INPUT_NMAP_XML && data[0] != '<')
				sum = mix(sum, &item.line, sizeof(item.line));
		}
		if (result == INPUT_BROKEN || result == INPUT_TRUNCATED)
			return sum;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum input_format format = INPUT_AUTO;
	uint64_t whole;

	if (size < 1)
		return 0;
	/* '0' to '6'; else the file stands as it is, and is recognised. */
	if (data[0] >= '0' && data[0] <= '6' && size > 1 && data[1] == '|') {
		format = (enum input_format)(data[0] - '0');
		data += 2;
		size -= 2;
	}
	whole = read_all(format, data, size, size + 1);
	CHECK(read_all(format, data, size, 3) == whole);
	CHECK(read_all(format, data, size, 65) == whole);
	return 0;
}
