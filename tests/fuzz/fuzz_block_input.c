/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The findings that are to be blocked, from anybody's file: what comes out is in order, each once,
 * within the cap, and was not among the accepted risks; or there is one line that says why not.
 */
#include "common/cleanup.h"
#include "scanner/block_input.h"

#include <stdint.h>
#include <string.h>

enum { MAX_ENDPOINTS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_input(const struct block_input *input)
{
	check(input->count <= MAX_ENDPOINTS);
	check(input->count + input->accepted + input->other <= input->findings);
	for (size_t i = 0; i < input->count; i++) {
		check(input->items[i].port != 0);
		check(i == 0 || endpoint_compare(&input->items[i - 1], &input->items[i]) < 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct block_filter filter = {
	    .floor = SEVERITY_LOW, .verdicts = 1U << VERDICT_CONFIRMED | 1U << VERDICT_LIKELY};
	char why[BLOCK_INPUT_ERROR_LEN] = "";
	auto_free void *copy = calloc(1, size + 1);
	struct block_input input;
	FILE *in;

	check(copy != NULL);
	memcpy(copy, data, size);
	in = fmemopen(copy, size + 1, "r");
	check(in != NULL);
	if (block_input_read(in, "f", &filter, MAX_ENDPOINTS, &input, why) == 0) {
		check_input(&input);
		block_input_fini(&input);
	} else {
		check(strncmp(why, "f:", 2) == 0 && !strchr(why, '\n'));
	}
	fclose(in);
	return 0;
}
