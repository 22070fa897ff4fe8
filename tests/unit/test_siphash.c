/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/siphash.h"

#include "common/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The key 00 01 .. 0f, and the message 00 01 .. of each length: the paper's appendix A has that of
 * 15 bytes, the authors' reference implementation all. */
static void test_vectors(void **state)
{
	static const struct {
		size_t length;
		uint64_t hash;
	} vectors[] = {
	    {0, 0x726fdb47dd0e0e31U}, {1, 0x74f839c593dc67fdU},  {2, 0x0d6c8009d9a94f5aU},
	    {3, 0x85676696d7fb7e2dU}, {4, 0xcf2794e0277187b7U},  {5, 0x18765564cd99a68dU},
	    {6, 0xcbc9466e58fee3ceU}, {7, 0xab0200f58b01d137U},  {8, 0x93f5f5799a932462U},
	    {9, 0x9e0082df0ba9e4b0U}, {15, 0xa129ca6149be45e5U}, {63, 0x958a324ceb064572U},
	};
	uint8_t bytes[64];
	struct siphash_key key;

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	key = siphash_read_key(bytes);
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		/* Exactly as many bytes as there are, so that a sanitizer sees one read too far. */
		auto_free uint8_t *message = malloc(vectors[i].length ? vectors[i].length : 1);

		assert_non_null(message);
		for (size_t b = 0; b < vectors[i].length; b++)
			message[b] = bytes[b];
		assert_int_equal(siphash_compute(&key, message, vectors[i].length),
		                 vectors[i].hash);
	}
}

static void test_every_key_bit_counts(void **state)
{
	static const uint8_t message[12] = "syn cookie";
	uint8_t bytes[16] = {0};
	struct siphash_key zero = siphash_read_key(bytes);
	uint64_t plain = siphash_compute(&zero, message, sizeof(message));

	(void)state;
	for (unsigned bit = 0; bit < 128; bit++) {
		struct siphash_key key;
		unsigned changed;

		bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		key = siphash_read_key(bytes);
		bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		changed = (unsigned)__builtin_popcountll(
		    plain ^ siphash_compute(&key, message, sizeof(message)));
		assert_in_range(changed, 10, 54);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_every_key_bit_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
