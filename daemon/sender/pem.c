/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/pem.h"

#include "common/cleanup.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>

AUTO_CLEANUP(bio, BIO *, BIO_free_all)
#define auto_bio __attribute__((cleanup(cleanup_bio)))
AUTO_CLEANUP(x509, X509 *, X509_free)
#define auto_x509 __attribute__((cleanup(cleanup_x509)))
AUTO_CLEANUP(pkey, EVP_PKEY *, EVP_PKEY_free)
#define auto_pkey __attribute__((cleanup(cleanup_pkey)))

/* Without one, OpenSSL would ask on the terminal. */
static int no_password(char *buffer, int size, int writing, void *was_asked)
{
	(void)buffer;
	(void)size;
	(void)writing;
	*(bool *)was_asked = true;
	return -1;
}

static BIO *open_bytes(const char *bytes, size_t length)
{
	return length <= INT_MAX ? BIO_new_mem_buf(bytes, (int)length) : NULL;
}

static X509 *next_certificate(BIO *bio)
{
	bool was_asked = false;

	return PEM_read_bio_X509(bio, NULL, no_password, &was_asked);
}

const char *pem_blame_certificates(const char *bytes, size_t length)
{
	auto_bio BIO *bio = open_bytes(bytes, length);
	unsigned count = 0;
	unsigned long error;
	X509 *certificate;

	if (!bio)
		return "out of memory";
	while ((certificate = next_certificate(bio))) {
		X509_free(certificate);
		count++;
	}
	error = ERR_peek_last_error();
	ERR_clear_error();
	if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
		return "a certificate in it is broken";
	return count ? NULL : "no certificate in it";
}

const char *pem_blame_key(const char *bytes, size_t length, const char *certificate,
                          size_t certificate_length)
{
	auto_bio BIO *bio = open_bytes(bytes, length);
	auto_bio BIO *certificates = open_bytes(certificate, certificate_length);
	auto_x509 X509 *first = certificates ? next_certificate(certificates) : NULL;
	auto_pkey EVP_PKEY *key = NULL;
	bool was_asked = false;
	const char *wrong = NULL;

	if (!bio || !first)
		return "out of memory";
	key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &was_asked);
	if (!key)
		wrong = was_asked ? "the key in it is encrypted" : "no key in it";
	else if (X509_check_private_key(first, key) != 1)
		wrong = "the key in it is not the certificate's";
	ERR_clear_error();
	return wrong;
}
