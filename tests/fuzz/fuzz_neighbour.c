/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers with link addresses; the first byte chooses ARP (even) or neighbour discovery (odd). */
#include "scanner/discover/neighbour_packet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct neighbour_answer answer;
	sa_family_t family;

	if (size == 0)
		return 0;
	family = data[0] % 2 ? AF_INET6 : AF_INET;
	if (!neighbour_answer_read(family, data + 1, size - 1, &answer))
		return 0;
	/* what it promises of an answer */
	if (answer.family != family || (answer.mac[0] & 1) != 0 ||
	    memcmp(answer.mac, "\0\0\0\0\0", MAC_LEN) == 0)
		abort();
	if (family == AF_INET6 && (answer.target[0] == 0xff || data[8] != 255))
		abort();
	return 0;
}
