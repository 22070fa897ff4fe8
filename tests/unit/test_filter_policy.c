/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/policy.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Not literals, which are const. */
#define TEXT(s) ((char[]){s})

static char *known_prefixes[] = {TEXT("/debug/pprof/"), TEXT("/pprof/")};
static struct signature_relative relatives[] = {
    {.name = TEXT("expvar"), .path = TEXT("/debug/vars")},
    {.name = TEXT("another"), .path = TEXT("/docs/profiler"), .lookalike = true},
};
static const struct signatures signatures = {
    .prefixes = {.items = known_prefixes, .count = ARRAY_LEN(known_prefixes)},
    .relatives = relatives,
    .n_relatives = ARRAY_LEN(relatives),
};

static struct conf_strings list_of(char **items)
{
	struct conf_strings list = {.items = items};

	while (items && items[list.count])
		list.count++;
	return list;
}

static struct policy *policy_of(char **deny, char **allow, const struct signatures *s)
{
	char name[] = "metrics-only";
	struct conf_breaker rule = {.name = name,
	                            .filter = {.deny = list_of(deny), .allow = list_of(allow)}};
	struct policy *p = policy_new(&rule, s);

	assert_non_null(p);
	assert_string_equal(p->name, name);
	return p;
}

static void require(const struct policy *p, bool passes, const char *path)
{
	if (policy_allows(p, path, strlen(path)) != passes)
		fail_msg("%s: should %s", path, passes ? "pass" : "be denied");
}

static void without_a_list_the_signatures_are_denied(void **state)
{
	auto_policy struct policy *p = policy_of(NULL, NULL, &signatures);

	(void)state;
	require(p, true, "/metrics");
	require(p, true, "/");
	require(p, true, "/debugger");
	require(p, false, "/debug/pprofile");
	require(p, true, "/docs/profiler");
	require(p, false, "/debug/pprof");
	require(p, false, "/debug/pprof/");
	require(p, false, "/debug/pprof/heap");
	require(p, false, "/Debug/PProf/heap");
	require(p, false, "/app/debug/pprof/heap");
	require(p, false, "/debug;x=1/pprof;y/heap");
	require(p, false, "/pprof/goroutine");
	require(p, false, "/debug/vars");
}

static void without_signatures_more_is_denied(void **state)
{
	auto_policy struct policy *p = policy_of(NULL, NULL, NULL);

	(void)state;
	require(p, true, "/metrics");
	require(p, false, "/debug/pprof/heap");
	require(p, false, "/debug/requests");
	require(p, false, "/v1/sys/pprof/heap");
}

static void a_list_takes_the_signatures_place(void **state)
{
	char *deny[] = {TEXT("/admin/"), TEXT("/internal"), NULL};
	auto_policy struct policy *p = policy_of(deny, NULL, &signatures);

	(void)state;
	require(p, true, "/debug/pprof/");
	require(p, false, "/administration");
	require(p, false, "/admin");
	require(p, false, "/admin/users");
	require(p, false, "/x/internal/y");
}

static void only_what_is_allowed_passes(void **state)
{
	char *allow[] = {TEXT("/metrics"), TEXT("/-/"), TEXT("/api"), TEXT("/debug/vars"), NULL};
	auto_policy struct policy *p = policy_of(NULL, allow, &signatures);

	(void)state;
	require(p, true, "/metrics");
	require(p, true, "/metrics/");
	require(p, true, "/-/healthy");
	require(p, true, "/api/v1/query");
	require(p, true, "/debug/vars");
	require(p, false, "/");
	require(p, false, "/Metrics");
	require(p, false, "/metricsx");
	require(p, false, "/x/metrics");
	require(p, false, "/metrics;x");
	require(p, false, "/api/debug/pprof/heap");
	require(p, false, "/api/debug/vars");
	require(p, false, "/debug/pprof/");
}

static void everything_can_be_allowed_or_denied(void **state)
{
	char *all[] = {TEXT("/"), NULL};
	auto_policy struct policy *allowing = policy_of(NULL, all, &signatures);
	auto_policy struct policy *denying = policy_of(all, NULL, &signatures);

	(void)state;
	require(allowing, true, "/");
	require(allowing, true, "/x");
	require(allowing, false, "/debug/pprof/");
	require(denying, false, "/");
	require(denying, false, "/x/y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_list_the_signatures_are_denied),
	    cmocka_unit_test(without_signatures_more_is_denied),
	    cmocka_unit_test(a_list_takes_the_signatures_place),
	    cmocka_unit_test(only_what_is_allowed_passes),
	    cmocka_unit_test(everything_can_be_allowed_or_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
