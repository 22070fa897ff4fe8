/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/rules.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct owner exporter = {
    .pid = 7,
    .uid = 65534,
    .command = "node_exporter",
    .executable = "/usr/bin/prometheus-node-exporter",
    .cgroup = "/system.slice/prometheus-node-exporter.service",
    .unit = "prometheus-node-exporter.service",
    .container = "",
    .runtime = "",
};
static const struct owner pod = {
    .pid = 9,
    .uid = 1000,
    .command = "api",
    .executable = "/app/api (deleted)",
    .cgroup = "/kubepods.slice/cri-containerd-0123456789abcdef.scope",
    .unit = "",
    .container = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    .runtime = "containerd",
};

struct set {
	struct conf *conf;
	struct rules *rules;
	struct endpoint endpoint;
	struct finding finding;
	struct match_facts facts;
};

/* Of these breakers, for a listener at 10.0.0.7:9100. */
static struct set make(const char *breakers)
{
	struct set s = {.endpoint = {0}};
	char error[CONF_ERROR_LEN] = "", text[2048];

	snprintf(text, sizeof(text), "breakers:\n%s", breakers);
	s.conf = conf_load("f", text, strlen(text), error);
	if (!s.conf)
		fail_msg("%s", error);
	if (rules_new(s.conf, &s.rules, error) < 0)
		fail_msg("%s", error);
	assert_int_equal(endpoint_parse("10.0.0.7:9100", &s.endpoint), 0);
	finding_init(&s.finding);
	s.finding.verdict = VERDICT_CONFIRMED;
	s.finding.severity = SEVERITY_HIGH;
	return s;
}

static void end(struct set *s)
{
	rules_free(s->rules);
	conf_free(s->conf);
	finding_fini(&s->finding);
}

static const char *winner(struct set *s, const struct owner *owner)
{
	s->facts.endpoint = &s->endpoint;
	s->facts.owner = owner;
	s->facts.finding = &s->finding;
	return s->conf->breakers[rules_choose(s->rules, &s->facts)].name;
}

/* One breaker with this match: does it fit? */
static bool fits(const char *match, const char *endpoint, const struct owner *owner)
{
	char text[512];
	struct set s;
	bool is;

	snprintf(text, sizeof(text), "  - {name: a, match: {%s}}\n", match);
	s = make(text);
	assert_int_equal(endpoint_parse(endpoint, &s.endpoint), 0);
	is = strcmp(winner(&s, owner), "a") == 0;
	end(&s);
	return is;
}

static void test_each_condition(void **state)
{
	static const char at[] = "10.0.0.7:9100";

	(void)state;
	assert_true(fits("", at, NULL));
	assert_true(fits("ports: [6060, \"9000-9200\"]", at, NULL));
	assert_true(fits("ports: [9100, 22, 9100]", at, NULL));
	assert_false(fits("ports: [9101]", at, NULL));
	assert_true(fits("ports: [top30]", "10.0.0.7:6060", NULL));
	assert_true(fits("addresses: [192.0.2.1, 10.0.0.0/8]", at, NULL));
	assert_false(fits("addresses: [\"::/0\"]", at, NULL));
	assert_true(fits("addresses: [\"2001:db8::/32\"]", "[2001:db8::1]:80", NULL));

	assert_true(fits("process: [node_exporter]", at, &exporter));
	assert_true(fits("process: [\"prometheus-*\"]", at, &exporter));
	assert_true(fits("process: [\"/usr/bin/*\"]", at, &exporter));
	assert_false(fits("process: [\"/usr/local/*\"]", at, &exporter));
	assert_false(fits("process: [exporter]", at, &exporter));
	assert_true(fits("process: [/app/api]", at, &pod)); /* replaced while it runs */
	assert_true(fits("unit: [\"prometheus*.service\"]", at, &exporter));
	assert_false(fits("unit: [\"*\"]", at, &pod)); /* it has none */
	assert_true(fits("container: [any]", at, &pod));
	assert_false(fits("container: [none]", at, &pod));
	assert_true(fits("container: [none]", at, &exporter));
	assert_true(fits("container: [ffff, \"0123\"]", at, &pod));
	assert_false(fits("container: [\"1234\"]", at, &pod));
	assert_true(fits("user: [65534]", at, &exporter));
	assert_true(fits("user: [root, \"1000\"]", at, &pod));
	assert_false(fits("user: [root]", at, &pod));

	/* Of a target nothing is known. */
	assert_false(fits("process: [\"*\"]", at, NULL));
	assert_false(fits("unit: [\"*\"]", at, NULL));
	assert_false(fits("container: [none]", at, NULL));
	assert_false(fits("user: [0]", at, NULL));
	/* All must fit. */
	assert_true(fits("ports: [9100], process: [api]", at, &pod));
	assert_false(fits("ports: [9101], process: [api]", at, &pod));
}

static void test_first_that_fits_wins(void **state)
{
	struct set s = make("  - {name: spare, action: alert, match: {process: [prometheus]}}\n"
	                    "  - {name: likely, match: {verdict: [likely]}}\n"
	                    "  - {name: high, severity: high, match: {ports: [9100]}}\n"
	                    "  - {name: rest, severity: low, match: {ports: [9100]}}\n");
	struct match_facts none = {.endpoint = &s.endpoint};

	(void)state;
	assert_string_equal(winner(&s, &exporter), "high");
	s.finding.severity = SEVERITY_LOW;
	assert_string_equal(winner(&s, &exporter), "rest");
	s.finding.verdict = VERDICT_LIKELY;
	assert_string_equal(winner(&s, &exporter), "rest");
	s.finding.severity = SEVERITY_MEDIUM;
	assert_string_equal(winner(&s, &exporter), "likely");
	/* Nothing that counts: the first whose match fits has it, and calls it clean. */
	s.finding.verdict = VERDICT_CLEAR;
	assert_string_equal(winner(&s, &exporter), "high");
	/* No match fits: an alert, and never a block. */
	s.endpoint.port = 80;
	s.finding.verdict = VERDICT_CONFIRMED;
	assert_string_equal(winner(&s, &exporter), CONF_UNMATCHED);
	assert_int_equal(s.conf->breakers[s.conf->n_breakers].action, CONF_ACTION_ALERT);
	assert_null(rules_why_not(s.rules, s.conf->n_breakers, &s.facts));
	/* Without a finding, its conditions are passed over. */
	assert_string_equal(s.conf->breakers[rules_choose(s.rules, &none)].name, "likely");
	end(&s);
}

static void test_says_why_not(void **state)
{
	struct set s = make("  - {name: a, match: {process: [x], unit: [y]}}\n"
	                    "  - {name: b, match: {loopback: false}}\n"
	                    "  - {name: c, severity: high, match: {verdict: [confirmed]}}\n");

	(void)state;
	(void)winner(&s, &exporter);
	assert_string_equal(rules_why_not(s.rules, 0, &s.facts), "match.process");
	assert_null(rules_why_not(s.rules, 1, &s.facts));
	s.facts.loopback_only = true;
	assert_string_equal(rules_why_not(s.rules, 1, &s.facts), "match.loopback");
	s.finding.severity = SEVERITY_MEDIUM;
	assert_string_equal(rules_why_not(s.rules, 2, &s.facts), "severity");
	assert_true(rules_fits_owner(s.rules, 2, &s.facts));
	s.finding.verdict = VERDICT_LIKELY;
	assert_string_equal(rules_why_not(s.rules, 2, &s.facts), "match.verdict");
	end(&s);
}

static void test_refuses_unknown_users(void **state)
{
	static const char text[] =
	    "breakers:\n- name: a\n  match:\n    user: [root, nobody-here]\n";
	char error[CONF_ERROR_LEN] = "";
	auto_conf struct conf *conf = conf_load("f", text, strlen(text), error);
	struct rules *rules = NULL;

	(void)state;
	assert_non_null(conf);
	assert_int_equal(rules_new(conf, &rules, error), -EINVAL);
	assert_null(rules);
	assert_string_equal(error, "4:18: breakers[].match.user: breaker a: no user "
	                           "\"nobody-here\" in /etc/passwd; expected a name there, or a "
	                           "number");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_condition),
	    cmocka_unit_test(test_first_that_fits_wins),
	    cmocka_unit_test(test_says_why_not),
	    cmocka_unit_test(test_refuses_unknown_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
