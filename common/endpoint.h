/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An endpoint is one numeric address and one TCP port. A plain value: copy it, compare it with
 * endpoint_compare() (not memcmp: the struct has padding). Nothing here resolves names, opens
 * sockets or allocates; every function may be called from any thread.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* "[" + IPv6 text + "%" + ten digits of a scope + "]:65535" + NUL */
enum { ENDPOINT_TEXT_LEN = INET6_ADDRSTRLEN + 20 };

struct endpoint {
	sa_family_t family;  /* AF_INET or AF_INET6 */
	uint16_t port;       /* host byte order, 1..65535 */
	uint32_t scope_id;   /* interface index of a link-local IPv6 address, else 0 */
	uint8_t address[16]; /* network byte order; IPv4 uses the first four, the rest is zero */
};

/*
 * Reads a numeric address alone: "192.0.2.1", "2001:db8::1", "fe80::1%2" (the zone as an index).
 * IPv4 parts with leading zeros are refused (RFC 6943, 3.1.1: some read them as octal). An
 * IPv4-mapped IPv6 address becomes IPv4, so that one listener has one name.
 * Sets family, scope_id and address of *out, and port to 0. Returns 0 or -EINVAL.
 */
int endpoint_parse_address(const char *text, struct endpoint *out);

/* Reads "192.0.2.1:80" or "[2001:db8::1]:80". Returns 0 or -EINVAL. */
int endpoint_parse(const char *text, struct endpoint *out);

/* Reads a decimal port, 1..65535, no sign, no leading zero. Returns 0 or -EINVAL. */
int endpoint_parse_port(const char *text, uint16_t *out);

/* Writes "192.0.2.1:80" or "[2001:db8::1]:80", and returns text. */
const char *endpoint_format(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN]);
/* Writes the address alone, without brackets and port. */
const char *endpoint_format_address(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN]);

/* Orders by family, address, scope, port. */
int endpoint_compare(const struct endpoint *a, const struct endpoint *b);

bool endpoint_is_loopback(const struct endpoint *e);

/* The length to give to connect(2) and bind(2). */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
/* Returns 0, or -EAFNOSUPPORT for anything but IPv4 and IPv6. */
int endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *out);
