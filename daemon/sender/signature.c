/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/signature.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int signature_make(const char *secret, int64_t unix_s, const char *body, size_t length,
                   char out[static SIGNATURE_LEN])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_length = 0;
	char time[32];
	size_t prefix = (size_t)snprintf(time, sizeof(time), "%" PRId64 ".", unix_s);
	unsigned char *signed_text = malloc(prefix + length);
	size_t at;

	if (!signed_text)
		return -ENOMEM;
	memcpy(signed_text, time, prefix);
	memcpy(signed_text + prefix, body, length);
	if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), signed_text, prefix + length, digest,
	          &digest_length))
		digest_length = 0;
	free(signed_text);
	if (digest_length == 0)
		return -EIO;
	at = (size_t)snprintf(out, SIGNATURE_LEN, "t=%" PRId64 ",v1=", unix_s);
	for (unsigned i = 0; i < digest_length; i++)
		at += (size_t)snprintf(out + at, SIGNATURE_LEN - at, "%02x", digest[i]);
	return 0;
}
