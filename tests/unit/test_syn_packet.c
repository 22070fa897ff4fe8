/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYNs as bytes, what is taken for an answer, and what the kernel's filter lets through. */
#include "scanner/discover/syn_filter.h"
#include "scanner/discover/syn_packet.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct syn_identity identity = {.key = {1, 2}, .first_port = 40000};

struct packet {
	uint8_t bytes[256];
	size_t length;
};

static struct endpoint endpoint(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

static struct endpoint source_of(const struct endpoint *to)
{
	return endpoint(to->family == AF_INET ? "192.0.2.1:1" : "[2001:db8::1]:1");
}

static uint32_t sum(const uint8_t *at, size_t length)
{
	uint32_t total = 0;

	for (size_t i = 0; i < length; i++)
		total += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return total;
}

static uint16_t fold(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

static size_t header_len(const struct packet *p)
{
	return p->bytes[0] >> 4 == 4 ? 20 : 40;
}

/* Over pseudo header and payload; 0: right. */
static uint16_t transport_sum(const struct packet *p, uint8_t protocol, bool pseudo)
{
	size_t header = header_len(p), addresses = header == 20 ? 8 : 32;
	size_t length = p->length - header;
	uint32_t total = sum(p->bytes + header, length);

	if (pseudo)
		total +=
		    sum(p->bytes + header - addresses, addresses) + (uint32_t)length + protocol;
	return fold(total);
}

static void put_16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Lengths and checksums as they should be. */
static void finish(struct packet *p, uint8_t protocol, size_t checksum_at, bool pseudo)
{
	size_t header = header_len(p);

	if (header == 20) {
		put_16(p->bytes + 2, (uint16_t)p->length);
		p->bytes[9] = protocol;
		put_16(p->bytes + 10, 0);
		put_16(p->bytes + 10, fold(sum(p->bytes, 20)));
	} else {
		put_16(p->bytes + 4, (uint16_t)(p->length - 40));
		p->bytes[6] = protocol;
	}
	put_16(p->bytes + header + checksum_at, 0);
	put_16(p->bytes + header + checksum_at, transport_sum(p, protocol, pseudo));
}

static struct packet syn(const char *to, unsigned attempt)
{
	struct endpoint e = endpoint(to), from = source_of(&e);
	struct packet p = {0};

	p.length = syn_packet_build(&identity, &from, &e, attempt, 1500, p.bytes);
	return p;
}

static void swap_addresses(struct packet *p)
{
	size_t header = header_len(p), address = header == 20 ? 4 : 16;
	uint8_t *from = p->bytes + header - 2 * address, kept[16];

	memcpy(kept, from, address);
	memcpy(from, from + address, address);
	memcpy(from + address, kept, address);
}

static struct packet answer(const char *to, unsigned attempt, uint8_t flags)
{
	struct packet p = syn(to, attempt);
	uint8_t *tcp = p.bytes + header_len(&p), ports[4];
	uint32_t number;

	swap_addresses(&p);
	memcpy(ports, tcp, 4);
	memcpy(tcp, ports + 2, 2);
	memcpy(tcp + 2, ports, 2);
	memcpy(&number, tcp + 4, 4);
	number = htonl(ntohl(number) + 1);
	memcpy(tcp + 8, &number, 4);
	memset(tcp + 4, 0x55, 4);
	tcp[13] = flags;
	finish(&p, IPPROTO_TCP, 16, true);
	return p;
}

/* From a router on the way. */
static struct packet error(const char *to, unsigned attempt, uint8_t type, uint8_t code)
{
	struct packet quoted = syn(to, attempt), p = {0};
	size_t header = header_len(&quoted), address = header == 20 ? 4 : 16;

	memcpy(p.bytes, quoted.bytes, header);
	swap_addresses(&p);
	p.bytes[header - 2 * address + address - 1] ^= 0x80; /* the router's own address */
	p.bytes[header] = type;
	p.bytes[header + 1] = code;
	memcpy(p.bytes + header + 8, quoted.bytes, quoted.length);
	p.length = header + 8 + quoted.length;
	finish(&p, header == 20 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 2, header == 40);
	return p;
}

static enum syn_answer_kind parse(const struct packet *p, struct syn_answer *out)
{
	return syn_packet_parse(&identity, p->bytes, p->length, false, out);
}

static const char *const targets[] = {"198.51.100.7:6060", "[2001:db8:7::9]:9100"};

static void test_builds_a_syn(void **state)
{
	struct packet p = syn(targets[0], 3);

	(void)state;
	assert_int_equal(p.length, 44);
	assert_int_equal(fold(sum(p.bytes, 20)), 0);
	assert_int_equal(transport_sum(&p, IPPROTO_TCP, true), 0);
	assert_int_equal(p.bytes[8], 64);
	assert_int_equal(p.bytes[6], 0x40);
	assert_int_equal(p.bytes[20] << 8 | p.bytes[21], 40003);
	assert_int_equal(p.bytes[33], TH_SYN);
	assert_int_equal(p.bytes[42] << 8 | p.bytes[43], 1460);
	p = syn(targets[1], 0);
	assert_int_equal(p.length, 64);
	assert_int_equal(transport_sum(&p, IPPROTO_TCP, true), 0);
	assert_int_equal(p.bytes[62] << 8 | p.bytes[63], 1440);
}

static void test_sequence_numbers_differ(void **state)
{
	struct packet a = syn(targets[0], 0), b = syn(targets[0], 1),
	              c = syn("198.51.100.8:6060", 0);

	(void)state;
	assert_memory_not_equal(a.bytes + 24, b.bytes + 24, 4);
	assert_memory_not_equal(a.bytes + 24, c.bytes + 24, 4);
}

static void test_takes_answers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct endpoint to = endpoint(targets[i]);

		for (unsigned attempt = 0; attempt < SYN_PORTS; attempt++) {
			struct packet open = answer(targets[i], attempt, TH_SYN | TH_ACK);
			struct packet closed = answer(targets[i], attempt, TH_RST | TH_ACK);
			struct syn_answer a;

			assert_int_equal(parse(&open, &a), SYN_ANSWER_OPEN);
			assert_int_equal(endpoint_compare(&a.endpoint, &to), 0);
			assert_int_equal(a.attempt, attempt);
			assert_int_equal(parse(&closed, &a), SYN_ANSWER_CLOSED);
			assert_int_equal(endpoint_compare(&a.endpoint, &to), 0);
		}
	}
}

static void test_takes_errors(void **state)
{
	static const struct {
		unsigned target;
		uint8_t type, code;
		enum syn_answer_kind kind;
	} cases[] = {
	    {0, 3, 1, SYN_ANSWER_UNREACHABLE},  {0, 3, 13, SYN_ANSWER_UNREACHABLE},
	    {0, 11, 0, SYN_ANSWER_UNREACHABLE}, {0, 3, 4, SYN_ANSWER_NONE},
	    {0, 5, 0, SYN_ANSWER_NONE},         {0, 11, 1, SYN_ANSWER_NONE},
	    {1, 1, 1, SYN_ANSWER_UNREACHABLE},  {1, 3, 0, SYN_ANSWER_UNREACHABLE},
	    {1, 2, 0, SYN_ANSWER_NONE},         {1, 3, 1, SYN_ANSWER_NONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct endpoint to = endpoint(targets[cases[i].target]);
		struct packet p = error(targets[cases[i].target], 2, cases[i].type, cases[i].code);
		struct syn_answer a = {0};

		assert_int_equal(parse(&p, &a), cases[i].kind);
		if (cases[i].kind == SYN_ANSWER_NONE)
			continue;
		assert_int_equal(endpoint_compare(&a.endpoint, &to), 0);
		assert_int_equal(a.attempt, 2);
	}
}

/* A bit anywhere that matters makes it no answer; the kernel's word does not change that. */
static void test_refuses_what_nobody_sent(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct packet good = answer(targets[i], 0, TH_SYN | TH_ACK), p;
		size_t header = header_len(&good);
		struct syn_answer a;

		for (size_t bit = 0; bit < 8 * good.length; bit++) {
			p = good;
			p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			/* Class and flow label of IPv6, and its hop limit, are in no checksum. */
			if (header == 40 && ((bit < 32 && (bit < 4 || bit > 7)) || bit / 8 == 7))
				continue;
			assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
		}
		for (size_t bit = 64; bit < 96; bit++) { /* the cookie, with a right checksum */
			p = good;
			p.bytes[header + bit / 8] ^= (uint8_t)(1 << bit % 8);
			finish(&p, IPPROTO_TCP, 16, true);
			assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
			assert_int_equal(syn_packet_parse(&identity, p.bytes, p.length, true, &a),
			                 SYN_ANSWER_NONE);
		}
		for (size_t length = 0; length < header + 20; length++)
			assert_int_equal(syn_packet_parse(&identity, good.bytes, length, true, &a),
			                 SYN_ANSWER_NONE);
	}
}

static void test_refuses_other_flags_and_fragments(void **state)
{
	static const uint8_t flags[] = {
	    0, TH_SYN, TH_ACK, TH_RST, TH_SYN | TH_RST | TH_ACK, TH_SYN | TH_FIN | TH_ACK};
	struct packet p;
	struct syn_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof(flags); i++) {
		p = answer(targets[0], 0, flags[i]);
		assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
	}
	p = answer(targets[0], 0, TH_SYN | TH_ACK);
	p.bytes[6] = 0x20;
	finish(&p, IPPROTO_TCP, 16, true);
	assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
}

static void test_refuses_an_error_about_another(void **state)
{
	struct packet p = error(targets[0], 0, 3, 1);
	struct syn_answer a;

	(void)state;
	p.bytes[20 + 8 + 12] ^= 1; /* it quotes another source than the one it was sent to */
	finish(&p, IPPROTO_ICMP, 2, false);
	assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
	p = error(targets[0], 0, 3, 1);
	p.bytes[20 + 8 + 20 + 4] ^= 1; /* and another sequence number */
	finish(&p, IPPROTO_ICMP, 2, false);
	assert_int_equal(parse(&p, &a), SYN_ANSWER_NONE);
}

/* The kernel's own interpreter runs it, but on a socket without Ethernet's protocol numbers. */
static void test_the_kernel_accepts_the_filter(void **state)
{
	struct sock_filter lines[SYN_FILTER_MAX];
	struct sock_fprog program = {.len = syn_filter_build(40000, lines), .filter = lines};
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_true(sock >= 0);
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
	                 0);
	close(sock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_builds_a_syn),
	    cmocka_unit_test(test_sequence_numbers_differ),
	    cmocka_unit_test(test_takes_answers),
	    cmocka_unit_test(test_takes_errors),
	    cmocka_unit_test(test_refuses_what_nobody_sent),
	    cmocka_unit_test(test_refuses_other_flags_and_fragments),
	    cmocka_unit_test(test_refuses_an_error_about_another),
	    cmocka_unit_test(test_the_kernel_accepts_the_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
