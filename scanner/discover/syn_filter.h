/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel hands to the receiver of a SYN sweep, by a classic BPF filter: SYN-ACK and RST
 * to our source ports, ICMP errors of the kinds that we read, no fragments, nothing that this host
 * sends itself. The first bytes are those of the IP header (AF_PACKET, SOCK_DGRAM).
 */
#pragma once

#include <linux/filter.h>
#include <stdint.h>

enum { SYN_FILTER_MAX = 48 };

/* Writes the program; returns its length. */
unsigned short syn_filter_build(uint16_t first_port, struct sock_filter out[static SYN_FILTER_MAX]);
