/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/route.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* As Berlin's, in POSIX's words: tests need no files of zones. */
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

static const struct owner exporter = {
    .pid = 7,
    .uid = 65534,
    .command = "node_exporter",
    .executable = "/usr/bin/node_exporter",
    .cgroup = "",
    .unit = "node_exporter.service",
    .container = "",
    .runtime = "",
};

struct set {
	struct conf *conf;
	struct routes *routes;
	struct endpoint endpoint;
	struct route_facts facts;
	struct route_choice chosen[CONF_MAX_ALERTS];
	int64_t now_ms;
};

/* Sinks that have this beside their name and where they are: "match: {...}"; up to NULL. */
static void make(struct set *s, const char *const keys[])
{
	char error[CONF_ERROR_LEN] = "", text[4096] = "alerts:\n";
	size_t n = strlen(text);

	for (unsigned i = 0; keys[i]; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		                      "  - {name: s%u, type: webhook, url: 'http://h'%s%s}\n", i,
		                      keys[i][0] ? ", " : "", keys[i]);
	memset(s, 0, sizeof(*s));
	s->conf = conf_load("f", text, n, error);
	if (!s->conf || routes_new(s->conf, &s->routes, error) < 0)
		fail_msg("%s", error);
	assert_int_equal(endpoint_parse("10.0.0.7:9100", &s->endpoint), 0);
	s->facts = (struct route_facts){.event = "opened",
	                                .severity = SEVERITY_MEDIUM,
	                                .endpoint = &s->endpoint,
	                                .owner = &exporter};
}

static void end(struct set *s)
{
	routes_free(s->routes);
	conf_free(s->conf);
}

/* "013": the sinks that are told. */
static const char *choose(struct set *s)
{
	static char text[CONF_MAX_ALERTS + 1];
	size_t n = route_choose(s->routes, &s->facts, s->now_ms, s->chosen);

	for (size_t i = 0; i < n; i++)
		text[i] = (char)('0' + s->chosen[i].index);
	text[n] = '\0';
	return text;
}

static const char *choose_of_none(struct set *s, const char *event)
{
	s->facts = (struct route_facts){.event = event};
	return choose(s);
}

static const char *choose_event(struct set *s, const char *event)
{
	s->facts.event = event;
	return choose(s);
}

static void tells_everything_where_nothing_is_asked(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"", "match: {}", NULL});
	assert_string_equal(choose(&s), "01");
	assert_int_equal(s.chosen[0].not_before_ms, 0);
	s.facts.severity = SEVERITY_NONE;
	s.facts.owner = NULL;
	assert_string_equal(choose_event(&s, "manual_block"), "01");
	assert_string_equal(choose_of_none(&s, "source_failed"), "01");
	end(&s);
}

static void tells_what_a_filter_has_held_off_by_name_alone(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"", "match: {severity: low}", "match: {events: [denied]}",
	                               "match: {events: [filtered, opened]}", NULL});
	assert_string_equal(choose_event(&s, "denied"), "2");
	assert_string_equal(choose_event(&s, "filtered"), "3");
	assert_string_equal(choose_event(&s, "opened"), "013");
	end(&s);
}

static void asks_for_severity(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"match: {severity: high}", "match: {severity: medium}",
	                               "match: {severity: low}", NULL});
	assert_string_equal(choose(&s), "12");
	s.facts.severity = SEVERITY_HIGH;
	assert_string_equal(choose(&s), "012");
	s.facts.severity = SEVERITY_INFO;
	assert_string_equal(choose(&s), "");
	/* Of what has none, nobody can say that it is too little. */
	s.facts.severity = SEVERITY_NONE;
	assert_string_equal(choose(&s), "012");
	assert_string_equal(choose_of_none(&s, "source_failed"), "012");
	end(&s);
}

static void asks_for_events(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"match: {events: [opened]}",
	                               "match: {events: [closed, source_failed]}", NULL});
	assert_string_equal(choose(&s), "0");
	assert_string_equal(choose_event(&s, "filtered"), "");
	assert_string_equal(choose_event(&s, "closed"), "1");
	assert_string_equal(choose_event(&s, "gone"), "");
	assert_string_equal(choose_of_none(&s, "source_failed"), "1");
	end(&s);
}

static void asks_for_endpoints(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"match: {ports: [9000-9200]}", "match: {ports: [80]}",
	                               "match: {addresses: [10.0.0.0/8]}",
	                               "match: {addresses: ['::/0']}",
	                               "match: {process: ['node_*']}", "match: {process: [api]}",
	                               "match: {unit: ['*.service'], container: [none]}",
	                               "match: {container: [any]}", NULL});
	assert_string_equal(choose(&s), "0246");
	/* A target that is no listener of this host. */
	s.facts.owner = NULL;
	assert_string_equal(choose(&s), "02");
	assert_string_equal(choose_of_none(&s, "source_failed"), "");
	end(&s);
}

static void escalates_what_stays_open(void **state)
{
	enum { MINUTES = 60 * 1000 };
	struct set s;

	(void)state;
	make(&s,
	     (const char *const[]){"", "escalate_after: 30m",
	                           "escalate_after: 10m, match: {events: [opened, closed]}",
	                           "escalate_after: 5m, match: {ports: [80]}",
	                           "escalate_after: 1m, match: {events: [source_failed]}", NULL});
	assert_string_equal(choose(&s), "0");
	assert_string_equal(choose_event(&s, "closed"), "0");
	assert_int_equal(route_next_escalation(s.routes, &s.facts), 10 * MINUTES);

	s.facts.escalated_ms = 10 * MINUTES;
	assert_string_equal(choose_event(&s, "escalated"), "2");
	assert_string_equal(choose_event(&s, "closed"), "02");
	assert_string_equal(choose_event(&s, "reminder"), "0");
	assert_int_equal(route_next_escalation(s.routes, &s.facts), 30 * MINUTES);

	s.facts.escalated_ms = 30 * MINUTES;
	assert_string_equal(choose_event(&s, "escalated"), "1");
	assert_string_equal(choose_event(&s, "closed"), "012");
	assert_string_equal(choose_event(&s, "acknowledged"), "01");
	assert_int_equal(route_next_escalation(s.routes, &s.facts), 0);

	/* Nobody can acknowledge it: only who asks for it by name. */
	assert_string_equal(choose_of_none(&s, "source_failed"), "04");
	assert_string_equal(choose_of_none(&s, "source_recovered"), "0");
	end(&s);
}

static void refreshes_what_would_be_forgotten(void **state)
{
	struct set s;

	(void)state;
	make(&s, (const char *const[]){"", "", "match: {severity: high}",
	                               "escalate_after: 10m, match: {events: [opened]}", NULL});
	assert_int_equal(route_refresh_every(s.routes, &s.facts), 0);
	for (unsigned i = 1; i < 4; i++) {
		s.conf->alerts[i].type = CONF_ALERT_ALERTMANAGER;
		s.conf->alerts[i].refresh_ms = (5 - i) * 60000;
	}
	assert_string_equal(choose_event(&s, "refresh"), "1");
	assert_int_equal(route_refresh_every(s.routes, &s.facts), 4 * 60000);
	s.facts.escalated_ms = 600000;
	assert_string_equal(choose_event(&s, "refresh"), "13");
	assert_int_equal(route_refresh_every(s.routes, &s.facts), 2 * 60000);
	assert_string_equal(choose_event(&s, "opened"), "013");
	end(&s);
}

/* The moment of a local time, "2026-03-28 23:00", or the second one of two. */
static int64_t at(const char *text, bool second)
{
	struct tm tm = {.tm_isdst = second ? 0 : -1};
	int n = sscanf(text, "%d-%d-%d %d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	               &tm.tm_min);

	assert_int_equal(n, 5);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)mktime(&tm) * 1000;
}

/* Begins the set in a time zone. */
static void make_in(struct set *s, const char *zone, const char *hours)
{
	setenv("TZ", zone, 1);
	make(s, (const char *const[]){hours, NULL});
}

/* What happens at `now` is told at `then`, "" for at once. */
static void check(struct set *s, const char *now, const char *then)
{
	s->now_ms = at(now, false);
	assert_string_equal(choose(s), "0");
	if (s->chosen[0].not_before_ms != (*then ? at(then, false) : 0))
		fail_msg("%s: told %+lld min from then, expected %s", now,
		         (long long)(s->chosen[0].not_before_ms - s->now_ms) / 60000, then);
}

static void holds_until_quiet_hours_end(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, BERLIN, "quiet_hours: ['22:00-07:00', 'Sat 00:00-24:00', Sun 00:00-24:00]");
	check(&s, "2026-11-23 21:59", "");
	check(&s, "2026-11-23 22:00", "2026-11-24 07:00");
	check(&s, "2026-11-24 00:00", "2026-11-24 07:00");
	check(&s, "2026-11-24 06:59", "2026-11-24 07:00");
	check(&s, "2026-11-24 07:00", "");
	/* From Friday's night over the weekend to Monday. */
	check(&s, "2026-11-27 22:30", "2026-11-30 07:00");
	check(&s, "2026-11-28 12:00", "2026-11-30 07:00");
	/* Seconds do not matter. */
	s.now_ms = at("2026-11-23 22:00", false) + 12345;
	assert_string_equal(choose(&s), "0");
	assert_int_equal(s.chosen[0].not_before_ms, at("2026-11-24 07:00", false));
	end(&s);
}

static void knows_days(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, BERLIN, "quiet_hours: [Fri-Mon 20:00-06:00, Wed 12:00-13:00]");
	check(&s, "2026-11-27 19:00", ""); /* a Friday */
	check(&s, "2026-11-27 20:00", "2026-11-28 06:00");
	check(&s, "2026-11-28 12:00", "");
	check(&s, "2026-11-29 23:00", "2026-11-30 06:00");
	/* A night belongs to the day on which it begins. */
	check(&s, "2026-12-01 05:00", "2026-12-01 06:00");
	check(&s, "2026-12-01 23:00", "");
	check(&s, "2026-12-02 12:30", "2026-12-02 13:00");
	check(&s, "2026-12-03 12:30", "");
	end(&s);
}

static void tells_what_is_grave_all_the_same(void **state)
{
	static const char *const keys[] = {
	    "quiet_hours: ['22:00-07:00']", "quiet_hours: ['22:00-07:00'], quiet_except: medium",
	    "quiet_hours: ['22:00-07:00'], quiet_except: none", NULL};
	struct set s;

	(void)state;
	setenv("TZ", BERLIN, 1);
	make(&s, keys);
	s.now_ms = at("2026-11-23 23:00", false);
	assert_string_equal(choose(&s), "012");
	assert_int_not_equal(s.chosen[0].not_before_ms, 0);
	assert_int_equal(s.chosen[1].not_before_ms, 0);
	assert_int_not_equal(s.chosen[2].not_before_ms, 0);
	s.facts.severity = SEVERITY_HIGH;
	assert_string_equal(choose(&s), "012");
	assert_int_equal(s.chosen[0].not_before_ms, 0);
	assert_int_equal(s.chosen[1].not_before_ms, 0);
	assert_int_not_equal(s.chosen[2].not_before_ms, 0);
	assert_string_equal(choose_of_none(&s, "source_failed"), "012");
	assert_int_not_equal(s.chosen[1].not_before_ms, 0);
	end(&s);
}

/* On 29 March 2026, 02:00 is 03:00. */
static void goes_by_the_clock_in_spring(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, BERLIN, "quiet_hours: ['22:00-07:00']");
	check(&s, "2026-03-28 23:00", "2026-03-29 07:00");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 7 * 3600 * 1000);
	check(&s, "2026-03-29 03:00", "2026-03-29 07:00");
	end(&s);

	/* It would end within the hour that is not there. */
	make_in(&s, BERLIN, "quiet_hours: ['22:00-02:30']");
	check(&s, "2026-03-29 01:59", "2026-03-29 03:00");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 60 * 1000);
	check(&s, "2026-03-29 03:00", "");
	end(&s);

	/* It would be that hour alone. */
	make_in(&s, BERLIN, "quiet_hours: ['02:00-03:00']");
	check(&s, "2026-03-29 01:59", "");
	check(&s, "2026-03-29 03:00", "");
	check(&s, "2026-03-30 02:00", "2026-03-30 03:00");
	end(&s);

	/* Days on end. */
	make_in(&s, BERLIN, "quiet_hours: ['Sat-Sun 00:00-24:00']");
	check(&s, "2026-03-28 10:00", "2026-03-30 00:00");
	end(&s);
}

/* On 25 October 2026, 03:00 is 02:00 once more. */
static void goes_by_the_clock_in_autumn(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, BERLIN, "quiet_hours: ['22:00-07:00']");
	check(&s, "2026-10-24 23:00", "2026-10-25 07:00");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 9 * 3600 * 1000);
	end(&s);

	make_in(&s, BERLIN, "quiet_hours: ['22:00-02:30']");
	s.now_ms = at("2026-10-25 01:00", false);
	assert_string_equal(choose(&s), "0");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 90 * 60 * 1000);
	/* The first 02:45 is not quiet; the second 02:15 is again. */
	s.now_ms += 105 * 60 * 1000;
	assert_string_equal(choose(&s), "0");
	assert_int_equal(s.chosen[0].not_before_ms, 0);
	s.now_ms = at("2026-10-25 02:15", true);
	assert_string_equal(choose(&s), "0");
	assert_int_equal(s.chosen[0].not_before_ms, at("2026-10-25 02:30", true));
	end(&s);

	make_in(&s, BERLIN, "quiet_hours: ['22:00-03:00']");
	check(&s, "2026-10-25 01:00", "2026-10-25 03:00");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 3 * 3600 * 1000);
	end(&s);
}

/* Half an hour, and on the other side of the equator: Lord Howe. */
static void goes_by_other_clocks(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, "LHST-10:30LHDT-11,M10.1.0,M4.1.0", "quiet_hours: ['22:00-02:15']");
	check(&s, "2026-10-04 01:00", "2026-10-04 02:30");
	assert_int_equal(s.chosen[0].not_before_ms - s.now_ms, 60 * 60 * 1000);
	end(&s);

	make_in(&s, "UTC0", "quiet_hours: ['22:00-07:00']");
	check(&s, "2026-03-29 01:30", "2026-03-29 07:00");
	end(&s);
}

/* A year, hour by hour: the end is loud, and all before it is quiet. */
static void never_holds_longer_than_it_is_quiet(void **state)
{
	struct set s;

	(void)state;
	make_in(&s, BERLIN, "quiet_hours: ['21:30-02:30', 'Sun 00:00-24:00']");
	for (int64_t now = at("2026-01-01 00:00", false); now < at("2027-01-01 00:00", false);
	     now += 30 * 60 * 1000) {
		int64_t until;

		s.now_ms = now;
		assert_string_equal(choose(&s), "0");
		until = s.chosen[0].not_before_ms;
		if (!until)
			continue;
		assert_true(until > now && until - now <= INT64_C(48) * 3600 * 1000);
		s.now_ms = until - 60 * 1000;
		choose(&s);
		assert_int_equal(s.chosen[0].not_before_ms, until);
		s.now_ms = until;
		choose(&s);
		assert_int_equal(s.chosen[0].not_before_ms, 0);
	}
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_everything_where_nothing_is_asked),
	    cmocka_unit_test(tells_what_a_filter_has_held_off_by_name_alone),
	    cmocka_unit_test(asks_for_severity),
	    cmocka_unit_test(asks_for_events),
	    cmocka_unit_test(asks_for_endpoints),
	    cmocka_unit_test(escalates_what_stays_open),
	    cmocka_unit_test(refreshes_what_would_be_forgotten),
	    cmocka_unit_test(holds_until_quiet_hours_end),
	    cmocka_unit_test(knows_days),
	    cmocka_unit_test(tells_what_is_grave_all_the_same),
	    cmocka_unit_test(goes_by_the_clock_in_spring),
	    cmocka_unit_test(goes_by_the_clock_in_autumn),
	    cmocka_unit_test(goes_by_other_clocks),
	    cmocka_unit_test(never_holds_longer_than_it_is_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
