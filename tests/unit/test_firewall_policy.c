/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/policy.h"

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char default_name[] = "default", sealed_name[] = "sealed", alert_name[] = "alert";
static uint16_t ports[] = {22, 443};
static struct conf_breaker breakers[] = {
    {.name = default_name},
    {.name = sealed_name, .seal_local = true},
    {.name = alert_name, .action = CONF_ACTION_ALERT},
};

static struct conf make_conf(void)
{
	struct conf conf = {.mode = CONF_MODE_ENFORCE, .breakers = breakers, .n_breakers = 3};

	conf.protect.ports.items = ports;
	conf.protect.ports.count = 2;
	conf.metrics.enabled = true;
	conf.metrics.listen.port = 9464;
	conf.firewall.max_blocks = 3;
	conf.firewall.max_blocks_per_minute = 2;
	conf.firewall.mark = 0x10;
	conf.firewall.mark_mask = 0xf0;
	return conf;
}

static enum firewall_result check(const char *address, uint16_t port, uint32_t rule,
                                  uint64_t timeout_ms)
{
	const struct conf conf = make_conf();
	struct firewall_request r = {.version = FIREWALL_WIRE_VERSION,
	                             .verb = FIREWALL_BLOCK,
	                             .port = port,
	                             .rule = rule,
	                             .timeout_ms = timeout_ms};
	const bool is6 = strchr(address, ':');

	r.family = is6 ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(r.family, address, r.address), 1);
	return policy_check_block(&conf, &r);
}

static void checks_addresses(void **state)
{
	static const char *const bad[] = {"0.0.0.0",   "0.1.2.3", "224.0.0.1", "239.255.255.255",
	                                  "240.0.0.1", "::",      "ff02::1",   "255.255.255.255",
	                                  "127.0.0.1", "::1",     "127.9.9.9", "::ffff:10.0.0.1"};
	static const char *const good[] = {"10.91.0.2", "1.0.0.1", "223.255.255.255", "128.0.0.1",
	                                   "fd91::2",   "fe80::1", "2001:db8::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(check(bad[i], 9100, 1, 60000), FIREWALL_BAD_ADDRESS);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(check(good[i], 9100, 1, 60000), FIREWALL_OK);
	/* Loopback can be sealed, but not by hand. */
	assert_int_equal(check("127.0.0.1", 9100, 2, 60000), FIREWALL_OK);
	assert_int_equal(check("::1", 9100, 2, 60000), FIREWALL_OK);
	assert_int_equal(check("::1", 9100, FIREWALL_RULE_MANUAL, 60000), FIREWALL_BAD_ADDRESS);
}

static void checks_ports_rules_and_timeouts(void **state)
{
	struct conf conf = make_conf();

	(void)state;
	assert_int_equal(check("10.0.0.1", 22, 1, 60000), FIREWALL_PROTECTED_PORT);
	assert_int_equal(check("10.0.0.1", 443, 0, 60000), FIREWALL_PROTECTED_PORT);
	assert_int_equal(check("10.0.0.1", 9464, 1, 60000), FIREWALL_PROTECTED_PORT); /* our own */
	conf.metrics.enabled = false;
	assert_false(policy_is_protected_port(&conf, 9464));
	assert_int_equal(check("10.0.0.1", 9100, 4, 60000), FIREWALL_BAD_RULE);
	assert_int_equal(check("10.0.0.1", 9100, UINT32_MAX, 60000), FIREWALL_BAD_RULE);
	assert_int_equal(check("10.0.0.1", 9100, 3, 60000), FIREWALL_BAD_RULE); /* only alerts */
	assert_int_equal(check("10.0.0.1", 9100, 1, 999), FIREWALL_BAD_TIMEOUT);
	assert_int_equal(check("10.0.0.1", 9100, 1, 1000), FIREWALL_OK);
	assert_int_equal(check("10.0.0.1", 9100, 1, FIREWALL_TIMEOUT_MAX_MS), FIREWALL_OK);
	assert_int_equal(check("10.0.0.1", 9100, 1, FIREWALL_TIMEOUT_MAX_MS + 1),
	                 FIREWALL_BAD_TIMEOUT);
}

static void only_a_person_blocks_while_observing(void **state)
{
	struct conf conf = make_conf();
	struct firewall_request r = {.port = 9100,
	                             .family = AF_INET,
	                             .address = {10, 0, 0, 1},
	                             .rule = 1,
	                             .timeout_ms = 60000};

	(void)state;
	conf.mode = CONF_MODE_OBSERVE;
	assert_int_equal(policy_check_block(&conf, &r), FIREWALL_BAD_RULE);
	r.rule = FIREWALL_RULE_MANUAL;
	assert_int_equal(policy_check_block(&conf, &r), FIREWALL_OK);
	r.fallback = 1;
	assert_int_equal(policy_check_block(&conf, &r), FIREWALL_BAD_RULE);
}

static void filters_fall_back_only_to_what_the_rule_says(void **state)
{
	struct conf_breaker filters[] = {
	    {.name = default_name, .action = CONF_ACTION_FILTER},
	    {.name = sealed_name,
	     .action = CONF_ACTION_FILTER,
	     .filter.fallback = CONF_ACTION_ALERT},
	    {.name = alert_name, .action = CONF_ACTION_DROP},
	};
	struct conf conf = make_conf();
	struct firewall_request r = {
	    .port = 9100, .family = AF_INET, .address = {10, 0, 0, 1}, .timeout_ms = 60000};
	static const struct {
		uint8_t fallback;
		enum firewall_result results[4];
	} cases[] = {
	    {0, {FIREWALL_OK, FIREWALL_OK, FIREWALL_OK, FIREWALL_OK}},
	    {1, {FIREWALL_BAD_RULE, FIREWALL_OK, FIREWALL_BAD_RULE, FIREWALL_BAD_RULE}},
	};

	(void)state;
	conf.breakers = filters;
	for (size_t i = 0; i < 2; i++) {
		r.fallback = cases[i].fallback;
		for (r.rule = 0; r.rule < 4; r.rule++)
			assert_int_equal(policy_check_block(&conf, &r), cases[i].results[r.rule]);
	}
	assert_true(policy_is_filter(&conf, 1));
	assert_false(policy_is_filter(&conf, 3));
	assert_false(policy_is_filter(&conf, FIREWALL_RULE_MANUAL));
	assert_false(policy_is_filter(&conf, FIREWALL_RULE_ORPHAN));
}

static void caps_blocks_at_once_and_per_minute(void **state)
{
	const struct conf conf = make_conf();
	struct policy_rate rate = {0};
	const int64_t now = 5000000900;

	(void)state;
	assert_int_equal(policy_check_caps(&conf, &rate, 3, now), FIREWALL_TOO_MANY);
	assert_int_equal(policy_check_caps(&conf, &rate, 2, now), FIREWALL_OK);
	policy_rate_record(&rate, now);
	policy_rate_record(&rate, now + 30000);
	assert_int_equal(policy_check_caps(&conf, &rate, 0, now + 30000), FIREWALL_TOO_FAST);
	assert_int_equal(policy_check_caps(&conf, &rate, 0, now + 60000), FIREWALL_TOO_FAST);
	assert_int_equal(policy_check_caps(&conf, &rate, 0, now + 61000), FIREWALL_OK);
	policy_rate_record(&rate, now + 61000);
	assert_int_equal(policy_check_caps(&conf, &rate, 0, now + 61000), FIREWALL_TOO_FAST);
	assert_int_equal(policy_rate_count(&rate, now + 3600000), 0);
}

/* Whatever the times, no 60 seconds hold more than the cap. */
static void no_window_exceeds_the_cap(void **state)
{
	const struct conf conf = make_conf();
	struct policy_rate rate = {0};
	int64_t admitted[1000];
	size_t n = 0;

	(void)state;
	for (int64_t now = 1; now < 1000000 && n < ARRAY_LEN(admitted); now += 1733) {
		if (policy_check_caps(&conf, &rate, 0, now) != FIREWALL_OK)
			continue;
		policy_rate_record(&rate, now);
		admitted[n++] = now;
	}
	assert_true(n > 25);
	for (size_t i = 2; i < n; i++)
		assert_true(admitted[i] - admitted[i - 2] >= 60000);
}

static void refuses_a_mark_that_would_accept_everything(void **state)
{
	struct conf conf = make_conf();

	(void)state;
	assert_null(policy_find_conf_error(&conf));
	conf.firewall.mark = 0x100;
	assert_non_null(policy_find_conf_error(&conf));
	conf.firewall.mark = 0x110;
	assert_non_null(policy_find_conf_error(&conf));
	conf.firewall.mark = 0;
	assert_non_null(policy_find_conf_error(&conf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(checks_addresses),
	    cmocka_unit_test(checks_ports_rules_and_timeouts),
	    cmocka_unit_test(only_a_person_blocks_while_observing),
	    cmocka_unit_test(filters_fall_back_only_to_what_the_rule_says),
	    cmocka_unit_test(caps_blocks_at_once_and_per_minute),
	    cmocka_unit_test(no_window_exceeds_the_cap),
	    cmocka_unit_test(refuses_a_mark_that_would_accept_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
