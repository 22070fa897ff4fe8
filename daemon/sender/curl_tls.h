/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the sender speaks TLS, whatever the protocol above it is. */
#pragma once

#include "conf/conf.h"

#include <curl/curl.h>

/*
 * Certificates and names are verified, by the alert's ca_file or the system's; TLS 1.2 or newer;
 * the alert's own certificate is shown. Returns an error of libcurl. `conf` need not stay.
 */
CURLcode curl_tls_set(CURL *easy, const struct conf_alert *conf);

enum { CURL_TLS_TEXT_LEN = 128 };

/* Why a transfer failed, in general words: no host, no URL; of a certificate, what is wrong. */
const char *curl_tls_explain(CURL *easy, CURLcode code, char text[static CURL_TLS_TEXT_LEN]);
