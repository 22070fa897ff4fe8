/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/curl_tls.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>

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

const char *curl_tls_explain(CURL *easy, CURLcode code, char text[static CURL_TLS_TEXT_LEN])
{
	long verified = X509_V_OK;
	const char *detail = "";

	/* Else, as of a name that is not in the certificate, that is all there is to say. */
	if (code == CURLE_PEER_FAILED_VERIFICATION &&
	    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified) == CURLE_OK &&
	    verified != X509_V_OK)
		detail = X509_verify_cert_error_string(verified);
	snprintf(text, CURL_TLS_TEXT_LEN, "%s%s%s", curl_easy_strerror(code), detail[0] ? ": " : "",
	         detail);
	return text;
}
