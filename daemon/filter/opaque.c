/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/opaque.h"

#include <string.h>

enum { HANDSHAKE = 0x16, CLIENT_HELLO = 1, TLS_MAJOR = 3, HELLO_BYTES = 11 };

static enum opaque look_for_hello(const char *bytes, size_t length)
{
	/* type, version, length; message, its length; version */
	static const struct {
		unsigned char at, least, most;
	} known[] = {{0, HANDSHAKE, HANDSHAKE},
	             {1, TLS_MAJOR, TLS_MAJOR},
	             {2, 0, 4},
	             {3, 0, 0x40},
	             {5, CLIENT_HELLO, CLIENT_HELLO},
	             {6, 0, 0},
	             {9, TLS_MAJOR, TLS_MAJOR},
	             {10, 0, 4}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		unsigned char c;

		if (known[i].at >= length)
			return OPAQUE_MORE;
		c = (unsigned char)bytes[known[i].at];
		if (c < known[i].least || c > known[i].most)
			return OPAQUE_NO;
	}
	return length >= HELLO_BYTES ? OPAQUE_YES : OPAQUE_MORE;
}

enum opaque opaque_look(const char *bytes, size_t length)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	size_t whole = sizeof(preface) - 1, n = length < whole ? length : whole;

	if (memcmp(bytes, preface, n) == 0)
		return n == whole ? OPAQUE_YES : OPAQUE_MORE;
	return look_for_hello(bytes, length);
}
