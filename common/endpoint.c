/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse_decimal(const char *text, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*p - '0');
		if (value > max)
			return -EINVAL;
	}
	*out = (uint32_t)value;
	return 0;
}

int endpoint_parse_port(const char *text, uint16_t *out)
{
	uint32_t port;

	if (parse_decimal(text, 65535, &port) < 0 || port == 0)
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

static void set_v4(struct endpoint *e, const uint8_t address[static 4])
{
	struct endpoint v4 = {.family = AF_INET};

	/* `address` may lie in *e. */
	memcpy(v4.address, address, 4);
	*e = v4;
}

int endpoint_parse_address(const char *text, struct endpoint *out)
{
	struct endpoint e = {0};
	char bare[INET6_ADDRSTRLEN];
	const char *zone = strchr(text, '%');
	size_t len = zone ? (size_t)(zone - text) : strlen(text);
	struct in6_addr v6;
	struct in_addr v4;

	if (len == 0 || len >= sizeof(bare))
		return -EINVAL;
	memcpy(bare, text, len);
	bare[len] = '\0';

	if (inet_pton(AF_INET, bare, &v4) == 1) {
		if (zone)
			return -EINVAL;
		set_v4(&e, (const uint8_t *)&v4);
	} else if (inet_pton(AF_INET6, bare, &v6) == 1) {
		e.family = AF_INET6;
		memcpy(e.address, &v6, 16);
		if (zone) {
			/* RFC 4007, 11: a zone means something for link-local scope only. */
			if (!IN6_IS_ADDR_LINKLOCAL(&v6) ||
			    parse_decimal(zone + 1, UINT32_MAX, &e.scope_id) < 0)
				return -EINVAL;
		} else if (IN6_IS_ADDR_V4MAPPED(&v6)) {
			set_v4(&e, e.address + 12);
		}
	} else {
		return -EINVAL;
	}
	*out = e;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *out)
{
	char host[ENDPOINT_TEXT_LEN];
	const char *colon = strrchr(text, ':');
	struct endpoint e;
	uint16_t port;
	size_t len;
	bool bracketed = text[0] == '[';

	if (!colon || endpoint_parse_port(colon + 1, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (bracketed) {
		if (len < 2 || text[len - 1] != ']')
			return -EINVAL;
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	/* "::1:80" is an address, not an address and a port. */
	if (bracketed != (strchr(host, ':') != NULL))
		return -EINVAL;
	if (endpoint_parse_address(host, &e) < 0)
		return -EINVAL;
	e.port = port;
	*out = e;
	return 0;
}

/* Returns the end. No NUL. */
static char *put_decimal(char *at, unsigned value)
{
	char digits[10];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n > 0)
		*at++ = digits[--n];
	return at;
}

/* Some of them for every probe of a sweep: printf() would be seen in its profile. */
static char *put_v4(char *at, const uint8_t address[static 4])
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*at++ = '.';
		at = put_decimal(at, address[i]);
	}
	return at;
}

const char *endpoint_format_address(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN])
{
	char address[INET6_ADDRSTRLEN] = "?";

	if (e->family == AF_INET && !e->scope_id) {
		*put_v4(text, e->address) = '\0';
		return text;
	}
	inet_ntop(e->family, e->address, address, sizeof(address));
	if (e->scope_id)
		snprintf(text, ENDPOINT_TEXT_LEN, "%s%%%u", address, e->scope_id);
	else
		snprintf(text, ENDPOINT_TEXT_LEN, "%s", address);
	return text;
}

const char *endpoint_format(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN])
{
	char address[ENDPOINT_TEXT_LEN];

	if (e->family == AF_INET && !e->scope_id) {
		char *at = put_v4(text, e->address);

		*at++ = ':';
		*put_decimal(at, e->port) = '\0';
		return text;
	}
	endpoint_format_address(e, address);
	/* An address takes at most 57 of the 66 bytes; the check is for the compiler. */
	if (snprintf(text, ENDPOINT_TEXT_LEN, e->family == AF_INET6 ? "[%s]:%u" : "%s:%u", address,
	             (unsigned)e->port) >= ENDPOINT_TEXT_LEN)
		text[0] = '\0';
	return text;
}

int endpoint_compare(const struct endpoint *a, const struct endpoint *b)
{
	int order;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	order = memcmp(a->address, b->address, sizeof(a->address));
	if (order)
		return order;
	if (a->scope_id != b->scope_id)
		return a->scope_id < b->scope_id ? -1 : 1;
	return (int)a->port - (int)b->port;
}

bool endpoint_is_loopback(const struct endpoint *e)
{
	static const uint8_t loopback6[16] = {[15] = 1};

	if (e->family == AF_INET)
		return e->address[0] == 127;
	return memcmp(e->address, loopback6, 16) == 0;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (e->family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)out;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(e->port);
		memcpy(&sin->sin_addr, e->address, 4);
		return sizeof(*sin);
	}
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(e->port);
	sin6->sin6_scope_id = e->scope_id;
	memcpy(&sin6->sin6_addr, e->address, 16);
	return sizeof(*sin6);
}

int endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *out)
{
	struct endpoint e = {0};

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in sin;

		memcpy(&sin, sa, sizeof(sin));
		set_v4(&e, (const uint8_t *)&sin.sin_addr);
		e.port = ntohs(sin.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 sin6;

		memcpy(&sin6, sa, sizeof(sin6));
		if (IN6_IS_ADDR_V4MAPPED(&sin6.sin6_addr)) {
			set_v4(&e, sin6.sin6_addr.s6_addr + 12);
		} else {
			e.family = AF_INET6;
			memcpy(e.address, &sin6.sin6_addr, 16);
			e.scope_id = sin6.sin6_scope_id;
		}
		e.port = ntohs(sin6.sin6_port);
	} else {
		return -EAFNOSUPPORT;
	}
	*out = e;
	return 0;
}
