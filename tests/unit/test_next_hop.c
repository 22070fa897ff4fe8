/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Next hops between two network namespaces of this test's own, which end with it: this process
 * and a child that answers, joined by a veth pair. Needs root; the addresses are nowhere else.
 */
/* Its commands are its own. NOLINTBEGIN(cert-env33-c) */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/sandbox.h"
#include "scanner/discover/next_hop.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define FAR    "nsenter -t %d -n ip " /* a command for the far side */

struct lab {
	pid_t far; /* holds the other namespace */
	struct next_hops *hops;
};

__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static pid_t start_far_side(void)
{
	char byte = 0;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = unshare(CLONE_NEWNET) == 0;
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void open_hops(struct lab *lab, const char *source, unsigned interface)
{
	char why[NEXT_HOP_ERROR_LEN] = "";
	struct endpoint e = {0};

	next_hops_free(lab->hops);
	lab->hops = NULL;
	if (source)
		assert_int_equal(endpoint_parse_address(source, &e), 0);
	if (next_hops_open(&e, interface, &lab->hops, why) != 0)
		fail_msg("%s", why);
}

static int set_up_links(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	*state = lab;
	if (!lab || unshare(CLONE_NEWNET) < 0)
		return -1;
	lab->far = start_far_side();
	run("ip link set lo up");
	run("ip link add near address 02:00:00:00:00:01 type veth peer name far address "
	    "02:00:00:00:00:02 netns %d",
	    (int)lab->far);
	run(FAR "link set far up", lab->far);
	run(FAR "link set lo up", lab->far);
	for (int i = 2; i <= 4; i++)
		run(FAR "addr add 10.78.0.%d/24 dev far && " FAR
		        "addr add fd78::%d/64 dev far nodad",
		    lab->far, i, lab->far, i);
	run(FAR "addr add fe80::2/64 dev far nodad", lab->far);
	run("ip link set near up");
	run("ip addr add 10.78.0.1/24 dev near");
	run("ip addr add 10.78.0.9/24 dev near");
	run("ip addr add fd78::1/64 dev near nodad");
	run("ip addr add fd78::9/64 dev near nodad");
	run("ip addr add fe80::1/64 dev near nodad");
	run("ip route add 10.79.0.0/16 via 10.78.0.2");
	run("ip route add 10.79.5.0/24 via 10.78.0.3 src 10.78.0.9 mtu 1300");
	run("ip -6 route add fd79::/32 via fd78::2");
	run("ip -6 route add fd79:5::/32 via fe80::2 dev near");
	run("ip route add 10.83.0.0/16 via inet6 fe80::2 dev near");
	return 0;
}

static int tear_down_links(void **state)
{
	struct lab *lab = *state;

	kill(lab->far, SIGKILL);
	waitpid(lab->far, NULL, 0);
	free(lab);
	return 0;
}

static int close_hops(void **state)
{
	struct lab *lab = *state;

	next_hops_free(lab->hops);
	lab->hops = NULL;
	return 0;
}

static int find(struct lab *lab, const char *text, int64_t now_ns, const struct next_hop **out)
{
	struct endpoint e;

	if (endpoint_parse_address(text, &e) < 0)
		fail_msg("%s", text);
	e.port = 80;
	return next_hop_find(lab->hops, &e, now_ns, out);
}

/* As an engine does it: waits for answers, by the descriptor. */
static int resolve(struct lab *lab, const char *text, const struct next_hop **out)
{
	const int64_t end = clock_monotonic_ms() + 10000;
	int err;

	while ((err = find(lab, text, clock_monotonic_ns(), out)) == -EINPROGRESS &&
	       clock_monotonic_ms() < end) {
		struct pollfd ready = {.fd = next_hop_descriptor(lab->hops), .events = POLLIN};

		poll(&ready, 1, 100);
		next_hop_turn(lab->hops, clock_monotonic_ns());
	}
	return err;
}

static void check(struct lab *lab, const char *to, const char *source, unsigned last_of_mac)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)last_of_mac};
	char text[ENDPOINT_TEXT_LEN];
	const struct next_hop *hop = NULL;
	int err = resolve(lab, to, &hop);

	if (err)
		fail_msg("%s: %s", to, strerror(-err));
	assert_string_equal(endpoint_format_address(&hop->source, text), source);
	assert_int_equal(hop->source.port, 0);
	assert_int_equal(hop->mac_len, 6);
	assert_memory_equal(hop->mac, mac, 6);
}

static void check_error(struct lab *lab, const char *to, int expected)
{
	const struct next_hop *hop;
	int err = resolve(lab, to, &hop);

	if (err != expected)
		fail_msg("%s: %d, not %d", to, err, expected);
}

static void gateways_are_found(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;

	open_hops(lab, NULL, 0);
	check(lab, "10.79.1.1", "10.78.0.1", 2);
	assert_int_equal(resolve(lab, "10.79.4.255", &hop), 0);
	assert_int_equal(hop->mtu, 1500);
	check(lab, "10.79.5.0", "10.78.0.9", 2);
	assert_int_equal(resolve(lab, "10.79.5.255", &hop), 0);
	assert_int_equal(hop->mtu, 1300);
	check(lab, "10.79.6.0", "10.78.0.1", 2);
	check(lab, "fd79::1", "fd78::9", 2);
	check(lab, "fd79:5::1", "fd78::9", 2);
	/* at once now */
	assert_int_equal(find(lab, "10.79.200.200", clock_monotonic_ns(), &hop), 0);
}

static void an_ipv6_gateway_serves_ipv4(void **state)
{
	struct lab *lab = *state;

	open_hops(lab, NULL, 0);
	check(lab, "10.83.1.1", "10.78.0.1", 2);
}

static void hosts_of_the_link_are_found(void **state)
{
	static const char *const live[] = {"10.78.0.2", "10.78.0.3", "10.78.0.4"};
	static const char *const live6[] = {"fd78::2", "fd78::3", "fd78::4"};
	struct lab *lab = *state;

	open_hops(lab, NULL, 0);
	for (size_t i = 0; i < ARRAY_LEN(live); i++) {
		check(lab, live[i], "10.78.0.1", 2);
		check(lab, live6[i], "fd78::9", 2);
	}
}

/* All others of the /24, at once; time is ours to tell. */
static void silent_hosts_are_given_up(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;
	int64_t now = clock_monotonic_ns();
	char text[32];

	open_hops(lab, NULL, 0);
	for (int step = 0; step < 40; step++, now += SECOND / 10) {
		for (int i = 100; i < 254; i++) {
			snprintf(text, sizeof(text), "10.78.0.%d", i);
			find(lab, text, now, &hop);
		}
		next_hop_turn(lab->hops, now);
	}
	assert_int_equal(find(lab, "10.78.0.100", now, &hop), -EHOSTUNREACH);
	assert_int_equal(find(lab, "10.78.0.253", now, &hop), -EHOSTUNREACH);
	assert_int_equal(next_hops_silent(lab->hops), 154);
	assert_int_equal(find(lab, "fd78::dead", now, &hop), -EINPROGRESS);
	for (int step = 0; step < 40; step++)
		next_hop_turn(lab->hops, now += SECOND / 10);
	assert_int_equal(find(lab, "fd78::dead", now, &hop), -EHOSTUNREACH);
}

static void link_local_addresses_need_their_link(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;
	char text[64];
	unsigned index;

	open_hops(lab, NULL, 0);
	assert_int_equal(resolve(lab, "fd78::2", &hop), 0);
	index = (unsigned)hop->ifindex;
	snprintf(text, sizeof(text), "fe80::2%%%u", index);
	check(lab, text, "fe80::1", 2);
	check_error(lab, "fe80::2", -EINVAL);
	snprintf(text, sizeof(text), "fe80::2%%%u", index + 1000);
	check_error(lab, text, -ENETUNREACH);
}

static void what_the_routes_refuse_is_refused(void **state)
{
	struct lab *lab = *state;

	run("ip route add prohibit 10.80.0.0/16");
	run("ip route add unreachable 10.81.0.0/16");
	run("ip route add blackhole 10.82.0.0/16");
	run("ip -6 route add prohibit fd80::/32");
	run("ip -6 route add unreachable fd81::/32");
	run("ip -6 route add blackhole fd82::/32");
	open_hops(lab, NULL, 0);
	check_error(lab, "10.80.1.1", -EACCES);
	check_error(lab, "10.81.1.1", -EHOSTUNREACH);
	check_error(lab, "10.82.1.1", -EINVAL);
	check_error(lab, "fd80::1", -EACCES);
	check_error(lab, "fd81::1", -EHOSTUNREACH);
	check_error(lab, "fd82::1", -EINVAL);
	check_error(lab, "192.0.2.1", -ENETUNREACH);
	check_error(lab, "2001:db8::1", -ENETUNREACH);
	check_error(lab, "10.78.0.255", -ENETUNREACH);
	check_error(lab, "255.255.255.255", -ENETUNREACH);
	check_error(lab, "224.0.0.1", -ENETUNREACH);
	run("ip route del prohibit 10.80.0.0/16 && ip route del unreachable 10.81.0.0/16 && "
	    "ip route del blackhole 10.82.0.0/16 && ip -6 route del prohibit fd80::/32 && "
	    "ip -6 route del unreachable fd81::/32 && ip -6 route del blackhole fd82::/32");
}

static void this_host_is_left_to_connect(void **state)
{
	static const char *const own[] = {"127.0.0.1", "127.9.9.9", "::1",
	                                  "10.78.0.1", "10.78.0.9", "fd78::1"};
	struct lab *lab = *state;

	open_hops(lab, NULL, 0);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		check_error(lab, own[i], -EOPNOTSUPP);
}

/* By destination, by source, in a table of its own. */
static void policy_rules_count(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;

	run("ip link add quiet address 02:00:00:00:00:77 type veth peer name quiet2 && "
	    "ip link set quiet2 up && ip link set quiet arp off up && "
	    "ip addr add 10.90.0.1/24 dev quiet");
	run("ip rule add to 10.79.7.0/24 lookup 100 && "
	    "ip route add default dev quiet table 100 src 10.90.0.1");
	run("ip rule add from 10.78.0.9 lookup 101 && ip route add prohibit default table 101");
	open_hops(lab, NULL, 0);
	check(lab, "10.79.6.255", "10.78.0.1", 2);
	/* a link without ARP: its own address */
	check(lab, "10.79.7.0", "10.90.0.1", 0x77);
	check(lab, "10.79.7.255", "10.90.0.1", 0x77);
	assert_int_equal(resolve(lab, "10.79.7.1", &hop), 0);
	check(lab, "10.79.8.0", "10.78.0.1", 2);
	/* the route there says `src 10.78.0.9`, from which all is prohibited */
	check_error(lab, "10.79.5.1", -EACCES);
	/* as the user asked */
	open_hops(lab, "10.78.0.9", 0);
	check_error(lab, "10.79.6.255", -EACCES);
	run("ip rule del to 10.79.7.0/24 lookup 100 && ip rule del from 10.78.0.9 lookup 101 && "
	    "ip link del quiet && ip route flush table 101");
}

static void the_users_source_and_interface_count(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;
	struct next_hops *none = NULL;
	char why[NEXT_HOP_ERROR_LEN];
	struct endpoint e;
	int near;

	open_hops(lab, "10.78.0.9", 0);
	check(lab, "10.79.1.1", "10.78.0.9", 2);
	check(lab, "10.78.0.4", "10.78.0.9", 2);
	assert_int_equal(resolve(lab, "fd78::2", &hop), 0); /* the other family is the kernel's */
	near = hop->ifindex;
	open_hops(lab, "fd78::1", 0);
	check(lab, "fd79::1", "fd78::1", 2);
	check(lab, "fd78::4", "fd78::1", 2);

	assert_int_equal(endpoint_parse_address("10.78.0.200", &e), 0);
	assert_int_equal(next_hops_open(&e, 0, &none, why), -EADDRNOTAVAIL);
	assert_string_equal(why, "source 10.78.0.200: not an address of this host");
	assert_int_equal(next_hops_open(NULL, 12345, &none, why), -ENODEV);
	assert_string_equal(why, "no interface has the index 12345");
	assert_null(none);

	open_hops(lab, NULL, (unsigned)near);
	check(lab, "10.79.1.1", "10.78.0.1", 2);
	check(lab, "fd78::3", "fd78::9", 2);
}

/* A link without link addresses; where the kernel has none of them, there is nothing to test. */
static void tunnels_have_no_link_address(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop = NULL;

	if (system("ip tuntap add dev pipe mode tun 2>/dev/null") != 0 &&
	    system("ip link add pipe type ipip remote 10.78.0.2 local 10.78.0.1 2>/dev/null") !=
	        0 &&
	    system("ip link add pipe type wireguard 2>/dev/null") != 0)
		skip();
	run("ip link set pipe up mtu 1400 && ip addr add 10.91.0.1/24 dev pipe");
	open_hops(lab, NULL, 0);
	assert_int_equal(resolve(lab, "10.91.0.77", &hop), 0);
	assert_int_equal(hop->mac_len, 0);
	assert_int_equal(hop->mtu, 1400);
	run("ip link del pipe");
}

/* One that an administrator has written down, and one that the kernel has resolved. */
static void the_kernels_neighbours_are_used(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;

	run("ip neigh replace 10.78.0.50 lladdr 02:00:00:00:00:50 dev near nud permanent");
	run("ip neigh replace 10.78.0.51 lladdr 02:00:00:00:00:51 dev near nud reachable");
	run("ip neigh replace fd78::50 lladdr 02:00:00:00:00:52 dev near nud permanent");
	open_hops(lab, NULL, 0);
	assert_int_equal(find(lab, "10.78.0.50", clock_monotonic_ns(), &hop), 0);
	check(lab, "10.78.0.50", "10.78.0.1", 0x50);
	assert_int_equal(find(lab, "10.78.0.51", clock_monotonic_ns(), &hop), 0);
	check(lab, "10.78.0.51", "10.78.0.1", 0x51);
	check(lab, "fd78::50", "fd78::9", 0x52);
	assert_int_equal(find(lab, "10.78.0.50", clock_monotonic_ns() + 1000 * SECOND, &hop), 0);
	run("ip neigh flush dev near nud permanent");
}

static void a_gateway_that_moves_is_followed(void **state)
{
	struct lab *lab = *state;
	const int64_t later = 61 * SECOND;
	const struct next_hop *hop;
	struct pollfd ready;

	open_hops(lab, NULL, 0);
	check(lab, "10.79.1.1", "10.78.0.1", 2);
	run(FAR "link set far address 02:00:00:00:00:03", lab->far);
	ready = (struct pollfd){.fd = next_hop_descriptor(lab->hops), .events = POLLIN};
	/* the old one serves while it is asked for again */
	assert_int_equal(find(lab, "10.79.1.1", clock_monotonic_ns() + later, &hop), 0);
	assert_int_equal(hop->mac[5], 2);
	assert_int_equal(poll(&ready, 1, 5000), 1);
	next_hop_turn(lab->hops, clock_monotonic_ns() + later);
	assert_int_equal(find(lab, "10.79.1.1", clock_monotonic_ns() + later, &hop), 0);
	assert_int_equal(hop->mac[5], 3);
	run(FAR "link set far address 02:00:00:00:00:02", lab->far);
}

static void questions_are_paced(void **state)
{
	struct lab *lab = *state;
	const struct next_hop *hop;
	int64_t now = clock_monotonic_ns();
	char text[32];

	open_hops(lab, NULL, 0);
	next_hops_set_rate(lab->hops, 10);
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "10.78.0.%d", 150 + i);
		assert_int_equal(find(lab, text, now, &hop), -EINPROGRESS);
	}
	/* nothing was dropped: all of them are asked in the end, 4 tries each at 10 a second */
	for (int step = 0; step < 300; step++, now += SECOND / 10) {
		for (int i = 0; i < 20; i++) {
			snprintf(text, sizeof(text), "10.78.0.%d", 150 + i);
			find(lab, text, now, &hop);
		}
		next_hop_turn(lab->hops, now);
	}
	assert_int_equal(next_hops_silent(lab->hops), 20);
}

/* In a child, since it is for good. */
static void it_works_without_privileges_and_under_the_filter(void **state)
{
	const struct sandbox_spec spec = {.uid = 65534, .gid = 65534};
	struct lab *lab = *state;
	const struct next_hop *hop;
	char why[SANDBOX_ERROR_LEN];
	int status;
	pid_t pid;

	open_hops(lab, NULL, 0);
	pid = fork();
	if (pid == 0) {
		status =
		    sandbox_drop(&spec, why) == 0 &&
		    sandbox_filter(SANDBOX_FILTER_DISCOVER, why) == 0 &&
		    resolve(lab, "10.79.1.1", &hop) == 0 && resolve(lab, "fd79::1", &hop) == 0 &&
		    resolve(lab, "10.78.0.3", &hop) == 0 && resolve(lab, "fd78::3", &hop) == 0 &&
		    resolve(lab, "192.0.2.1", &hop) == -ENETUNREACH;
		_exit(status ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_teardown(test, close_hops)
	const struct CMUnitTest tests[] = {
	    TEST(gateways_are_found),
	    TEST(an_ipv6_gateway_serves_ipv4),
	    TEST(hosts_of_the_link_are_found),
	    TEST(silent_hosts_are_given_up),
	    TEST(link_local_addresses_need_their_link),
	    TEST(what_the_routes_refuse_is_refused),
	    TEST(this_host_is_left_to_connect),
	    TEST(policy_rules_count),
	    TEST(the_users_source_and_interface_count),
	    TEST(tunnels_have_no_link_address),
	    TEST(the_kernels_neighbours_are_used),
	    TEST(a_gateway_that_moves_is_followed),
	    TEST(questions_are_paced),
	    TEST(it_works_without_privileges_and_under_the_filter),
	};

	if (geteuid() != 0) {
		print_message("not root: skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up_links, tear_down_links);
}

/* NOLINTEND(cert-env33-c) */
