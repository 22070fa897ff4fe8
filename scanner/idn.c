/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/idn.h"

#include <errno.h>
#include <idn2.h>
#include <stdio.h>
#include <string.h>

static bool is_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] >= 0x80)
			return false;
	}
	return true;
}

static int convert(const char *host, size_t length, char *ascii, size_t size,
                   char why[static TARGET_ERROR_LEN])
{
	char copy[IDN_TEXT_LEN];
	char *result = NULL;
	int rc;

	if (length >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, host, length);
	copy[length] = '\0';
	/* As browsers do it: mapped and lower-cased, without the German exceptions of 2003. */
	rc = idn2_lookup_u8((const uint8_t *)copy, (uint8_t **)&result,
	                    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES);
	if (rc != IDN2_OK || strlen(result) >= size) {
		snprintf(why, TARGET_ERROR_LEN, "no valid internationalised name: %.100s",
		         rc == IDN2_OK ? "too long" : idn2_strerror(rc));
		idn2_free(result);
		return -EINVAL;
	}
	memcpy(ascii, result, strlen(result) + 1);
	idn2_free(result);
	return 0;
}

int idn_to_ascii(const char *text, char out[static IDN_TEXT_LEN], char why[static TARGET_ERROR_LEN])
{
	const char *scheme = strstr(text, "://");
	const char *host = scheme ? scheme + 3 : text;
	size_t length = strcspn(host, "/:?#@ \t");
	char ascii[TARGET_HOST_MAX_LEN + 1];
	int n;

	if (is_ascii(host, length)) {
		n = snprintf(out, IDN_TEXT_LEN, "%s", text);
	} else {
		int err = convert(host, length, ascii, sizeof(ascii), why);

		if (err)
			return err;
		n = snprintf(out, IDN_TEXT_LEN, "%.*s%s%s", (int)(host - text), text, ascii,
		             host + length);
	}
	if (n < 0 || n >= IDN_TEXT_LEN) {
		snprintf(why, TARGET_ERROR_LEN, "longer than %d", IDN_TEXT_LEN - 1);
		return -EINVAL;
	}
	return 0;
}
