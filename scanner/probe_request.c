/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a probe is made of: its limits, its name, what it may ask for, and its nonces. */
#include "scanner/probe_queue.h"

#include "build_info.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

const char probe_user_agent[] =
    "pprofwall/" PPROFWALL_VERSION " (finds exposed Go profiling endpoints)";

const struct probe_limits probe_limits_default = {
    .connect_timeout_ms = 3000,
    .request_timeout_ms = 3000,
    .header_max_bytes = 16 * 1024,
    .body_max_bytes = FINGERPRINT_BODY_MAX_BYTES,
    .max_requests = FINGERPRINT_MAX_REQUESTS,
    .concurrency = 256,
};

/* They become part of a URL: nothing that could end the host or the path early. */
bool probe_request_is_valid(const struct probe_request *request)
{
	static const char host_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                                 "0123456789-._";

	if (!memchr(request->host, '\0', sizeof(request->host)) ||
	    !memchr(request->prefix, '\0', sizeof(request->prefix)) ||
	    request->host[strspn(request->host, host_bytes)] != '\0')
		return false;
	if (request->prefix[0] && request->prefix[0] != '/')
		return false;
	for (const char *c = request->prefix; *c; c++) {
		if (*c <= 0x20 || *c >= 0x7f || strchr("?#\\\"<>^`{|}", *c))
			return false;
	}
	return request->endpoint.port != 0 && request->timeout_ms >= 0;
}

int probe_nonces_draw(struct probe_nonces *nonces, uint64_t *out)
{
	const size_t n = sizeof(nonces->drawn);

	if (nonces->left == 0) {
		if (getrandom(nonces->drawn, n, 0) != (ssize_t)n)
			return -EIO;
		nonces->left = PROBE_NONCES_AT_ONCE;
	}
	*out = nonces->drawn[--nonces->left];
	return 0;
}
