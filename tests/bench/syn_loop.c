/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The yardstick of the bench: what a bare loop of SYNs on raw sockets does here, one thread,
 * sendmmsg and recvmmsg, no retransmission, no pacing, nothing validated beyond ports and ack.
 *
 *	syn_loop SOURCE_IP CIDR PORTS... [--packets N]
 *
 * Every endpoint is asked once (or N packets are sent, going round), IPv4 only. One line: packets,
 * endpoints open and closed, seconds to the last packet sent or answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	PORTS_MAX = 256,
	ANSWER_BYTES = 128,
	SOURCE_PORT = 61000,
	SEQUENCE = 0x70777761,
	QUIET_NS = 100 * 1000000, /* after the last answer, nothing more is awaited */
	RECEIVE_BYTES = 8 << 20,
};

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct loop {
	struct in_addr source;
	uint32_t network, hosts; /* host byte order */
	uint16_t ports[PORTS_MAX];
	uint32_t n_ports;
	uint64_t endpoints, packets, stride;
	int sender, receiver;
	uint8_t *answered; /* a byte each */
	uint64_t open, closed;
	struct packet out[BATCH];
	struct sockaddr_in to[BATCH];
	struct iovec out_vectors[BATCH];
	struct mmsghdr out_messages[BATCH];
	uint8_t in[BATCH][ANSWER_BYTES];
	struct iovec in_vectors[BATCH];
	struct mmsghdr in_messages[BATCH];
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static uint16_t checksum(uint64_t sum, const void *data, size_t length)
{
	const uint8_t *at = data;

	for (; length >= 2; at += 2, length -= 2) {
		uint16_t word;

		memcpy(&word, at, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint64_t words(uint32_t address)
{
	return (address & 0xffff) + (address >> 16);
}

static void build(struct loop *l, unsigned i, uint64_t number)
{
	uint64_t index = (number % l->endpoints) * l->stride % l->endpoints;
	uint32_t to = htonl(l->network + (uint32_t)(index / l->n_ports));
	struct packet *p = &l->out[i];

	*p = (struct packet){
	    .ip = {.version = 4,
	           .ihl = 5,
	           .tot_len = htons(sizeof(*p)),
	           .frag_off = htons(IP_DF),
	           .ttl = 64,
	           .protocol = IPPROTO_TCP,
	           .saddr = l->source.s_addr,
	           .daddr = to},
	};
	p->tcp.th_sport = htons(SOURCE_PORT);
	p->tcp.th_dport = htons(l->ports[index % l->n_ports]);
	p->tcp.th_seq = htonl(SEQUENCE);
	p->tcp.th_off = 5;
	p->tcp.th_flags = TH_SYN;
	p->tcp.th_win = htons(64240);
	p->tcp.th_sum = checksum(words(p->ip.saddr) + words(to) + htons(IPPROTO_TCP) +
	                             (uint64_t)htons(sizeof(p->tcp)),
	                         &p->tcp, sizeof(p->tcp));
	l->to[i].sin_family = AF_INET;
	l->to[i].sin_addr.s_addr = to;
}

static void take(struct loop *l, const uint8_t *data, size_t length)
{
	struct packet p;
	uint32_t host, port = 0;
	uint64_t index;

	if (length < sizeof(p))
		return;
	memcpy(&p, data, sizeof(p));
	host = ntohl(p.ip.saddr) - l->network;
	if (p.ip.ihl != 5 || p.tcp.th_dport != htons(SOURCE_PORT) || host >= l->hosts ||
	    ntohl(p.tcp.th_ack) != SEQUENCE + 1U)
		return;
	while (port < l->n_ports && l->ports[port] != ntohs(p.tcp.th_sport))
		port++;
	index = (uint64_t)host * l->n_ports + port;
	if (port == l->n_ports || l->answered[index])
		return;
	l->answered[index] = 1;
	if (p.tcp.th_flags & TH_RST)
		l->closed++;
	else
		l->open++;
}

/* Returns how many came. */
static int receive(struct loop *l)
{
	int n = recvmmsg(l->receiver, l->in_messages, BATCH, MSG_DONTWAIT, NULL);

	for (int i = 0; i < n; i++)
		take(l, l->in[i], l->in_messages[i].msg_len);
	return n > 0 ? n : 0;
}

static void send_batch(struct loop *l, uint64_t first, unsigned count)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < count; i++)
		build(l, i, first + i);
	while (sent < count) {
		int n = sendmmsg(l->sender, l->out_messages + sent, count - sent, 0);

		if (n > 0)
			sent += (unsigned)n;
		else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			sent++;
	}
}

static double run(struct loop *l)
{
	int64_t start = now_ns(), last;

	for (uint64_t n = 0; n < l->packets; n += BATCH) {
		send_batch(l, n, l->packets - n < BATCH ? (unsigned)(l->packets - n) : BATCH);
		while (receive(l) == BATCH)
			;
	}
	last = now_ns();
	while (now_ns() - last < QUIET_NS) {
		if (receive(l) > 0)
			last = now_ns();
	}
	return (double)(last - start) / 1e9;
}

static bool open_sockets(struct loop *l)
{
	int bytes = RECEIVE_BYTES;

	l->sender = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	l->receiver = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
	if (l->sender < 0 || l->receiver < 0)
		return false;
	if (setsockopt(l->receiver, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(l->receiver, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	for (unsigned i = 0; i < BATCH; i++) {
		l->out_vectors[i] = (struct iovec){&l->out[i], sizeof(l->out[i])};
		l->out_messages[i].msg_hdr = (struct msghdr){.msg_name = &l->to[i],
		                                             .msg_namelen = sizeof(l->to[i]),
		                                             .msg_iov = &l->out_vectors[i],
		                                             .msg_iovlen = 1};
		l->in_vectors[i] = (struct iovec){l->in[i], ANSWER_BYTES};
		l->in_messages[i].msg_hdr =
		    (struct msghdr){.msg_iov = &l->in_vectors[i], .msg_iovlen = 1};
	}
	return true;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	return b ? greatest_divisor(b, a % b) : a;
}

/* Hosts and ports in no order that a queue would like: a step that meets them all. */
static uint64_t find_stride(uint64_t endpoints)
{
	uint64_t stride = endpoints * 618 / 1000 | 1;

	while (greatest_divisor(stride, endpoints) != 1)
		stride += 2;
	return stride;
}

static bool read_network(struct loop *l, const char *text)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	struct in_addr in;
	int bits = slash ? atoi(slash + 1) : 32;
	size_t length = slash ? (size_t)(slash - text) : strlen(text);

	if (bits < 8 || bits > 32 || length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, &in) != 1)
		return false;
	l->hosts = UINT32_C(1) << (32 - bits);
	l->network = ntohl(in.s_addr) & ~(l->hosts - 1);
	return true;
}

static bool read_arguments(struct loop *l, int argc, char **argv)
{
	if (argc < 4 || inet_pton(AF_INET, argv[1], &l->source) != 1 || !read_network(l, argv[2]))
		return false;
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--packets") == 0 && i + 1 < argc) {
			l->packets = strtoull(argv[++i], NULL, 10);
		} else if (l->n_ports < PORTS_MAX && atoi(argv[i]) > 0 && atoi(argv[i]) <= 65535) {
			l->ports[l->n_ports++] = (uint16_t)atoi(argv[i]);
		} else {
			return false;
		}
	}
	l->endpoints = (uint64_t)l->hosts * l->n_ports;
	if (l->packets == 0)
		l->packets = l->endpoints;
	return l->n_ports > 0;
}

int main(int argc, char **argv)
{
	static struct loop l;
	double seconds;

	if (!read_arguments(&l, argc, argv)) {
		fprintf(stderr, "usage: syn_loop SOURCE_IP CIDR PORTS... [--packets N]\n");
		return 2;
	}
	l.stride = find_stride(l.endpoints);
	l.answered = calloc(l.endpoints, 1);
	if (!l.answered || !open_sockets(&l)) {
		perror("syn_loop");
		return 3;
	}
	seconds = run(&l);
	printf("packets %llu open %llu closed %llu seconds %.3f\n", (unsigned long long)l.packets,
	       (unsigned long long)l.open, (unsigned long long)l.closed, seconds);
	free(l.answered);
	return 0;
}
