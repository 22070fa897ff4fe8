/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned family_bits(sa_family_t family)
{
	return family == AF_INET ? 32 : 128;
}

/* Clears the host bits; says whether any was set. */
static bool mask_host_bits(uint8_t address[static 16], unsigned bits, unsigned width)
{
	bool any = false;

	for (unsigned bit = bits; bit < width; bit++) {
		uint8_t one = (uint8_t)(0x80U >> (bit % 8));

		any = any || (address[bit / 8] & one);
		address[bit / 8] &= (uint8_t)~one;
	}
	return any;
}

enum prefix_error prefix_parse(const char *text, struct prefix *out)
{
	char address[ENDPOINT_TEXT_LEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	struct prefix p = {0};
	struct endpoint e;
	unsigned bits;
	bool dirty;

	if (len >= sizeof(address))
		return PREFIX_BAD_ADDRESS;
	memcpy(address, text, len);
	address[len] = '\0';
	if (strchr(address, '%') || endpoint_parse_address(address, &e) < 0)
		return PREFIX_BAD_ADDRESS;
	/* ::ffff:0:0/96 and its like would silently change width. */
	if (slash && e.family == AF_INET && strchr(address, ':'))
		return PREFIX_BAD_ADDRESS;
	bits = family_bits(e.family);
	if (slash) {
		const char *digits = slash + 1;
		size_t n = strlen(digits);

		if (n == 0 || n > 3 || strspn(digits, "0123456789") != n ||
		    (n > 1 && *digits == '0'))
			return PREFIX_BAD_LENGTH;
		if (strtoul(digits, NULL, 10) > bits)
			return PREFIX_BAD_LENGTH;
		bits = (unsigned)strtoul(digits, NULL, 10);
	}
	p.family = e.family;
	p.bits = (uint8_t)bits;
	memcpy(p.address, e.address, sizeof(p.address));
	dirty = mask_host_bits(p.address, bits, family_bits(e.family));
	*out = p;
	return dirty ? PREFIX_HOST_BITS : PREFIX_OK;
}

const char *prefix_format(const struct prefix *p, char text[static PREFIX_TEXT_LEN])
{
	char address[INET6_ADDRSTRLEN] = "?";

	inet_ntop(p->family, p->address, address, sizeof(address));
	if (p->bits == family_bits(p->family))
		snprintf(text, PREFIX_TEXT_LEN, "%s", address);
	else
		snprintf(text, PREFIX_TEXT_LEN, "%s/%u", address, (unsigned)p->bits);
	return text;
}

static bool covers(const struct prefix *p, sa_family_t family, const uint8_t address[static 16])
{
	uint8_t masked[16];

	if (p->family != family)
		return false;
	memcpy(masked, address, sizeof(masked));
	mask_host_bits(masked, p->bits, family_bits(family));
	return memcmp(masked, p->address, sizeof(masked)) == 0;
}

bool prefix_contains(const struct prefix *p, const struct endpoint *e)
{
	return covers(p, e->family, e->address);
}

int prefix_compare(const struct prefix *a, const struct prefix *b)
{
	int order;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	order = memcmp(a->address, b->address, sizeof(a->address));
	return order ? order : (int)a->bits - (int)b->bits;
}

static int compare_for_sort(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

size_t prefix_simplify(struct prefix *list, size_t count)
{
	size_t kept = 0;

	if (count == 0)
		return 0;
	qsort(list, count, sizeof(*list), compare_for_sort);
	/* Sorted, a container comes right before what it contains, since prefixes nest or are
	 * apart. */
	for (size_t i = 1; i < count; i++) {
		if (!covers(&list[kept], list[i].family, list[i].address))
			list[++kept] = list[i];
	}
	return kept + 1;
}
