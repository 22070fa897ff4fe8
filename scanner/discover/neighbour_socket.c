/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/neighbour_socket.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	ANSWER_BYTES = 1536,
	ANSWERS_AT_ONCE = 512,
	RECEIVE_BYTES = 1 << 20, /* the kernel gives what net.core.rmem_max allows */
};

/*
 * What else comes to this host need not wake us. Loads of packet type and of bytes from the
 * network header on: SOCK_DGRAM.
 */
static struct sock_filter arp_replies[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 3),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPOP_REPLY, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, ANSWER_BYTES),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

static struct sock_filter advertisements[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, ANSWER_BYTES),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

void neighbour_socket_init(struct neighbour_socket *s)
{
	*s = (struct neighbour_socket){.arp = -1, .ndp = -1, .epoll = -1};
}

void neighbour_socket_close(struct neighbour_socket *s)
{
	cleanup_close(&s->arp);
	cleanup_close(&s->ndp);
	cleanup_close(&s->epoll);
	neighbour_socket_init(s);
}

/* Bound after its filter is in force, and that is for ever: nothing else comes in. */
static int open_one(int epoll, unsigned protocol, const struct sock_fprog *filter)
{
	const struct sockaddr_ll all = {.sll_family = AF_PACKET,
	                                .sll_protocol = htons((uint16_t)protocol)};
	const int bytes = RECEIVE_BYTES, on = 1;
	struct epoll_event event = {.events = EPOLLIN};
	auto_close int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof(*filter)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0 ||
	    bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return steal_fd(&fd);
}

int neighbour_socket_open(struct neighbour_socket *s)
{
	const struct sock_fprog arp = {.len = ARRAY_LEN(arp_replies), .filter = arp_replies};
	const struct sock_fprog ndp = {.len = ARRAY_LEN(advertisements), .filter = advertisements};

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return -errno;
	s->arp = open_one(s->epoll, ETHERTYPE_ARP, &arp);
	if (s->arp < 0)
		return s->arp;
	s->ndp = open_one(s->epoll, ETHERTYPE_IPV6, &ndp);
	return s->ndp < 0 ? s->ndp : 0;
}

void neighbour_socket_ask(const struct neighbour_socket *s, unsigned index,
                          const struct neighbour_question *q)
{
	bool is_arp = q->family == AF_INET;
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
	                         .sll_protocol = htons(is_arp ? ETHERTYPE_ARP : ETHERTYPE_IPV6),
	                         .sll_ifindex = (int)index,
	                         .sll_halen = MAC_LEN};
	uint8_t packet[NEIGHBOUR_QUESTION_MAX];
	size_t length = neighbour_question_write(q, packet, to.sll_addr);

	sendto(is_arp ? s->arp : s->ndp, packet, length, MSG_DONTWAIT, (const struct sockaddr *)&to,
	       sizeof(to));
}

static void receive(int fd, sa_family_t family, neighbour_answer_fn *fn, void *context)
{
	for (unsigned i = 0; i < ANSWERS_AT_ONCE; i++) {
		struct neighbour_answer answer;
		struct sockaddr_ll from = {0};
		socklen_t from_length = sizeof(from);
		uint8_t packet[ANSWER_BYTES];
		ssize_t got = recvfrom(fd, packet, sizeof(packet), MSG_DONTWAIT,
		                       (struct sockaddr *)&from, &from_length);

		/* an interface that goes down is an error once */
		if (got < 0 && (errno == EINTR || errno == ENETDOWN))
			continue;
		if (got < 0)
			return;
		if (neighbour_answer_read(family, packet, (size_t)got, &answer))
			fn(context, (unsigned)from.sll_ifindex, &answer);
	}
}

void neighbour_socket_receive(const struct neighbour_socket *s, neighbour_answer_fn *fn,
                              void *context)
{
	receive(s->arp, AF_INET, fn, context);
	receive(s->ndp, AF_INET6, fn, context);
}
