/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks into PEM files before they are used, so that what is wrong with them is said in words. */
#pragma once

#include <stddef.h>

/* What is wrong with a file of certificates, or NULL. */
const char *pem_blame_certificates(const char *bytes, size_t length);
/* What is wrong with a key that is to go with the first certificate of a sound file, or NULL. */
const char *pem_blame_key(const char *bytes, size_t length, const char *certificate,
                          size_t certificate_length);
