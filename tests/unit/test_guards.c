/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Knocks and guards against listeners on loopback addresses of a network namespace of our own:
 * there port 515 is free, and addresses without a listener answer with RSTs.
 */
/* Its commands are its own. NOLINTBEGIN(cert-env33-c) */
#include "common/cleanup.h"
#include "scanner/guard_accept_all.h"
#include "scanner/guard_printer.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LISTENERS_MAX = 16 };

static bool has_namespace; /* set once, by the group's setup */

static int enter_namespace(void **state)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	auto_close int fd = -1;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	has_namespace = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
	return 0;
}

/* Servers that accept, may say something, and count every byte that reaches them. */
struct listener {
	struct event *on_accept;
	struct event *on_byte; /* of the last connection */
	const char *banner;
	unsigned accepted, bytes;
	struct event_base *base;
};

struct lab {
	struct event_base *base;
	struct listener listeners[LISTENERS_MAX];
	size_t n;
	/* What the callbacks said, in their order. */
	struct {
		struct endpoint endpoint;
		bool allowed;
		const char *why;
		enum knock_result result;
		size_t length;
	} said[64];
	size_t n_said, wanted;
	unsigned notes;
	char note[256];
	bool may_not_knock;
};

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static void on_byte(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	char bytes[64];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)what;
	if (n > 0)
		l->bytes += (unsigned)n;
	/* The connection was reset, never ended in order. */
	else
		assert_true(n < 0 && errno == ECONNRESET);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	int client = accept(fd, NULL, NULL);

	(void)what;
	if (client < 0)
		return;
	l->accepted++;
	if (l->banner)
		send(client, l->banner, strlen(l->banner), MSG_NOSIGNAL);
	if (l->on_byte) {
		close(event_get_fd(l->on_byte));
		event_free(l->on_byte);
	}
	l->on_byte = event_new(l->base, client, EV_READ, on_byte, l);
	event_add(l->on_byte, NULL);
}

static struct listener *serve(struct lab *lab, const char *where, const char *banner)
{
	struct endpoint e = at(where);
	struct listener *l = &lab->listeners[lab->n++];
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&e, &address);
	int fd = socket(e.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	assert_true(lab->n <= LISTENERS_MAX && fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(fd, 256), 0);
	l->banner = banner;
	l->base = lab->base;
	l->on_accept = event_new(lab->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	event_add(l->on_accept, NULL);
	return l;
}

static struct lab *lab_new(void)
{
	struct lab *lab;

	if (!has_namespace)
		skip();
	lab = calloc(1, sizeof(*lab));
	assert_non_null(lab);
	lab->base = event_base_new();
	return lab;
}

static void drop(struct event *event)
{
	if (!event)
		return;
	close(event_get_fd(event));
	event_free(event);
}

static void lab_free(struct lab *lab)
{
	for (size_t i = 0; i < lab->n; i++) {
		drop(lab->listeners[i].on_byte);
		drop(lab->listeners[i].on_accept);
	}
	event_base_free(lab->base);
	free(lab);
}

AUTO_CLEANUP(lab, struct lab *, lab_free)
#define auto_lab __attribute__((cleanup(cleanup_lab)))

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct lab *)arg)->base);
}

/* Until `wanted` answers came; a hang is a failure. */
static void await(struct lab *lab, size_t wanted)
{
	const struct timeval most = {.tv_sec = 20};
	struct event *timer = evtimer_new(lab->base, on_time, lab);

	lab->wanted = wanted;
	event_add(timer, &most);
	if (lab->n_said < wanted)
		event_base_dispatch(lab->base);
	event_free(timer);
	assert_int_equal(lab->n_said, wanted);
	/* What reached the listeners meanwhile. */
	event_base_loop(lab->base, EVLOOP_NONBLOCK);
}

static void on_knock(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                     size_t length, void *arg)
{
	struct lab *lab = arg;

	(void)banner;
	lab->said[lab->n_said].endpoint = *e;
	lab->said[lab->n_said].length = length;
	lab->said[lab->n_said++].result = result;
	if (lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}

static void on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg)
{
	struct lab *lab = arg;

	assert_true(allowed == !why);
	lab->said[lab->n_said].endpoint = *e;
	lab->said[lab->n_said].allowed = allowed;
	lab->said[lab->n_said++].why = why;
	if (lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}

/* ---- knocks ---- */

static void knock_once(struct lab *lab, struct knocker *k, const char *where, int64_t banner_ms,
                       enum knock_result wanted)
{
	struct endpoint e = at(where);

	assert_int_equal(knock_start(k, &e, 300, banner_ms, on_knock, lab), 0);
	await(lab, lab->n_said + 1);
	assert_int_equal(lab->said[lab->n_said - 1].result, wanted);
	assert_int_equal(endpoint_compare(&lab->said[lab->n_said - 1].endpoint, &e), 0);
}

static void test_knock_results(void **state)
{
	static const char long_banner[] = "0123456789012345678901234567890123456789"
	                                  "012345678901234567890123456789";
	auto_lab struct lab *lab = lab_new();
	struct listener *mute, *talker;
	struct knocker *k;

	(void)state;
	mute = serve(lab, "127.1.0.1:7000", NULL);
	talker = serve(lab, "127.1.0.1:7001", long_banner);
	serve(lab, "[::1]:7000", NULL);
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	knock_once(lab, k, "127.1.0.1:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7000", 100, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7001", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7001", 2000, KNOCK_BANNER);
	assert_int_equal(lab->said[lab->n_said - 1].length, KNOCK_BANNER_MAX_BYTES);
	knock_once(lab, k, "[::1]:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "127.1.0.1:7002", 100, KNOCK_CLOSED);
	knock_once(lab, k, "10.9.9.9:80", 100, KNOCK_UNREACHABLE);
	assert_int_equal(mute->accepted, 2);
	assert_int_equal(mute->bytes + talker->bytes, 0);
	assert_int_equal(knock_room(k), KNOCK_MAX);
	knocker_free(k);
}

/* A listener whose queue is full drops SYNs: silence without a firewall. */
static void test_knock_silence(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct endpoint e = at("127.1.0.2:7000");
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&e, &address);
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fill[4];
	struct knocker *k;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&address, length);
	}
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	knock_once(lab, k, "127.1.0.2:7000", 100, KNOCK_SILENT);
	knocker_free(k);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		close(fill[i]);
}

static void test_knock_by_a_route(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct probe_route route = {.source = at("127.1.0.99:1"), .interface = "lo"};
	struct knocker *k;

	(void)state;
	route.source.port = 0;
	serve(lab, "127.1.0.3:7000", NULL);
	assert_int_equal(knocker_new(lab->base, &route, &k), 0);
	knock_once(lab, k, "127.1.0.3:7000", 0, KNOCK_OPEN);
	knock_once(lab, k, "[::1]:7000", 0, KNOCK_UNREACHABLE);
	route.proxy = at("127.1.0.3:7000");
	knock_once(lab, k, "127.1.0.3:7000", 0, KNOCK_UNTOLD);
	knocker_free(k);
}

static void test_knock_room_and_descriptors(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct endpoint e = at("127.1.0.4:7000");
	struct rlimit limit, none;
	struct knocker *k;

	(void)state;
	assert_int_equal(knocker_new(lab->base, NULL, &k), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(knock_start(k, &e, 60, 0, on_knock, lab), 0);
	for (int i = 1; i < KNOCK_MAX; i++)
		assert_int_equal(knock_start(k, &e, 60000, 0, on_knock, lab), 0);
	assert_int_equal(knock_start(k, &e, 60, 0, on_knock, lab), -EAGAIN);
	await(lab, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(lab->said[0].result, KNOCK_UNTOLD);
	assert_true(knock_room(k) >= 1);
	knocker_free(k); /* with the others under way */
}

/* ---- printers ---- */

static struct guard_printer *printer_guard(struct lab *lab, bool found_open)
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
static const char *ask(struct lab *lab, struct guard_printer *g, const char *where)
{
	struct endpoint e = at(where);
	const char *why = NULL;

	switch (guard_printer_ask(g, &e, &why, on_guard, lab)) {
	case GUARD_ALLOWED: return NULL;
	case GUARD_REFUSED: assert_non_null(why); return why;
	case GUARD_FULL: fail_msg("full"); break;
	case GUARD_PENDING: break;
	}
	await(lab, lab->n_said + 1);
	return lab->said[lab->n_said - 1].why;
}

static void test_signs_of_a_printer(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct guard_printer *g;
	size_t asked;

	(void)state;
	serve(lab, "127.2.0.1:9100", NULL);
	serve(lab, "127.2.0.1:515", NULL);
	serve(lab, "127.2.0.2:9100", NULL);
	serve(lab, "127.2.0.2:631", NULL);
	serve(lab, "127.2.0.3:9100", NULL);
	serve(lab, "127.2.0.3:9101", NULL);
	serve(lab, "127.2.0.4:9100", "@PJL INFO STATUS\r\n");
	serve(lab, "127.2.0.5:9100", NULL);
	serve(lab, "127.2.0.6:9101", NULL);
	serve(lab, "127.2.0.6:9102", NULL);
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
	auto_lab struct lab *lab = lab_new();
	struct guard_printer *g;
	struct listener *lpd;

	(void)state;
	serve(lab, "127.2.1.1:9100", NULL);
	lpd = serve(lab, "127.2.1.1:515", NULL);
	g = printer_guard(lab, false);
	assert_null(ask(lab, g, "127.2.1.1:9103"));
	assert_int_equal(lpd->accepted, 0); /* nothing there, so nobody else was asked */
	assert_non_null(ask(lab, g, "127.2.1.1:9100"));
	assert_int_equal(lpd->accepted, 1);
	guard_printer_free(g);
}

static void test_what_cannot_be_told_is_a_printer(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct probe_route route = {.proxy = at("127.2.2.9:3128")};
	struct guard_printer *g;
	struct rlimit limit, none;
	const char *why;

	(void)state;
	serve(lab, "127.2.2.1:9100", NULL);
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
	struct lab *lab = arg;

	(void)e;
	(void)why;
	assert_true(allowed);
	if (++lab->n_said >= lab->wanted)
		event_base_loopbreak(lab->base);
}

static void test_many_hosts(void **state)
{
	enum { HOSTS = 3 * GUARD_PRINTER_HOSTS };
	auto_lab struct lab *lab = lab_new();
	struct guard_printer *g;
	unsigned full = 0, i = 0;

	(void)state;
	g = printer_guard(lab, false);
	while (i < HOSTS) {
		struct endpoint e = at("127.3.0.1:9100");
		const char *why;

		e.address[2] = (uint8_t)(i >> 8);
		e.address[3] = (uint8_t)i;
		switch (guard_printer_ask(g, &e, &why, on_count, lab)) {
		case GUARD_PENDING: i++; break;
		case GUARD_FULL:
			full++;
			await(lab, lab->n_said + 1);
			break;
		case GUARD_ALLOWED:
		case GUARD_REFUSED: fail_msg("known at once?");
		}
	}
	await(lab, HOSTS);
	assert_true(full > 0);
	guard_printer_free(g);
}

/* ---- hosts that accept every port ---- */

static void on_note(const char *text, void *arg)
{
	struct lab *lab = arg;

	lab->notes++;
	snprintf(lab->note, sizeof(lab->note), "%s", text);
}

static bool may_knock(const struct endpoint *e, void *arg)
{
	(void)e;
	return !((struct lab *)arg)->may_not_knock;
}

static const uint16_t swept[] = {6060, 8080, 9090, 9100, 2379, 8086};

static struct guard_accept_all *accept_all_guard(struct lab *lab)
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

static enum guard_answer see(struct lab *lab, struct guard_accept_all *g, const char *host,
                             unsigned port)
{
	char text[ENDPOINT_TEXT_LEN];
	const char *why = NULL;
	enum guard_answer answer;
	struct endpoint e;

	snprintf(text, sizeof(text), "%s:%u", host, port);
	e = at(text);
	answer = guard_accept_all_seen(g, &e, &why, on_guard, lab);
	assert_true((answer == GUARD_REFUSED) == !!why);
	return answer;
}

static void test_an_honest_host_passes(void **state)
{
	auto_lab struct lab *lab = lab_new();
	struct guard_accept_all *g;

	(void)state;
	g = accept_all_guard(lab);
	for (unsigned port = 1; port <= 4; port++)
		assert_int_equal(see(lab, g, "127.4.0.1", port), GUARD_ALLOWED);
	/* It is looked at now; what comes meanwhile waits. */
	assert_int_equal(see(lab, g, "127.4.0.1", 5), GUARD_PENDING);
	assert_int_equal(see(lab, g, "127.4.0.1", 6), GUARD_PENDING);
	assert_int_equal(see(lab, g, "127.4.0.2", 1), GUARD_ALLOWED);
	await(lab, 2);
	assert_true(lab->said[0].allowed && lab->said[1].allowed);
	assert_int_equal(see(lab, g, "127.4.0.1", 7), GUARD_ALLOWED);
	assert_int_equal(lab->notes, 0);
	guard_accept_all_free(g);
}

/* Everything that goes to 127.5.0.0/16, on whatever port, ends at one listener. */
static void accept_everything(struct lab *lab)
{
	serve(lab, "0.0.0.0:7000", NULL);
	assert_int_equal(
	    system("nft 'table ip every { chain port { type nat hook output priority -100;"
	           " ip daddr 127.5.0.0/16 meta l4proto tcp redirect to :7000; }; }'"),
	    0);
}

static void show_host(struct lab *lab, struct guard_accept_all *g, const char *host)
{
	size_t told = lab->n_said;

	for (unsigned port = 1; port <= 4; port++)
		assert_int_equal(see(lab, g, host, port), GUARD_ALLOWED);
	assert_int_equal(see(lab, g, host, 5), GUARD_PENDING);
	assert_int_equal(see(lab, g, host, 6), GUARD_PENDING);
	await(lab, told + 2);
	for (size_t i = told; i < lab->n_said; i++) {
		assert_false(lab->said[i].allowed);
		assert_string_equal(lab->said[i].why, "its host accepts every port");
	}
	assert_int_equal(see(lab, g, host, 7), GUARD_REFUSED);
}

static void test_hosts_that_accept_everything(void **state)
{
	auto_lab struct lab *lab = lab_new();
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
		await(lab, told + 1);
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
	auto_lab struct lab *lab = lab_new();
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
	    cmocka_unit_test(test_knock_results),
	    cmocka_unit_test(test_knock_silence),
	    cmocka_unit_test(test_knock_by_a_route),
	    cmocka_unit_test(test_knock_room_and_descriptors),
	    cmocka_unit_test(test_signs_of_a_printer),
	    cmocka_unit_test(test_ports_not_known_to_be_open),
	    cmocka_unit_test(test_what_cannot_be_told_is_a_printer),
	    cmocka_unit_test(test_many_hosts),
	    cmocka_unit_test(test_an_honest_host_passes),
	    cmocka_unit_test(test_hosts_that_accept_everything),
	    cmocka_unit_test(test_freed_while_pending),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}

/* NOLINTEND(cert-env33-c) */
