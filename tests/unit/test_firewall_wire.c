/* SPDX-License-Identifier: GPL-2.0-or-later */
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
	r.zero = 1;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.zero2 = 1;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r = make_block();
	r.verb = 0;
	assert_int_equal(check(&r), FIREWALL_MALFORMED);
	r.verb = FIREWALL_STATUS + 1;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_well_formed_requests),
	    cmocka_unit_test(refuses_other_sizes),
	    cmocka_unit_test(refuses_padding_and_unknown_values),
	    cmocka_unit_test(has_words_for_every_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
