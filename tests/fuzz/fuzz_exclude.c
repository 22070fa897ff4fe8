/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes are read as a list of exclusions. An accepted list is sorted and disjoint and has the ends
 * of every prefix; written out it reads as itself. A refused one gets one printable line.
 */
#include "scanner/sweep/exclude.h"

#include "common/cleanup.h"

#include <string.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

AUTO_CLEANUP(exclude_set, struct exclude_set *, exclude_set_free)
#define auto_exclude_set __attribute__((cleanup(cleanup_exclude_set)))

static int read_bytes(struct exclude_set *set, char *bytes, size_t size,
                      char why[static EXCLUDE_ERROR_LEN])
{
	auto_fclose FILE *in = fmemopen(bytes, size, "r");

	CHECK(in);
	return exclude_set_read_stream(set, in, "list", why);
}

static struct endpoint first_of(const struct prefix *p)
{
	struct endpoint e = {.family = p->family, .port = 1};

	memcpy(e.address, p->address, sizeof(e.address));
	return e;
}

static struct endpoint last_of(const struct prefix *p)
{
	struct endpoint e = first_of(p);

	for (unsigned bit = p->bits; bit < (p->family == AF_INET ? 32U : 128U); bit++)
		e.address[bit / 8] |= (uint8_t)(0x80U >> (bit % 8));
	return e;
}

static void check_set(const struct exclude_set *set)
{
	for (size_t i = 0; i < exclude_set_count(set); i++) {
		const struct prefix *p = exclude_set_at(set, i);
		const struct endpoint first = first_of(p), last = last_of(p);
		struct prefix again;
		char text[PREFIX_TEXT_LEN];

		CHECK(exclude_set_contains(set, &first) && exclude_set_contains(set, &last));
		if (i > 0) {
			const struct prefix *before = exclude_set_at(set, i - 1);

			CHECK(prefix_compare(before, p) < 0 && !prefix_contains(before, &first));
		}
		CHECK(prefix_parse(prefix_format(p, text), &again) == PREFIX_OK &&
		      prefix_compare(p, &again) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_exclude_set struct exclude_set *set = exclude_set_new();
	auto_free char *bytes = malloc(size + 1);
	char why[EXCLUDE_ERROR_LEN] = "";

	if (!set || !bytes || size == 0)
		return 0;
	memcpy(bytes, data, size);
	if (read_bytes(set, bytes, size, why) < 0) {
		CHECK(strncmp(why, "list:", 5) == 0);
		for (const char *p = why; *p; p++)
			CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
		return 0;
	}
	CHECK(exclude_set_seal(set) == 0);
	check_set(set);
	return 0;
}
