/* SPDX-License-Identifier: GPL-2.0-or-later */
/* By which scheme, and which version of HTTP, the index is asked for. */
#include "scanner/fingerprint_rules.h"
#include "scanner/fingerprint_state.h"

#include <errno.h>

/* Nobody took the connection: neither scheme will do better. */
static bool is_unreachable(int error)
{
	return error == -ECONNREFUSED || error == -ETIMEDOUT || error == -EHOSTUNREACH ||
	       error == -ENETUNREACH || error == -EHOSTDOWN;
}

static bool switch_scheme(struct fingerprint *fp, bool tls)
{
	if (fp->switched || (tls ? fp->plain_only : fp->tls_only))
		return false;
	fp->switched = true;
	fp->tls = tls;
	return true;
}

static bool is_hang_up(const struct http_answer *a)
{
	return a->status == 0 && a->body_length == 0 && !a->timed_out &&
	       (a->error == -ECONNRESET || a->error == -EPIPE);
}

bool scheme_try_other(struct fingerprint *fp, const struct http_answer *a)
{
	bool silent = a->status == 0 && a->body_length == 0;

	if (fp->tls)
		return !a->tls && silent && !is_unreachable(a->error) && switch_scheme(fp, false);
	if (rule_wants_tls(a)) {
		fp->wants_tls = true;
		return switch_scheme(fp, true);
	}
	if (rule_is_http2_frame(a))
		return false;
	if (rule_read_redirect(a, fp->prefix, fp->authority) == REDIRECT_HTTPS)
		return switch_scheme(fp, true);
	if (silent && !a->timed_out &&
	    (a->error == 0 || a->error == -EPROTO || a->error == -ECONNRESET ||
	     a->error == -EPIPE)) {
		fp->no_http = a->error == 0 || a->error == -EPROTO;
		fp->error = a->error;
		fp->hung_up = is_hang_up(a);
		return switch_scheme(fp, true);
	}
	return false;
}

/*
 * A server of HTTP/2 alone answers HTTP/1.1 by its own first frame, or hangs up on a preface that
 * is none. Over TLS there is no protocol to agree on; but Go lets that pass, and then hangs up.
 */
static bool try_http2(struct fingerprint *fp, const struct http_answer *a)
{
	if (fp->http2)
		return false;
	if (fp->tls && (a->alpn_refused || (a->tls && is_hang_up(a)))) {
		fp->http2 = true;
	} else if (!fp->tls_only && !fp->wants_tls && !is_unreachable(a->error) &&
	           (fp->hung_up || is_hang_up(a) || rule_is_http2_frame(a))) {
		fp->http2 = true;
		fp->tls = false;
	} else {
		return false;
	}
	/* what holds if this fails, too */
	if (fp->error == 0)
		fp->error = a->error ? a->error : -EPROTO;
	fp->no_http = false;
	return true;
}

void scheme_feed_no_answer(struct fingerprint *fp, const struct http_answer *a)
{
	bool retried = fp->http2;

	if (try_http2(fp, a))
		return;
	if (retried) {
		fp->http2 = false;
		fp->timed_out = a->timed_out;
		fp->error = fp->error ? fp->error : a->error;
		fp->done = true;
		return;
	}
	/* TLS may have been a guess: then what plain HTTP met says more than that TLS failed. */
	if (fp->error == 0 || a->error != -EPROTO)
		fp->error = a->error;
	fp->timed_out = a->timed_out;
	if (fp->wants_tls || a->tls || a->timed_out)
		fp->no_http = false;
	else if (!fp->tls)
		fp->no_http = a->error == 0 || a->error == -EPROTO;
	fp->done = true;
}
