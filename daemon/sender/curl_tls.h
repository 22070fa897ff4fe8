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
