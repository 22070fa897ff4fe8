/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ARP and neighbour discovery, the table of link addresses, and what cuts a family's addresses. */
#include "common/cleanup.h"
#include "common/endpoint.h"
#include "scanner/discover/neighbour.h"
#include "scanner/discover/segments.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const uint8_t our_mac[MAC_LEN] = {2, 0, 0, 0, 0, 1};
static const uint8_t their_mac[MAC_LEN] = {2, 0, 0, 0, 0, 2};

/* Packets */

static const uint8_t arp_reply[] = {0,  1, 8, 0, 6, 4, 0, 2, 2, 0, 0,  0, 0, 2,
                                    10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1};

static void arp_asks_for_the_address(void **state)
{
	const struct neighbour_question q = {.family = AF_INET,
	                                     .source = {10, 0, 0, 1},
	                                     .target = {10, 0, 0, 2},
	                                     .mac = {2, 0, 0, 0, 0, 1}};
	static const uint8_t request[] = {0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 1,
	                                  10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2};
	uint8_t packet[NEIGHBOUR_QUESTION_MAX], to[MAC_LEN];

	(void)state;
	assert_int_equal(neighbour_question_write(&q, packet, to), sizeof(request));
	assert_memory_equal(packet, request, sizeof(request));
	assert_memory_equal(to, "\xff\xff\xff\xff\xff\xff", MAC_LEN);
}

static void arp_replies_are_read(void **state)
{
	uint8_t padded[46] = {0};
	struct neighbour_answer a;

	(void)state;
	assert_true(neighbour_answer_read(AF_INET, arp_reply, sizeof(arp_reply), &a));
	assert_memory_equal(a.mac, their_mac, MAC_LEN);
	assert_memory_equal(a.target, "\x0a\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_memory_equal(a.asker, "\x0a\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	memcpy(padded, arp_reply, sizeof(arp_reply));
	assert_true(neighbour_answer_read(AF_INET, padded, sizeof(padded), &a));
}

static void other_arp_is_refused(void **state)
{
	/* byte, value: another link, protocol, lengths, a request, a group's and no address */
	static const uint8_t wrong[][2] = {{1, 6}, {2, 0x86}, {4, 8}, {5, 16},
	                                   {7, 1}, {7, 9},    {8, 3}};
	static const uint8_t no_mac[MAC_LEN];
	uint8_t packet[sizeof(arp_reply)];
	struct neighbour_answer a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		memcpy(packet, arp_reply, sizeof(packet));
		packet[wrong[i][0]] = wrong[i][1];
		assert_false(neighbour_answer_read(AF_INET, packet, sizeof(packet), &a));
	}
	memcpy(packet, arp_reply, sizeof(packet));
	memcpy(packet + 8, no_mac, MAC_LEN);
	assert_false(neighbour_answer_read(AF_INET, packet, sizeof(packet), &a));
	for (size_t n = 0; n < sizeof(arp_reply); n++)
		assert_false(neighbour_answer_read(AF_INET, arp_reply, n, &a));
}

/* A plain sum, of its own, to check the one in question. */
static unsigned sum_of(const uint8_t *packet, size_t icmp_bytes)
{
	unsigned long sum = icmp_bytes + 58;

	for (size_t i = 8; i < 40 + icmp_bytes; i += 2)
		sum += packet[i] * 256UL + packet[i + 1];
	while (sum > 0xffff)
		sum = sum % 0x10000 + sum / 0x10000;
	return (unsigned)sum;
}

static void a_solicitation_is_sound(void **state)
{
	struct neighbour_question q = {.family = AF_INET6,
	                               .source = {0xfd, 1, [15] = 1},
	                               .target = {0xfd, 1, [13] = 0xaa, 0xbb, 0xcc}};
	uint8_t packet[NEIGHBOUR_QUESTION_MAX], to[MAC_LEN];

	(void)state;
	memcpy(q.mac, our_mac, MAC_LEN);
	assert_int_equal(neighbour_question_write(&q, packet, to), 72);
	assert_memory_equal(packet, "\x60\0\0\0\0\x20\x3a\xff", 8);
	assert_memory_equal(packet + 8, q.source, 16);
	assert_memory_equal(packet + 24, "\xff\x02\0\0\0\0\0\0\0\0\0\x01\xff\xaa\xbb\xcc", 16);
	assert_int_equal(packet[40], 135);
	assert_memory_equal(packet + 48, q.target, 16);
	assert_memory_equal(packet + 64, "\x01\x01\x02\0\0\0\0\x01", 8);
	assert_int_equal(sum_of(packet, 32), 0xffff);
	assert_memory_equal(to, "\x33\x33\xff\xaa\xbb\xcc", MAC_LEN);
}

static void sign(uint8_t *packet, size_t icmp_bytes)
{
	unsigned sum;

	packet[42] = packet[43] = 0;
	sum = 0xffff - sum_of(packet, icmp_bytes);
	packet[42] = (uint8_t)(sum >> 8);
	packet[43] = (uint8_t)sum;
}

static void make_advertisement(uint8_t packet[72])
{
	memset(packet, 0, 72);
	packet[0] = 0x60;
	packet[5] = 32;
	packet[6] = 58;
	packet[7] = 255;
	packet[8] = packet[24] = packet[48] = 0xfd;
	packet[23] = packet[63] = 2;
	packet[39] = 1;
	packet[40] = 136;
	packet[44] = 0x60; /* solicited, override */
	packet[64] = 2;
	packet[65] = 1;
	memcpy(packet + 66, their_mac, MAC_LEN);
	sign(packet, 32);
}

static void advertisements_are_read(void **state)
{
	uint8_t packet[72];
	struct neighbour_answer a;

	(void)state;
	make_advertisement(packet);
	assert_true(neighbour_answer_read(AF_INET6, packet, sizeof(packet), &a));
	assert_memory_equal(a.mac, their_mac, MAC_LEN);
	assert_memory_equal(a.target, packet + 48, 16);
	assert_memory_equal(a.asker, packet + 24, 16);
}

static void other_advertisements_are_refused(void **state)
{
	/*
	 * version, length, next header, routed, to a group, type, code, not asked for, of a group,
	 * no such option, an option of no length, one that is too long, a group's link address
	 */
	static const uint8_t wrong[][2] = {{0, 0x40}, {5, 40}, {6, 17},  {7, 254},   {24, 0xff},
	                                   {40, 135}, {41, 1}, {44, 32}, {48, 0xff}, {64, 1},
	                                   {65, 0},   {65, 2}, {66, 3}};
	struct neighbour_answer a;
	uint8_t packet[72];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		make_advertisement(packet);
		packet[wrong[i][0]] = wrong[i][1];
		sign(packet, 32);
		assert_false(neighbour_answer_read(AF_INET6, packet, sizeof(packet), &a));
	}
	make_advertisement(packet);
	packet[42] ^= 1; /* the checksum */
	assert_false(neighbour_answer_read(AF_INET6, packet, sizeof(packet), &a));
	make_advertisement(packet);
	for (size_t n = 0; n < sizeof(packet); n++)
		assert_false(neighbour_answer_read(AF_INET6, packet, n, &a));
}

/* The table */

struct fixture {
	struct neighbours *table;
	unsigned asked;
	bool deaf; /* nothing can be sent */
	uint32_t last_asker;
};

static bool count(void *context, const struct neighbour_key *key, uint32_t asker)
{
	struct fixture *f = context;

	(void)key;
	f->last_asker = asker;
	f->asked += !f->deaf;
	return !f->deaf;
}

static int set_up(void **state)
{
	const struct siphash_key hash = {1, 2};
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return f ? neighbours_new(&hash, count, f, &f->table) : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	neighbours_free(f->table);
	free(f);
	return 0;
}

static struct neighbour_key host(unsigned n)
{
	return (struct neighbour_key){
	    .ifindex = 7,
	    .family = AF_INET,
	    .address = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

static int find(struct fixture *f, unsigned n, int64_t now_ns, const uint8_t **mac)
{
	const struct neighbour_use use = {.asker = n};
	const struct neighbour_key key = host(n);

	return neighbours_find(f->table, &key, &use, now_ns, mac);
}

static bool answer(struct fixture *f, unsigned n, int64_t now_ns)
{
	const struct neighbour_key key = host(n);

	return neighbours_answer(f->table, &key, their_mac, now_ns);
}

static void one_that_answers_is_asked_once(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mac = NULL;

	assert_int_equal(find(f, 5, 0, &mac), -EINPROGRESS);
	assert_int_equal(find(f, 5, 1, &mac), -EINPROGRESS);
	assert_int_equal(f->asked, 1);
	assert_int_equal(f->last_asker, 5);
	assert_true(answer(f, 5, 2));
	assert_false(answer(f, 5, 3)); /* nobody asked */
	assert_int_equal(find(f, 5, 3, &mac), 0);
	assert_memory_equal(mac, their_mac, MAC_LEN);
	neighbours_turn(f->table, 10 * SECOND);
	assert_int_equal(f->asked, 1);
	assert_int_equal(neighbours_asked(f->table), 0);
}

static void answers_to_nothing_are_left_out(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mac;
	struct neighbour_key key = host(5);

	assert_int_equal(find(f, 5, 0, &mac), -EINPROGRESS);
	key.ifindex = 8; /* another interface's */
	assert_false(neighbours_answer(f->table, &key, their_mac, 1));
	assert_false(answer(f, 6, 1));
	assert_int_equal(find(f, 5, 1, &mac), -EINPROGRESS);
	assert_int_equal(find(f, 6, 1, &mac), -EINPROGRESS);
}

static void a_silent_one_is_given_up_and_remembered(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mac;

	assert_int_equal(find(f, 5, 0, &mac), -EINPROGRESS);
	for (int64_t now = 0; now <= 3 * SECOND; now += SECOND / 10)
		neighbours_turn(f->table, now);
	assert_int_equal(f->asked, NEIGHBOUR_TRIES);
	assert_int_equal(find(f, 5, 3 * SECOND, &mac), -EHOSTUNREACH);
	assert_int_equal(neighbours_silent(f->table), 1);
	assert_int_equal(neighbours_asked(f->table), 0);
	/* not for ever */
	assert_int_equal(find(f, 5, 400 * SECOND, &mac), -EINPROGRESS);
	assert_int_equal(f->asked, NEIGHBOUR_TRIES + 1);
	assert_true(answer(f, 5, 401 * SECOND));
	assert_int_equal(find(f, 5, 401 * SECOND, &mac), 0);
}

static void a_gateway_is_asked_again_without_interruption(void **state)
{
	struct fixture *f = *state;
	static const uint8_t new_mac[MAC_LEN] = {2, 0, 0, 0, 0, 9};
	const struct neighbour_key key = host(1);
	uint32_t slot = UINT32_MAX;
	const struct neighbour_use use = {.asker = 1, .is_gateway = true, .slot = &slot};
	const uint8_t *mac;
	int64_t now;

	assert_int_equal(neighbours_find(f->table, &key, &use, 0, &mac), -EINPROGRESS);
	assert_true(answer(f, 1, 0));
	assert_int_equal(neighbours_find(f->table, &key, &use, 59 * SECOND, &mac), 0);
	assert_int_equal(f->asked, 1);
	assert_int_equal(neighbours_find(f->table, &key, &use, 61 * SECOND, &mac), 0);
	assert_int_equal(f->asked, 2);
	assert_memory_equal(mac, their_mac, MAC_LEN);
	assert_true(neighbours_answer(f->table, &key, new_mac, 61 * SECOND));
	assert_int_equal(neighbours_find(f->table, &key, &use, 61 * SECOND, &mac), 0);
	assert_memory_equal(mac, new_mac, MAC_LEN);

	/* one that has gone is given up after ten more */
	assert_int_equal(neighbours_find(f->table, &key, &use, 200 * SECOND, &mac), 0);
	for (now = 200 * SECOND; now < 208 * SECOND; now += SECOND / 10)
		neighbours_turn(f->table, now);
	assert_int_equal(neighbours_find(f->table, &key, &use, now, &mac), 0);
	for (; now < 212 * SECOND; now += SECOND / 10)
		neighbours_turn(f->table, now);
	assert_int_equal(neighbours_find(f->table, &key, &use, now, &mac), -EHOSTUNREACH);
	assert_int_equal(neighbours_find(f->table, &key, &use, now + 6 * SECOND, &mac),
	                 -EINPROGRESS);
}

static void what_the_kernel_knows_is_taken(void **state)
{
	struct fixture *f = *state;
	const struct neighbour_key fresh = host(1), stale = host(2), permanent = host(3);
	const uint8_t *mac;

	neighbours_put(f->table, &fresh, their_mac, false, 60 * SECOND);
	neighbours_put(f->table, &stale, their_mac, false, 0);
	neighbours_put(f->table, &permanent, their_mac, true, 0);
	assert_int_equal(find(f, 1, SECOND, &mac), 0);
	assert_int_equal(f->asked, 0);
	assert_int_equal(find(f, 2, SECOND, &mac), 0); /* and asks */
	assert_int_equal(f->asked, 1);
	assert_int_equal(find(f, 3, 1000 * SECOND, &mac), 0);
	assert_int_equal(f->asked, 1);
}

static void what_cannot_be_sent_is_sent_later(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mac;

	f->deaf = true;
	for (int i = 0; i < 100; i++)
		assert_int_equal(find(f, 5, i * SECOND, &mac), -EINPROGRESS);
	assert_int_equal(neighbours_asked(f->table), 0);
	f->deaf = false;
	assert_int_equal(find(f, 5, 100 * SECOND, &mac), -EINPROGRESS);
	assert_int_equal(f->asked, 1);
}

/* More than the table holds, all silent, and all in the end known as such or asked again. */
static void it_is_bounded(void **state)
{
	enum { HOSTS = 2 * NEIGHBOUR_SLOTS };
	struct fixture *f = *state;
	const struct neighbour_key gateway = host(0xfffff);
	const struct neighbour_use use = {.is_gateway = true};
	const uint8_t *mac;
	unsigned done = 0;
	int64_t now = 0;

	neighbours_find(f->table, &gateway, &use, now, &mac);
	assert_true(neighbours_answer(f->table, &gateway, their_mac, now));
	for (unsigned first = 0; first < HOSTS; first += NEIGHBOUR_ASKED_MAX / 2) {
		for (unsigned i = 0; i < NEIGHBOUR_ASKED_MAX / 2; i++)
			assert_int_equal(find(f, first + i, now, &mac), -EINPROGRESS);
		assert_in_range(neighbours_asked(f->table), NEIGHBOUR_ASKED_MAX / 2 - 16,
		                NEIGHBOUR_ASKED_MAX / 2);
		for (int turn = 0; turn < 30; turn++)
			neighbours_turn(f->table, now += SECOND / 10);
		assert_int_equal(neighbours_asked(f->table), 0);
		for (unsigned i = 0; i < NEIGHBOUR_ASKED_MAX / 2; i++)
			done += find(f, first + i, now, &mac) == -EHOSTUNREACH;
		neighbours_turn(f->table, now);
	}
	assert_in_range(done, HOSTS - HOSTS / 100, HOSTS);
	/* hosts cannot push it out */
	assert_int_equal(neighbours_find(f->table, &gateway, &use, now, &mac), 0);
}

static void too_many_at_once_wait(void **state)
{
	struct fixture *f = *state;
	const uint8_t *mac;

	for (unsigned i = 0; i < 2 * NEIGHBOUR_ASKED_MAX; i++)
		assert_int_equal(find(f, i, 0, &mac), -EINPROGRESS);
	assert_int_equal(f->asked, NEIGHBOUR_ASKED_MAX);
	assert_int_equal(neighbours_asked(f->table), NEIGHBOUR_ASKED_MAX);
	/* in any order */
	for (unsigned i = 0; i < NEIGHBOUR_ASKED_MAX; i += 2)
		assert_true(answer(f, i, 1));
	for (unsigned i = NEIGHBOUR_ASKED_MAX; i-- > 0;)
		assert_true(answer(f, i, 1) == (i % 2 == 1));
	assert_int_equal(neighbours_asked(f->table), 0);
}

/* Segments */

static void cut(struct segments *s, const char *text)
{
	char address[64];
	const char *slash = strchr(text, '/');
	struct endpoint e;

	snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	assert_int_equal(endpoint_parse_address(address, &e), 0);
	assert_int_equal(segments_cut(s, e.address, (unsigned)atoi(slash + 1)), 0);
}

static uint32_t *at(struct segments *s, const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse_address(text, &e), 0);
	return segments_at(s, e.address);
}

static void segments_end_where_prefixes_do(void **state)
{
	struct segments s = {0};

	(void)state;
	cut(&s, "10.0.0.0/8");
	cut(&s, "10.1.2.0/24");
	cut(&s, "10.1.2.9/32");
	cut(&s, "255.255.255.255/32");
	cut(&s, "0.0.0.0/0");
	assert_int_equal(segments_seal(&s), 0);
	assert_ptr_equal(at(&s, "0.0.0.0"), at(&s, "9.255.255.255"));
	assert_ptr_not_equal(at(&s, "9.255.255.255"), at(&s, "10.0.0.0"));
	assert_ptr_not_equal(at(&s, "10.1.1.255"), at(&s, "10.1.2.0"));
	assert_ptr_equal(at(&s, "10.1.2.0"), at(&s, "10.1.2.8"));
	assert_ptr_not_equal(at(&s, "10.1.2.8"), at(&s, "10.1.2.9"));
	assert_ptr_not_equal(at(&s, "10.1.2.9"), at(&s, "10.1.2.10"));
	assert_ptr_not_equal(at(&s, "10.1.2.255"), at(&s, "10.1.3.0"));
	assert_ptr_equal(at(&s, "10.1.3.0"), at(&s, "10.255.255.255"));
	assert_ptr_not_equal(at(&s, "10.255.255.255"), at(&s, "11.0.0.0"));
	assert_ptr_not_equal(at(&s, "255.255.255.254"), at(&s, "255.255.255.255"));
	segments_fini(&s);
}

static void segments_of_ipv6(void **state)
{
	struct segments s = {0};

	(void)state;
	cut(&s, "fd00::/64");
	cut(&s, "fd00::ffff:ffff:ffff:ffff/128");
	cut(&s, "fd00:0:0:1::/65");
	cut(&s, "ffff::/16");
	assert_int_equal(segments_seal(&s), 0);
	assert_ptr_equal(at(&s, "fd00::"), at(&s, "fd00::ffff:ffff:ffff:fffe"));
	assert_ptr_not_equal(at(&s, "fd00::"), at(&s, "fd00::ffff:ffff:ffff:ffff"));
	assert_ptr_not_equal(at(&s, "fd00::ffff:ffff:ffff:ffff"), at(&s, "fd00:0:0:1::"));
	assert_ptr_equal(at(&s, "fd00:0:0:1::"), at(&s, "fd00:0:0:1:7fff::"));
	assert_ptr_not_equal(at(&s, "fd00:0:0:1:7fff::"), at(&s, "fd00:0:0:1:8000::"));
	assert_ptr_equal(at(&s, "fd00:0:0:1:8000::"), at(&s, "fffe::"));
	segments_fini(&s);
}

static void segments_of_many_and_doubled_prefixes(void **state)
{
	struct segments s = {0};
	uint8_t address[16] = {0};

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 10000; i++) {
			address[0] = (uint8_t)(i >> 8);
			address[1] = (uint8_t)i;
			assert_int_equal(segments_cut(&s, address, 16), 0);
		}
	}
	assert_int_equal(segments_seal(&s), 0);
	assert_int_equal(s.count, 10001);
	assert_true(s.capacity <= 32768);
	*at(&s, "1.2.3.4") = 7;
	assert_int_equal(*at(&s, "1.2.255.255"), 7);
	assert_int_equal(*at(&s, "1.3.0.0"), 0);
	segments_fini(&s);
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arp_asks_for_the_address),
	    cmocka_unit_test(arp_replies_are_read),
	    cmocka_unit_test(other_arp_is_refused),
	    cmocka_unit_test(a_solicitation_is_sound),
	    cmocka_unit_test(advertisements_are_read),
	    cmocka_unit_test(other_advertisements_are_refused),
	    WITH_TABLE(one_that_answers_is_asked_once),
	    WITH_TABLE(answers_to_nothing_are_left_out),
	    WITH_TABLE(a_silent_one_is_given_up_and_remembered),
	    WITH_TABLE(a_gateway_is_asked_again_without_interruption),
	    WITH_TABLE(what_the_kernel_knows_is_taken),
	    WITH_TABLE(what_cannot_be_sent_is_sent_later),
	    WITH_TABLE(it_is_bounded),
	    WITH_TABLE(too_many_at_once_wait),
	    cmocka_unit_test(segments_end_where_prefixes_do),
	    cmocka_unit_test(segments_of_ipv6),
	    cmocka_unit_test(segments_of_many_and_doubled_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
