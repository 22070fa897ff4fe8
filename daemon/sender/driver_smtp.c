/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mail, by libcurl. It takes leave of a server by QUIT, and waits for the answer where it stands:
 * every other sink would wait as well, for minutes if the server likes. So when the server has said
 * what counts, reading is shut: QUIT still goes out, and libcurl finds the end instead of an
 * answer. A server that ends the conversation in some other way holds us up for a second (see
 * on_progress).
 */
#include "daemon/sender/driver_smtp.h"

#include "common/clock.h"
#include "daemon/sender/curl_tls.h"
#include "daemon/sender/mail.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
	REPLIES_MAX_BYTES = 64 * 1024,
	SOCKETS_MAX = 4,
	BLOCKED_MAX_MS = 900, /* libcurl asks once a second while it waits */
};

struct smtp_attempt {
	struct event_base *base;
	CURL *easy;
	struct dial *dial;
	curl_mime *mime;
	struct curl_slist *headers, *to;
	struct mail mail;
	size_t reply_bytes;
	unsigned replies;
	int code;     /* of the last reply */
	bool in_data; /* the next reply is the last word */
	bool decided;
	bool may_say_helo; /* libcurl does where EHLO is refused, and nothing needs an extension */
	curl_socket_t sockets[SOCKETS_MAX]; /* open ones, or CURL_SOCKET_BAD */
	attempt_done_cb *done;
	void *arg;
};

static void cancel(void *attempt)
{
	struct smtp_attempt *a = attempt;

	dial_free(a->dial);
	if (a->easy)
		curl_easy_cleanup(a->easy);
	curl_mime_free(a->mime);
	curl_slist_free_all(a->headers);
	curl_slist_free_all(a->to);
	mail_fini(&a->mail);
	free(a);
}

static struct attempt_result judge(struct smtp_attempt *a, CURLcode code, const char *failure)
{
	struct attempt_result result = {.verdict = ATTEMPT_RETRY};
	char text[CURL_TLS_TEXT_LEN];

	if (!failure && code == CURLE_OK) {
		result.verdict = ATTEMPT_DELIVERED;
	} else if (!failure && a->code >= 400) {
		result.verdict = a->code < 500 ? ATTEMPT_RETRY : ATTEMPT_REFUSED;
		snprintf(result.text, sizeof(result.text), "SMTP %d%s", a->code,
		         a->code == 535 ? ": user or secret is wrong" : "");
	} else {
		snprintf(result.text, sizeof(result.text), "%s",
		         failure ? failure : curl_tls_explain(a->easy, code, text));
	}
	return result;
}

static void on_dialed(CURLcode code, const char *failure, void *arg)
{
	struct smtp_attempt *a = arg;
	const struct attempt_result result = judge(a, code, failure);
	attempt_done_cb *done = a->done;
	void *done_arg = a->arg;

	cancel(a);
	done(&result, done_arg);
}

/* libcurl does not say which one it speaks on: it may try several addresses at once. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct smtp_attempt *a = arg;
	curl_socket_t sock = CURL_SOCKET_BAD;

	(void)purpose;
	for (size_t i = 0; i < SOCKETS_MAX && sock == CURL_SOCKET_BAD; i++) {
		if (a->sockets[i] != CURL_SOCKET_BAD)
			continue;
		sock = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
		a->sockets[i] = sock;
	}
	return sock;
}

static int close_socket(void *arg, curl_socket_t sock)
{
	struct smtp_attempt *a = arg;

	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (a->sockets[i] == sock)
			a->sockets[i] = CURL_SOCKET_BAD;
	}
	return close(sock);
}

/* Not SHUT_RDWR: what is left to say is "QUIT". */
static void stop_reading(const struct smtp_attempt *a)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (a->sockets[i] != CURL_SOCKET_BAD)
			shutdown(a->sockets[i], SHUT_RD);
	}
}

/* A line of a reply; the last one of it has no dash behind the code (RFC 5321, 4.2.1). */
static size_t take_reply(char *bytes, size_t size, size_t count, void *arg)
{
	struct smtp_attempt *a = arg;
	size_t length = size * count;

	a->reply_bytes += length;
	if (a->reply_bytes > REPLIES_MAX_BYTES)
		return 0;
	/* What came before reading was shut can still be read. */
	if (a->decided)
		return length;
	if (length < 4 || bytes[0] < '2' || bytes[0] > '5' || bytes[1] < '0' || bytes[1] > '9' ||
	    bytes[2] < '0' || bytes[2] > '9' || bytes[3] == '-')
		return length;
	a->code = (bytes[0] - '0') * 100 + (bytes[1] - '0') * 10 + bytes[2] - '0';
	a->replies++; /* the first is the greeting, the second answers EHLO */
	a->decided = a->in_data || (a->code >= 400 && !(a->replies == 2 && a->may_say_helo));
	a->in_data = a->code == 354;
	if (a->decided)
		stop_reading(a);
	return length;
}

static size_t throw_away(char *bytes, size_t size, size_t count, void *arg)
{
	(void)bytes;
	(void)arg;
	return size * count;
}

/*
 * libcurl asks here whether to go on, also while it waits. When this turn of the loop began long
 * ago, it is the loop that waits.
 */
static int on_progress(void *arg, curl_off_t a1, curl_off_t a2, curl_off_t a3, curl_off_t a4)
{
	const struct smtp_attempt *a = arg;
	struct timeval began;

	(void)a1;
	(void)a2;
	(void)a3;
	(void)a4;
	if (event_base_gettimeofday_cached(a->base, &began) < 0)
		return 0;
	return clock_wall_ms() - (began.tv_sec * INT64_C(1000) + began.tv_usec / 1000) >
	       BLOCKED_MAX_MS;
}

static int append(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static int add_part(curl_mime *mime, const char *body, const char *type)
{
	curl_mimepart *part = curl_mime_addpart(mime);

	return !part || curl_mime_data(part, body, CURL_ZERO_TERMINATED) ||
	               curl_mime_type(part, type) || curl_mime_encoder(part, "quoted-printable")
	           ? -ENOMEM
	           : 0;
}

/* The one that is liked best comes last (RFC 2046, 5.1.4). */
static int make_mail(struct smtp_attempt *a, const struct attempt_spec *spec)
{
	int rc = mail_make(spec->conf, spec->message, clock_wall_ms(), &a->mail);

	for (size_t i = 0; rc == 0 && i < a->mail.n_headers; i++)
		rc = append(&a->headers, a->mail.headers[i]);
	if (rc == 0)
		rc = append(&a->headers, "Content-Type: multipart/alternative");
	for (size_t i = 0; rc == 0 && i < spec->conf->to.count; i++)
		rc = append(&a->to, spec->conf->to.items[i]);
	if (rc < 0)
		return rc;
	a->mime = curl_mime_init(a->easy);
	if (!a->mime)
		return -ENOMEM;
	rc = add_part(a->mime, a->mail.plain, "text/plain; charset=utf-8");
	return rc < 0 ? rc : add_part(a->mime, a->mail.html, "text/html; charset=utf-8");
}

static int set_options(struct smtp_attempt *a, const struct conf_alert *conf)
{
	CURL *e = a->easy;
	unsigned bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_URL, conf->url);
	bad |= curl_loop_restrict(e);
	bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	bad |= curl_tls_set(e, conf);
	bad |= curl_easy_setopt(
	    e, CURLOPT_USE_SSL,
	    (long)(conf->starttls == CONF_STARTTLS_OFF ? CURLUSESSL_NONE : CURLUSESSL_ALL));
	if (conf->user) {
		bad |= curl_easy_setopt(e, CURLOPT_USERNAME, conf->user);
		bad |= curl_easy_setopt(e, CURLOPT_PASSWORD, conf->secret ? conf->secret : "");
	}
	bad |= curl_easy_setopt(e, CURLOPT_MAIL_FROM, conf->from);
	bad |= curl_easy_setopt(e, CURLOPT_MAIL_RCPT, a->to);
	bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, a->headers);
	bad |= curl_easy_setopt(e, CURLOPT_MIMEPOST, a->mime);
	bad |= curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	bad |= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, a);
	bad |= curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	bad |= curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, a);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_reply);
	bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, a);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, throw_away);
	bad |= curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
	bad |= curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
	bad |= curl_easy_setopt(e, CURLOPT_XFERINFODATA, a);
	return bad ? -EINVAL : 0;
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	struct smtp_attempt *a = calloc(1, sizeof(*a));
	int rc = -ENOMEM;

	if (!a)
		return -ENOMEM;
	a->base = d->base;
	a->done = done;
	a->arg = arg;
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		a->sockets[i] = CURL_SOCKET_BAD;
	a->may_say_helo = spec->conf->starttls == CONF_STARTTLS_OFF && !spec->conf->user;
	a->easy = curl_easy_init();
	if (a->easy)
		rc = make_mail(a, spec);
	if (rc == 0)
		rc = set_options(a, spec->conf);
	if (rc == 0)
		rc = dial_start(d->dialer, a->easy, spec->conf->url, spec->timeout_ms, on_dialed, a,
		                &a->dial);
	if (rc < 0) {
		cancel(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

const struct driver driver_smtp = {.groups = true, .start = start, .cancel = cancel};
