/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/frame.h"
#include "daemon/firewall/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct firewall_request make_block(void)
{
	return (struct firewall_request){.version = FIREWALL_WIRE_VERSION,
	                                 .verb = FIREWALL_BLOCK,
	                                 .port = 9100,
	                                 .family = AF_INET,
	                                 .address = {10, 91, 0, 2},
	                                 .rule = 1,
	                                 .generation = 7,
	                                 .timeout_ms = 60000};
}

static enum firewall_result check(const struct firewall_request *r)
{
	struct firewall_request out;

	return firewall_wire_check(r, sizeof(*r), &out);
}

static void takes_well_formed_requests(void **state)
{
	const struct firewall_request block = make_block();
	struct firewall_request out, r = {.version = FIREWALL_WIRE_VERSION};

	(void)state;
	assert_int_equal(firewall_wire_check(&block, sizeof(block), &out), FIREWALL_OK);
	assert_memory_equal(&out, &block, sizeof(block));
	for (int verb = FIREWALL_LIST; verb <= FIREWALL_STATUS; verb++) {
		r.verb = (uint16_t)verb;
		assert_int_equal(check(&r), FIREWALL_OK);
	}
	r = block;
	r.verb = FIREWALL_UNBLOCK;
	r.timeout_ms = 0;
	assert_int_equal(check(&r), FIREWALL_OK);
	r = block;
	r.family = AF_INET6;
	memset(r.address, 0xfd, sizeof(r.address));
	assert_int_equal(check(&r), FIREWALL_OK);
}

static void refuses_other_sizes(void **state)
{
	const struct firewall_request block = make_block();
	struct firewall_request out = {0};
	uint8_t longer[sizeof(block) + 1] = {0};

	(void)state;
	memcpy(longer, &block, sizeof(block));
	assert_int_equal(firewall_wire_check(longer, sizeof(longer), &out), FIREWALL_MALFORMED);
	for (size_t length = 0; length < sizeof(block); length++)
		assert_int_equal(firewall_wire_check(&block, length, &out), FIREWALL_MALFORMED);
	assert_int_equal(out.verb, 0); /* untouched */
}

static void refuses_padding_and_unknown_values(void **state)
{
	struct firewall_request r = make_block();

	(void)state;
	r.version++;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.fallback = 1;
	assert_int_equal(check(&r), FIREWALL_OK);
	r.fallback = 2;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.fallback = 1;
	r.verb = FIREWALL_UNBLOCK;
	r.timeout_ms = 0;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.restored = 1;
	assert_int_equal(check(&r), FIREWALL_OK);
	r.restored = 2;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.restored = 1;
	r.verb = FIREWALL_UNBLOCK;
	r.timeout_ms = 0;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.zero2[2] = 1;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.verb = 0;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r.verb = FIREWALL_LEDGER_LIST + 1;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.family = AF_UNIX;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.port = 0;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.address[4] = 1; /* an IPv4 address has four bytes */
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.verb = FIREWALL_UNBLOCK; /* with a timeout */
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.verb = FIREWALL_PANIC; /* of one endpoint? */
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
}

static void has_words_for_every_result(void **state)
{
	(void)state;
	for (int i = FIREWALL_OK; i <= FIREWALL_END; i++)
		assert_string_not_equal(firewall_result_text((enum firewall_result)i),
		                        "unknown result");
	assert_string_equal(firewall_result_text((enum firewall_result)99), "unknown result");
}

static void takes_requests_about_the_ledger(void **state)
{
	struct firewall_request r = make_block();

	(void)state;
	r.rule = 0;
	r.timeout_ms = 0;
	for (int verb = FIREWALL_LEDGER_ADD; verb <= FIREWALL_LEDGER_LIST; verb++) {
		r.verb = (uint16_t)verb;
		assert_int_equal(check(&r), FIREWALL_OK);
		r.rule = 1;
		assert_int_equal(check(&r), FIREWALL_MALFORMED);
		r.rule = 0;
		r.timeout_ms = 1000;
		assert_int_equal(check(&r), FIREWALL_MALFORMED);
		r.timeout_ms = 0;
	}
	r = (struct firewall_request){.version = FIREWALL_WIRE_VERSION,
	                              .verb = FIREWALL_LEDGER_LIST};
	assert_int_equal(check(&r), FIREWALL_OK); /* of all */
	r.verb = FIREWALL_LEDGER_ADD;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
}

static struct prefix read_prefix(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), PREFIX_OK);
	return p;
}

struct allow_frame {
	struct firewall_allow head;
	struct firewall_prefix entries[FIREWALL_ALLOW_MAX + 1];
};

static enum firewall_result check_allow(const struct allow_frame *f, size_t entries,
                                        struct prefix *out)
{
	struct firewall_allow head;

	return firewall_wire_check_allow(f, sizeof(f->head) + entries * sizeof(f->entries[0]),
	                                 &head, out);
}

static void takes_lists_of_prefixes(void **state)
{
	static struct prefix out[FIREWALL_ALLOW_MAX];
	static struct allow_frame f = {
	    .head = {.version = FIREWALL_WIRE_VERSION, .rule = 3, .generation = 7, .count = 3}};
	const char *const texts[] = {"10.0.0.0/8", "192.0.2.1", "2001:db8::/33"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct prefix p = read_prefix(texts[i]);

		f.entries[i] = firewall_prefix_from(&p);
	}
	assert_int_equal(check_allow(&f, 3, out), FIREWALL_OK);
	for (size_t i = 0; i < 3; i++) {
		const struct prefix p = read_prefix(texts[i]);

		assert_int_equal(prefix_compare(&out[i], &p), 0);
	}
	assert_int_equal(check_allow(&f, 2, out), FIREWALL_MALFORMED);
	assert_int_equal(check_allow(&f, 4, out), FIREWALL_MALFORMED);
	assert_int_equal(firewall_wire_check_allow(&f, sizeof(f.head) - 1, &f.head, out),
	                 FIREWALL_MALFORMED);
	f.head.count = 0;
	assert_int_equal(check_allow(&f, 0, out), FIREWALL_OK);
	for (size_t i = 0; i <= FIREWALL_ALLOW_MAX; i++)
		f.entries[i] = f.entries[0];
	f.head.count = FIREWALL_ALLOW_MAX;
	assert_int_equal(check_allow(&f, FIREWALL_ALLOW_MAX, out), FIREWALL_OK);
	f.head.count++;
	assert_int_equal(check_allow(&f, FIREWALL_ALLOW_MAX + 1, out), FIREWALL_MALFORMED);
	assert_true(sizeof(f) <= FRAME_BODY_MAX_BYTES + sizeof(f.entries[0]));
}

static void refuses_prefixes_that_are_none(void **state)
{
	static const struct firewall_prefix bad[] = {
	    {.family = AF_UNIX, .bits = 8, .address = {10}},
	    {.family = AF_INET, .bits = 33},
	    {.family = AF_INET6, .bits = 129},
	    {.family = AF_INET, .bits = 8, .address = {10, 1}},
	    {.family = AF_INET, .bits = 32, .address = {10, 0, 0, 1, 1}},
	    {.family = AF_INET6, .bits = 127, .address = {[15] = 1}},
	    {.family = AF_INET, .bits = 8, .zero = {0, 1}, .address = {10}},
	};
	static struct prefix out[FIREWALL_ALLOW_MAX];
	static struct allow_frame f = {.head = {.version = FIREWALL_WIRE_VERSION, .count = 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.entries[0] = bad[i];
		assert_int_equal(check_allow(&f, 1, out), FIREWALL_MALFORMED);
	}
	f.entries[0] = (struct firewall_prefix){.family = AF_INET};
	assert_int_equal(check_allow(&f, 1, out), FIREWALL_OK); /* everybody */
	f.head.zero2 = 1;
	assert_int_equal(check_allow(&f, 1, out), FIREWALL_MALFORMED);
	f.head.zero2 = 0;
	f.head.version = 1;
	assert_int_equal(check_allow(&f, 1, out), FIREWALL_MALFORMED);
}

static void takes_blocks_of_one_frame(void **state)
{
	static struct firewall_request many[FIREWALL_AT_ONCE + 1], read[FIREWALL_AT_ONCE];
	const struct firewall_request block = make_block();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = block;
		many[i].port = (uint16_t)(i + 1);
	}
	assert_int_equal(firewall_wire_read_blocks(many, sizeof(block), read), 1);
	assert_int_equal(firewall_wire_read_blocks(many, FIREWALL_AT_ONCE * sizeof(block), read),
	                 FIREWALL_AT_ONCE);
	assert_memory_equal(read, many, sizeof(read));
	assert_int_equal(firewall_wire_read_blocks(many, sizeof(many), read), 0);
	assert_int_equal(firewall_wire_read_blocks(many, 0, read), 0);
	assert_int_equal(firewall_wire_read_blocks(many, 2 * sizeof(block) - 1, read), 0);
	many[2].port = 0;
	assert_int_equal(firewall_wire_read_blocks(many, 3 * sizeof(block), read), 0);
	many[2] =
	    (struct firewall_request){.version = FIREWALL_WIRE_VERSION, .verb = FIREWALL_LIST};
	assert_int_equal(firewall_wire_read_blocks(many, 3 * sizeof(block), read), 0);
	assert_int_equal(firewall_wire_read_blocks(many, 2 * sizeof(block), read), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_well_formed_requests),
	    cmocka_unit_test(refuses_other_sizes),
	    cmocka_unit_test(takes_blocks_of_one_frame),
	    cmocka_unit_test(takes_requests_about_the_ledger),
	    cmocka_unit_test(takes_lists_of_prefixes),
	    cmocka_unit_test(refuses_prefixes_that_are_none),
	    cmocka_unit_test(refuses_padding_and_unknown_values),
	    cmocka_unit_test(has_words_for_every_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
