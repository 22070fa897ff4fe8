/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_socket.h"

#include "common/cleanup.h"
#include "scanner/discover/syn_filter.h"
#include "scanner/discover/syn_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/*
 * The ring's slots are of one size (TPACKET_V2): an answer can be read as soon as it is there.
 * Blocks of several (TPACKET_V3) are handed over when they are full or a timer's tick has passed.
 */
enum {
	RING_BYTES = 2 << 20,
	RING_BLOCK_BYTES = 1 << 16,
	RING_SLOT_BYTES = 256,
	RING_SLOTS = RING_BYTES / RING_SLOT_BYTES,
	PORT_TRIES = 256,
	PORT_MIN = 20000, /* where the first of them is looked for */
	PORT_RANGE = 40000,
};
/* TPACKET_ALIGN() without its mixed signs. */
#define ALIGNED(n) (((n) + 15) / 16 * 16)
_Static_assert(ALIGNED(sizeof(struct tpacket2_hdr) + sizeof(struct sockaddr_ll)) + 16 +
                       SYN_ANSWER_MAX <=
                   RING_SLOT_BYTES,
               "an answer fits");

enum way {
	WAY_BYPASS, /* past the queueing discipline */
	WAY_QUEUED,
	WAY_LOCAL_V4,
	WAY_LOCAL_V6,
	WAYS,
};

union address {
	struct sockaddr_ll link;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct syn_socket {
	struct syn_identity identity;
	struct syn_links links;
	int ports[SYN_PORTS];
	int senders[WAYS];
	int receiver;

	uint8_t *ring;
	unsigned slot; /* the next one */

	/* What waits is [first, count) */
	enum way way;
	unsigned first, count;
	struct mmsghdr messages[SYN_BATCH];
	struct iovec vectors[SYN_BATCH];
	union address addresses[SYN_BATCH];
	uint8_t packets[SYN_BATCH][SYN_PACKET_MAX];
};

const struct syn_identity *syn_socket_identity(const struct syn_socket *s)
{
	return &s->identity;
}

void syn_socket_free(struct syn_socket *s)
{
	if (!s)
		return;
	if (s->ring)
		munmap(s->ring, RING_BYTES);
	for (size_t i = 0; i < SYN_PORTS; i++)
		cleanup_close(&s->ports[i]);
	for (size_t i = 0; i < WAYS; i++)
		cleanup_close(&s->senders[i]);
	cleanup_close(&s->receiver);
	free(s);
}

AUTO_CLEANUP(syn_socket, struct syn_socket *, syn_socket_free)
#define auto_syn_socket __attribute__((cleanup(cleanup_syn_socket)))

/* Opening */

/* For both families where there are both. */
static int bind_port(uint16_t port)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	auto_close int sock = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int off = 0;

	if (sock >= 0 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0 &&
	    bind(sock, (struct sockaddr *)&v6, sizeof(v6)) == 0)
		return steal_fd(&sock);
	if (sock >= 0 && errno == EADDRINUSE)
		return -EADDRINUSE;
	cleanup_close(&sock);
	sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&v4, sizeof(v4)) < 0)
		return -errno;
	return steal_fd(&sock);
}

static int bind_run(struct syn_socket *s, uint16_t first_port)
{
	for (unsigned i = 0; i < SYN_PORTS; i++) {
		s->ports[i] = bind_port((uint16_t)(first_port + i));
		if (s->ports[i] >= 0)
			continue;
		for (unsigned k = 0; k < i; k++) {
			close(s->ports[k]);
			s->ports[k] = -1;
		}
		return steal_fd(&s->ports[i]);
	}
	s->identity.first_port = first_port;
	return 0;
}

/* No privileged port, and away from the end: a run of SYN_PORTS fits behind each. */
static int bind_ports(struct syn_socket *s)
{
	int err = -EADDRINUSE;

	for (int i = 0; i < PORT_TRIES && err == -EADDRINUSE; i++) {
		uint16_t random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return -errno;
		err = bind_run(s, (uint16_t)(PORT_MIN + random % PORT_RANGE));
	}
	return err;
}

/* Locked, it is not changed by anybody, who may have taken this process over, either. */
static int lock_filter(int sock, const struct sock_fprog *program)
{
	int on = 1;

	if (setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static int refuse_all(int sock)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = {.len = 1, .filter = &nothing};

	return lock_filter(sock, &program);
}

static int open_packet(int *sock)
{
	/* Protocol 0: it receives nothing, unless it is bound to another. */
	*sock = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *sock < 0 ? -errno : 0;
}

/* Binding it anew takes no privilege, and would let it read whatever this host receives. */
static int open_sender(int *sock)
{
	int err = open_packet(sock);

	return err ? err : refuse_all(*sock);
}

static int open_local(int family, int *sock)
{
	*sock = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (*sock < 0)
		return errno == EAFNOSUPPORT ? 0 : -errno;
	return refuse_all(*sock);
}

static int open_senders(struct syn_socket *s)
{
	int on = 1;
	int err = open_sender(&s->senders[WAY_BYPASS]);

	if (!err)
		err = open_sender(&s->senders[WAY_QUEUED]);
	if (!err)
		err = open_local(AF_INET, &s->senders[WAY_LOCAL_V4]);
	if (!err)
		err = open_local(AF_INET6, &s->senders[WAY_LOCAL_V6]);
	if (err)
		return err;
	/* Without it, or without the list of interfaces, all go through the queues. */
	if (setsockopt(s->senders[WAY_BYPASS], SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) <
	        0 ||
	    syn_links_read(&s->links) < 0)
		s->links.count = 0;
	return 0;
}

/* The filter and the ring are there before the first packet can come. */
static int open_receiver(struct syn_socket *s)
{
	struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct sock_filter lines[SYN_FILTER_MAX];
	const struct sock_fprog program = {.len = syn_filter_build(s->identity.first_port, lines),
	                                   .filter = lines};
	struct tpacket_req ring = {
	    .tp_block_size = RING_BLOCK_BYTES,
	    .tp_block_nr = RING_BYTES / RING_BLOCK_BYTES,
	    .tp_frame_size = RING_SLOT_BYTES,
	    .tp_frame_nr = RING_SLOTS,
	};
	int version = TPACKET_V2, on = 1;
	void *at;
	int err = open_packet(&s->receiver);

	if (!err)
		err = lock_filter(s->receiver, &program);
	if (err)
		return err;
	if (setsockopt(s->receiver, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
	    setsockopt(s->receiver, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)) < 0)
		return -errno;
	/* Spares the filter a look at every packet of ours; kernels before 4.20 lack it. */
	(void)setsockopt(s->receiver, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	at = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, s->receiver, 0);
	if (at == MAP_FAILED)
		return -errno;
	s->ring = at;
	if (bind(s->receiver, (struct sockaddr *)&all, sizeof(all)) < 0)
		return -errno;
	return 0;
}

static void prepare_batch(struct syn_socket *s)
{
	for (size_t i = 0; i < SYN_BATCH; i++) {
		s->vectors[i].iov_base = s->packets[i];
		s->messages[i].msg_hdr = (struct msghdr){
		    .msg_name = &s->addresses[i],
		    .msg_iov = &s->vectors[i],
		    .msg_iovlen = 1,
		};
	}
}

static int explain(int err, const char *what, char why[static 256])
{
	if (err)
		snprintf(why, 256, "%s: %s", what, strerror(-err));
	return err;
}

int syn_socket_open(struct syn_socket **out, char why[static 256])
{
	auto_syn_socket struct syn_socket *s = calloc(1, sizeof(*s));
	uint8_t key[16];
	int err;

	if (!s)
		return explain(-ENOMEM, "SYN sockets", why);
	memset(s->ports, -1, sizeof(s->ports));
	memset(s->senders, -1, sizeof(s->senders));
	s->receiver = -1;
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return explain(-errno, "random bytes", why);
	s->identity.key = siphash_read_key(key);
	prepare_batch(s);
	err = explain(open_senders(s), "sockets to send SYNs", why);
	if (!err)
		err = explain(bind_ports(s), "source ports for SYNs", why);
	if (!err)
		err = explain(open_receiver(s), "a socket for answers to SYNs", why);
	if (!err)
		*out = steal_ptr(&s);
	return err;
}

/* Sending */

static enum way way_of(const struct syn_socket *s, const struct endpoint *to,
                       const struct next_hop *hop)
{
	if (!hop)
		return to->family == AF_INET ? WAY_LOCAL_V4 : WAY_LOCAL_V6;
	return syn_links_bypass(&s->links, hop->ifindex) ? WAY_BYPASS : WAY_QUEUED;
}

static socklen_t link_address(const struct endpoint *to, const struct next_hop *hop,
                              struct sockaddr_ll *out)
{
	*out = (struct sockaddr_ll){
	    .sll_family = AF_PACKET,
	    .sll_protocol = htons(to->family == AF_INET ? ETH_P_IP : ETH_P_IPV6),
	    .sll_ifindex = hop->ifindex,
	    .sll_halen = hop->mac_len,
	};
	_Static_assert(sizeof(out->sll_addr) == sizeof(hop->mac), "addresses fit");
	memcpy(out->sll_addr, hop->mac, sizeof(hop->mac));
	return sizeof(*out);
}

/* A raw IPv6 socket wants no port in the address. */
static socklen_t local_address(const struct endpoint *to, union address *out)
{
	if (to->family == AF_INET) {
		out->v4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&out->v4.sin_addr, to->address, 4);
		return sizeof(out->v4);
	}
	out->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_scope_id = to->scope_id};
	memcpy(&out->v6.sin6_addr, to->address, 16);
	return sizeof(out->v6);
}

bool syn_socket_add(struct syn_socket *s, const struct endpoint *to, const struct next_hop *hop,
                    unsigned attempt)
{
	enum way way = way_of(s, to, hop);
	unsigned i = s->count;

	if (i == SYN_BATCH || (i > 0 && way != s->way))
		return false;
	s->way = way;
	s->vectors[i].iov_len = syn_packet_build(&s->identity, hop ? &hop->source : to, to, attempt,
	                                         hop ? hop->mtu : 0, s->packets[i]);
	s->messages[i].msg_hdr.msg_namelen = hop ? link_address(to, hop, &s->addresses[i].link)
	                                         : local_address(to, &s->addresses[i]);
	s->count++;
	return true;
}

unsigned syn_socket_waiting(const struct syn_socket *s)
{
	return s->count - s->first;
}

int syn_socket_flush(struct syn_socket *s, uint64_t *sent)
{
	while (s->first < s->count) {
		int n =
		    sendmmsg(s->senders[s->way], s->messages + s->first, s->count - s->first, 0);
		int err = errno;

		if (n > 0) {
			s->first += (unsigned)n;
			*sent += (unsigned)n;
		} else if (err == ENOBUFS || err == EAGAIN) {
			return -ENOBUFS;
		} else if (err != EINTR) {
			s->first++;
			if (s->first == s->count)
				s->first = s->count = 0;
			return -err;
		}
	}
	s->first = s->count = 0;
	return 0;
}

/* Receiving */

int syn_socket_descriptor(const struct syn_socket *s)
{
	return s->receiver;
}

static struct tpacket2_hdr *slot_at(const struct syn_socket *s)
{
	return (struct tpacket2_hdr *)(void *)(s->ring + (size_t)s->slot * RING_SLOT_BYTES);
}

static enum syn_answer_kind read_slot(const struct syn_socket *s, const struct tpacket2_hdr *h,
                                      uint32_t status, struct syn_answer *out)
{
	const struct sockaddr_ll *link = (const void *)((const uint8_t *)h + ALIGNED(sizeof(*h)));
	bool verified = status & (TP_STATUS_CSUM_VALID | TP_STATUS_CSUMNOTREADY);
	struct syn_answer answer;
	enum syn_answer_kind kind;

	if ((size_t)h->tp_net + h->tp_snaplen > RING_SLOT_BYTES)
		return SYN_ANSWER_NONE;
	kind = syn_packet_parse(&s->identity, (const uint8_t *)h + h->tp_net, h->tp_snaplen,
	                        verified, &answer);
	if (kind == SYN_ANSWER_NONE)
		return kind;
	if (answer.endpoint.family == AF_INET6 && answer.endpoint.address[0] == 0xfe &&
	    (answer.endpoint.address[1] & 0xc0) == 0x80)
		answer.endpoint.scope_id = (uint32_t)link->sll_ifindex;
	*out = answer;
	return kind;
}

bool syn_socket_receive(struct syn_socket *s, enum syn_answer_kind *kind, struct syn_answer *out)
{
	*kind = SYN_ANSWER_NONE;
	while (*kind == SYN_ANSWER_NONE) {
		struct tpacket2_hdr *h = slot_at(s);
		uint32_t status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);

		if (!(status & TP_STATUS_USER))
			return false;
		*kind = read_slot(s, h, status, out);
		__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		s->slot = (s->slot + 1) % RING_SLOTS;
	}
	return true;
}

uint64_t syn_socket_drops(struct syn_socket *s)
{
	struct tpacket_stats stats = {0};
	socklen_t length = sizeof(stats);

	if (getsockopt(s->receiver, SOL_PACKET, PACKET_STATISTICS, &stats, &length) < 0)
		return 0;
	return stats.tp_drops;
}
