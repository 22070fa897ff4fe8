/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/syn_filter.h"

#include "common/cleanup.h"
#include "scanner/discover/syn_packet.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>

#define LOAD_META(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + (what)))
#define LOAD_8(at)      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at)
#define LOAD_16(at)     BPF_STMT(BPF_LD | BPF_H | BPF_ABS, at)
#define JUMP(op, value, yes, no)                                                                   \
	BPF_JUMP(BPF_JMP | (op) | BPF_K, (uint32_t)(value), (uint8_t)(yes), (uint8_t)(no))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)

/* Labels are line numbers of the program below; a jump counts from the line after it. */
enum {
	IPV6 = 22,
	TCP_FLAGS = 33,
	ACCEPT = 36,
	DROP = 37,
	LINES = 38,
};
#define TO(label, line) ((label) - (line)-1)

unsigned short syn_filter_build(uint16_t first_port, struct sock_filter out[static SYN_FILTER_MAX])
{
	const struct sock_filter program[] = {
	    /*  0 */ LOAD_META(SKF_AD_PKTTYPE),
	    /*  1 */ JUMP(BPF_JEQ, PACKET_OUTGOING, TO(DROP, 1), 0),
	    /*  2 */ LOAD_META(SKF_AD_PROTOCOL),
	    /*  3 */ JUMP(BPF_JEQ, ETH_P_IPV6, TO(IPV6, 3), 0),
	    /*  4 */ JUMP(BPF_JEQ, ETH_P_IP, 0, TO(DROP, 4)),
	    /*  5 */ LOAD_16(6),
	    /*  6 */ JUMP(BPF_JSET, IP_MF | IP_OFFMASK, TO(DROP, 6), 0),
	    /*  7 */ BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
	    /*  8 */ LOAD_8(9),
	    /*  9 */ JUMP(BPF_JEQ, IPPROTO_TCP, TO(15, 9), 0),
	    /* 10 */ JUMP(BPF_JEQ, IPPROTO_ICMP, 0, TO(DROP, 10)),
	    /* 11 */ BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
	    /* 12 */ JUMP(BPF_JEQ, ICMP_DEST_UNREACH, TO(ACCEPT, 12), 0),
	    /* 13 */ JUMP(BPF_JEQ, ICMP_TIME_EXCEEDED, TO(ACCEPT, 13), TO(DROP, 13)),
	    /* 14 */ RETURN(0),
	    /* 15 */ BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
	    /* 16 */ BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, first_port),
	    /* 17 */ JUMP(BPF_JGE, SYN_PORTS, TO(DROP, 17), 0),
	    /* 18 */ BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13),
	    /* 19 */ BPF_STMT(BPF_JMP | BPF_JA, TO(TCP_FLAGS, 19)),
	    /* 20 */ RETURN(0),
	    /* 21 */ RETURN(0),
	    /* 22 */ LOAD_8(6),
	    /* 23 */ JUMP(BPF_JEQ, IPPROTO_TCP, TO(28, 23), 0),
	    /* 24 */ JUMP(BPF_JEQ, IPPROTO_ICMPV6, 0, TO(DROP, 24)),
	    /* 25 */ LOAD_8(40),
	    /* 26 */ JUMP(BPF_JEQ, ICMP6_DST_UNREACH, TO(ACCEPT, 26), 0),
	    /* 27 */ JUMP(BPF_JEQ, ICMP6_TIME_EXCEEDED, TO(ACCEPT, 27), TO(DROP, 27)),
	    /* 28 */ LOAD_16(42),
	    /* 29 */ BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, first_port),
	    /* 30 */ JUMP(BPF_JGE, SYN_PORTS, TO(DROP, 30), 0),
	    /* 31 */ LOAD_8(53),
	    /* 32 */ BPF_STMT(BPF_JMP | BPF_JA, TO(TCP_FLAGS, 32)),
	    /* 33 */ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_RST | TH_ACK | TH_FIN),
	    /* 34 */ JUMP(BPF_JEQ, TH_SYN | TH_ACK, TO(ACCEPT, 34), 0),
	    /* 35 */ JUMP(BPF_JEQ, TH_RST | TH_ACK, TO(ACCEPT, 35), TO(DROP, 35)),
	    /* 36 */ RETURN(SYN_ANSWER_MAX),
	    /* 37 */ RETURN(0),
	};

	_Static_assert(ARRAY_LEN(program) == LINES && LINES <= (int)SYN_FILTER_MAX,
	               "labels are right");
	memcpy(out, program, sizeof(program));
	return LINES;
}
