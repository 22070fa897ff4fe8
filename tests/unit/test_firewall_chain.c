/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/chain.h"

#include "daemon/firewall/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Names that look like those of other chains. */
static char plain[] = "a", tricky[] = "filter_a", manual[] = "manual";
static struct conf_breaker breakers[] = {
    {.name = plain, .action = CONF_ACTION_FILTER}, {.name = tricky}, {.name = manual}};
static const struct conf conf = {.breakers = breakers, .n_breakers = 3};

static void test_every_name_leads_back_to_its_rule(void **state)
{
	char text[NFT_NAME_MAXLEN];

	(void)state;
	for (uint32_t rule = 0; rule <= conf.n_breakers; rule++) {
		assert_int_equal(chain_rule_from_name(&conf, chain_name_of_rule(&conf, rule, text)),
		                 rule);
		assert_false(chain_is_filter(text));
		if (rule == FIREWALL_RULE_MANUAL)
			continue;
		assert_int_equal(
		    chain_rule_from_name(&conf, chain_name_of_filter(&conf, rule, text)), rule);
		assert_true(chain_is_filter(text));
	}
}

static void test_other_names_are_orphans(void **state)
{
	static const char *const others[] = {"orphan", "rule_b", "filter_b", "rule_", "filter_",
	                                     "a",      "rule",   "divert",   ""};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(chain_rule_from_name(&conf, others[i]), FIREWALL_RULE_ORPHAN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_name_leads_back_to_its_rule),
	    cmocka_unit_test(test_other_names_are_orphans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
