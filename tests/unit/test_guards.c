/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Its commands are its own. NOLINTBEGIN(cert-env33-c) */
#include "scanner/guard_accept_all.h"
#include "scanner/guard_printer.h"
#include "tests/unit/guard_lab.h"

#include <string.h>
#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- printers ---- */

static struct guard_printer *printer_guard(struct guard_lab *lab, bool found_open)
{
	struct guard_printer_conf conf = guard_printer_conf_default;
	struct guard_printer *g;

	conf.connect_ms = 400;
	conf.banner_ms = 100;
	conf.found_open = found_open;
	assert_int_equal(guard_printer_new(lab->base, &conf, NULL, &g), 0);
	return g;
}

/* NULL: allowed. */
static const char *ask(struct guard_lab *lab, struct guard_printer *g, const char *where)
{
	struct endpoint e = guard_lab_at(where);
	const char *why = NULL;

	switch (guard_printer_ask(g, &e, &why, guard_lab_on_guard, lab)) {
	case GUARD_ALLOWED: return NULL;
	case GUARD_REFUSED: assert_non_null(why); return why;
	case GUARD_FULL: fail_msg("full"); break;
	case GUARD_PENDING: break;
	}
	guard_lab_await(lab, lab->n_said + 1);
	return lab->said[lab->n_said - 1].why;
}

static void test_signs_of_a_printer(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_printer *g;
	size_t asked;

	(void)state;
	guard_lab_serve(lab, "127.2.0.1:9100", NULL);
	guard_lab_serve(lab, "127.2.0.1:515", NULL);
	guard_lab_serve(lab, "127.2.0.2:9100", NULL);
	guard_lab_serve(lab, "127.2.0.2:631", NULL);
	guard_lab_serve(lab, "127.2.0.3:9100", NULL);
	guard_lab_serve(lab, "127.2.0.3:9101", NULL);
	guard_lab_serve(lab, "127.2.0.4:9100", "@PJL INFO STATUS\r\n");
	guard_lab_serve(lab, "127.2.0.5:9100", NULL);
	guard_lab_serve(lab, "127.2.0.6:9101", NULL);
	guard_lab_serve(lab, "127.2.0.6:9102", NULL);
	g = printer_guard(lab, true);
	assert_string_equal(ask(lab, g, "127.2.0.1:9100"), "port 515 (LPD) is open");
	assert_string_equal(ask(lab, g, "127.2.0.2:9100"), "port 631 (IPP) is open");
	assert_string_equal(ask(lab, g, "127.2.0.3:9100"), "port 9101 (JetDirect) is open");
	assert_non_null(strstr(ask(lab, g, "127.2.0.4:9100"), "speaks first"));
	assert_null(ask(lab, g, "127.2.0.5:9100"));
	/* 9101 alone is what exporters have, too; with 9102 beside it, it is a box of three. */
	assert_null(ask(lab, g, "127.2.0.3:9101"));
	assert_string_equal(ask(lab, g, "127.2.0.6:9101"), "port 9102 (JetDirect) is open");
	/* It was open a moment ago: printers take one connection at a time. */
	assert_non_null(ask(lab, g, "127.2.0.5:9107"));
	/* Outside of the range nobody is asked, and what is remembered is said at once. */
	asked = lab->n_said;
	assert_null(ask(lab, g, "127.2.0.1:9099"));
	assert_null(ask(lab, g, "127.2.0.1:9108"));
	assert_non_null(ask(lab, g, "127.2.0.1:9105"));
	assert_null(ask(lab, g, "127.2.0.5:9100"));
	assert_int_equal(lab->n_said, asked);
	for (size_t i = 0; i < lab->n; i++) {
		assert_int_equal(lab->listeners[i].bytes, 0);
		assert_true(lab->listeners[i].accepted <= 1); /* shared by the host's ports */
	}
	guard_printer_free(g);
}

static void test_ports_not_known_to_be_open(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_printer *g;
	struct guard_lab_listener *lpd;

	(void)state;
	guard_lab_serve(lab, "127.2.1.1:9100", NULL);
	lpd = guard_lab_serve(lab, "127.2.1.1:515", NULL);
	g = printer_guard(lab, false);
	assert_null(ask(lab, g, "127.2.1.1:9103"));
	assert_int_equal(lpd->accepted, 0); /* nothing there, so nobody else was asked */
	assert_non_null(ask(lab, g, "127.2.1.1:9100"));
	assert_int_equal(lpd->accepted, 1);
	guard_printer_free(g);
}

static void test_what_cannot_be_told_is_a_printer(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct probe_route route = {.proxy = guard_lab_at("127.2.2.9:3128")};
	struct guard_printer *g;
	struct rlimit limit, none;
	const char *why;

	(void)state;
	guard_lab_serve(lab, "127.2.2.1:9100", NULL);
	g = printer_guard(lab, true);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	why = ask(lab, g, "127.2.2.1:9100");
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_non_null(strstr(why, "could not be looked for"));
	/* Only the last word on it if it stays so. */
	assert_null(ask(lab, g, "127.2.2.1:9100"));
	guard_printer_free(g);
	assert_int_equal(guard_printer_new(lab->base, &guard_printer_conf_default, &route, &g), 0);
	assert_non_null(ask(lab, g, "127.2.2.1:9100"));
	guard_printer_free(g);
}

/* More hosts than are remembered, more endpoints than may be pending: bounded, and nothing lost. */
static void on_count(const struct endpoint *e, bool allowed, const char *why, void *arg)
{
	struct guard_lab *lab = arg;

	(void)e;
	(void)why;
	assert_true(allowed);
	if (++lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}

static void test_many_hosts(void **state)
{
	enum { HOSTS = 3 * GUARD_PRINTER_HOSTS };
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_printer *g;
	unsigned full = 0, i = 0;

	(void)state;
	g = printer_guard(lab, false);
	while (i < HOSTS) {
		struct endpoint e = guard_lab_at("127.3.0.1:9100");
		const char *why;

		e.address[2] = (uint8_t)(i >> 8);
		e.address[3] = (uint8_t)i;
		switch (guard_printer_ask(g, &e, &why, on_count, lab)) {
		case GUARD_PENDING: i++; break;
		case GUARD_FULL:
			full++;
			guard_lab_await(lab, lab->n_said + 1);
			break;
		case GUARD_ALLOWED:
		case GUARD_REFUSED: fail_msg("known at once?");
		}
	}
	guard_lab_await(lab, HOSTS);
	assert_true(full > 0);
	guard_printer_free(g);
}

/* ---- hosts that accept every port ---- */

static void on_note(const char *text, void *arg)
{
	struct guard_lab *lab = arg;

	lab->notes++;
	snprintf(lab->note, sizeof(lab->note), "%s", text);
}

static bool may_knock(const struct endpoint *e, void *arg)
{
	(void)e;
	return !((struct guard_lab *)arg)->may_not_knock;
}

static const uint16_t swept[] = {6060, 8080, 9090, 9100, 2379, 8086};

static struct guard_accept_all *accept_all_guard(struct guard_lab *lab)
{
	const struct guard_accept_all_conf conf = {.ports = swept,
	                                           .n_ports = ARRAY_LEN(swept),
	                                           .connect_ms = 400,
	                                           .note = on_note,
	                                           .may_knock = may_knock,
	                                           .arg = lab};
	struct guard_accept_all *g;

	assert_int_equal(guard_accept_all_new(lab->base, &conf, NULL, &g), 0);
	return g;
}

static enum guard_answer see(struct guard_lab *lab, struct guard_accept_all *g, const char *host,
                             unsigned port)
{
	char text[ENDPOINT_TEXT_LEN];
	const char *why = NULL;
	enum guard_answer answer;
	struct endpoint e;

	snprintf(text, sizeof(text), "%s:%u", host, port);
	e = guard_lab_at(text);
	answer = guard_accept_all_seen(g, &e, &why, guard_lab_on_guard, lab);
	assert_true((answer == GUARD_REFUSED) == !!why);
	return answer;
}

static void test_an_honest_host_passes(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_accept_all *g;

	(void)state;
	g = accept_all_guard(lab);
	for (unsigned port = 1; port <= 4; port++)
		assert_int_equal(see(lab, g, "127.4.0.1", port), GUARD_ALLOWED);
	/* It is looked at now; what comes meanwhile waits. */
	assert_int_equal(see(lab, g, "127.4.0.1", 5), GUARD_PENDING);
	assert_int_equal(see(lab, g, "127.4.0.1", 6), GUARD_PENDING);
	assert_int_equal(see(lab, g, "127.4.0.2", 1), GUARD_ALLOWED);
	guard_lab_await(lab, 2);
	assert_true(lab->said[0].allowed && lab->said[1].allowed);
	assert_int_equal(see(lab, g, "127.4.0.1", 7), GUARD_ALLOWED);
	assert_int_equal(lab->notes, 0);
	guard_accept_all_free(g);
}

/* Everything that goes to 127.5.0.0/16, on whatever port, ends at one listener. */
static void accept_everything(struct guard_lab *lab)
{
	guard_lab_serve(lab, "0.0.0.0:7000", NULL);
	assert_int_equal(
	    system("nft 'table ip every { chain port { type nat hook output priority -100;"
	           " ip daddr 127.5.0.0/16 meta l4proto tcp redirect to :7000; }; }'"),
	    0);
}

static void show_host(struct guard_lab *lab, struct guard_accept_all *g, const char *host)
{
	size_t told = lab->n_said;

	for (unsigned port = 1; port <= 4; port++)
		assert_int_equal(see(lab, g, host, port), GUARD_ALLOWED);
	assert_int_equal(see(lab, g, host, 5), GUARD_PENDING);
	assert_int_equal(see(lab, g, host, 6), GUARD_PENDING);
	guard_lab_await(lab, told + 2);
	for (size_t i = told; i < lab->n_said; i++) {
		assert_false(lab->said[i].allowed);
		assert_string_equal(lab->said[i].why, "its host accepts every port");
	}
	assert_int_equal(see(lab, g, host, 7), GUARD_REFUSED);
}

static void test_hosts_that_accept_everything(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_accept_all_stats stats;
	struct guard_accept_all *g;

	(void)state;
	accept_everything(lab);
	g = accept_all_guard(lab);
	show_host(lab, g, "127.5.0.1");
	assert_int_equal(lab->notes, 1);
	assert_string_equal(lab->note, "127.5.0.1 accepts every port: set aside");
	/* In such a neighbourhood two open ports are enough. */
	for (unsigned i = 2; i <= 8; i++) {
		char host[32];
		size_t told = lab->n_said;

		snprintf(host, sizeof(host), "127.5.0.%u", i);
		lab->may_not_knock = true;
		assert_int_equal(see(lab, g, host, 1), GUARD_ALLOWED);
		assert_int_equal(see(lab, g, host, 2), GUARD_ALLOWED);
		assert_int_equal(see(lab, g, host, 3), GUARD_PENDING);
		lab->may_not_knock = i < 8;
		guard_lab_await(lab, told + 1);
		assert_false(lab->said[told].allowed);
	}
	/* The eighth had the network looked at. */
	while (lab->notes < 9)
		event_base_loop(lab->base, EVLOOP_ONCE);
	assert_string_equal(lab->note,
	                    "127.5.0.0/24 accepts every port on every address: set aside");
	assert_int_equal(see(lab, g, "127.5.0.77", 1), GUARD_REFUSED);
	assert_int_equal(see(lab, g, "127.5.1.77", 1), GUARD_ALLOWED);
	guard_accept_all_get_stats(g, &stats);
	assert_int_equal(stats.hosts, 8);
	assert_int_equal(stats.networks, 1);
	assert_int_equal(stats.refused, 3 + 7 + 1);
	guard_accept_all_free(g);
}

static void test_freed_while_pending(void **state)
{
	auto_guard_lab struct guard_lab *lab = guard_lab_new();
	struct guard_accept_all *g;

	(void)state;
	g = accept_all_guard(lab);
	for (unsigned port = 1; port <= 5; port++)
		see(lab, g, "127.4.1.1", port);
	guard_accept_all_free(g);
	event_base_loop(lab->base, EVLOOP_NONBLOCK);
	assert_int_equal(lab->n_said, 0);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_signs_of_a_printer),
	    cmocka_unit_test(test_ports_not_known_to_be_open),
	    cmocka_unit_test(test_what_cannot_be_told_is_a_printer),
	    cmocka_unit_test(test_many_hosts),
	    cmocka_unit_test(test_an_honest_host_passes),
	    cmocka_unit_test(test_hosts_that_accept_everything),
	    cmocka_unit_test(test_freed_while_pending),
	};

	return cmocka_run_group_tests(tests, guard_lab_enter_namespace, NULL);
}

/* NOLINTEND(cert-env33-c) */
