/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/curl_tls.h"

CURLcode curl_tls_set(CURL *easy, const struct conf_alert *conf)
{
	CURLcode bad = CURLE_OK;

	bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	bad |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	bad |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (conf->ca_file) {
		bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, conf->ca_file);
		bad |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
		/* It would not be read again for a day. */
		bad |= curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	}
	if (conf->cert_file) {
		bad |= curl_easy_setopt(easy, CURLOPT_SSLCERT, conf->cert_file);
		bad |= curl_easy_setopt(easy, CURLOPT_SSLKEY, conf->key_file);
	}
	return bad;
}
