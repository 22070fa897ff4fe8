/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl connects, verifies the certificate and gives its socket to us (CURLOPT_CONNECT_ONLY): so
 * TLS is the same as everywhere. The receiver says nothing in this protocol. What it closes is seen
 * at once, or else a message would go where nobody reads it.
 */
#include "daemon/sender/syslog_links.h"

#include "common/cleanup.h"
#include "daemon/sender/curl_tls.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

enum {
	IDLE_MAX_S = 300,
	HEARD_MAX_BYTES = 64 * 1024, /* of who has nothing to say */
};

struct syslog_link {
	TAILQ_ENTRY(syslog_link) entry;
	struct syslog_links *owner;
	char *name; /* of the sink */
	char *way;  /* all that says how to connect; for comparison */
	char *url;
	CURL *easy;
	struct dial *dial;
	bool connected;
	size_t heard_bytes;
	struct event *readable, *writable;
	struct event *timer; /* the deadline of what is under way, or the end of idleness */
	/* What is under way, if `done` is not NULL. */
	const char *bytes;
	size_t length, sent;
	syslog_sent_cb *done;
	void *arg;
};

struct syslog_links {
	struct event_base *base;
	struct dialer *dialer;
	TAILQ_HEAD(, syslog_link) list;
};

static void disconnect(struct syslog_link *link)
{
	if (link->readable)
		event_free(link->readable);
	if (link->writable)
		event_free(link->writable);
	link->readable = link->writable = NULL;
	dial_free(link->dial);
	link->dial = NULL;
	if (link->easy)
		curl_easy_cleanup(link->easy);
	link->easy = NULL;
	link->connected = false;
	link->heard_bytes = 0;
}

static void free_link(struct syslog_link *link)
{
	TAILQ_REMOVE(&link->owner->list, link, entry);
	disconnect(link);
	if (link->timer)
		event_free(link->timer);
	free(link->name);
	free(link->way);
	if (link->url)
		explicit_bzero(link->url, strlen(link->url));
	free(link->url);
	free(link);
}

static void set_timer(struct syslog_link *link, int64_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_add(link->timer, &tv);
}

static void finish(struct syslog_link *link, const char *failure)
{
	syslog_sent_cb *done = link->done;

	link->done = NULL;
	if (failure)
		disconnect(link);
	set_timer(link, IDLE_MAX_S * INT64_C(1000));
	done(failure, link->arg);
}

/* False when the other side has closed, or talks. What it says, it says in vain. */
static bool is_alive(struct syslog_link *link)
{
	char bytes[1024];
	size_t n;

	while (link->heard_bytes <= HEARD_MAX_BYTES) {
		CURLcode code = curl_easy_recv(link->easy, bytes, sizeof(bytes), &n);

		if (code == CURLE_AGAIN)
			return true;
		if (code != CURLE_OK || n == 0)
			return false;
		link->heard_bytes += n;
	}
	return false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct syslog_link *link = arg;

	(void)fd;
	(void)what;
	if (is_alive(link))
		return;
	if (link->done)
		finish(link, "the receiver has closed the connection");
	else
		disconnect(link);
}

static void write_some(struct syslog_link *link)
{
	while (link->sent < link->length) {
		size_t n = 0;
		CURLcode code = curl_easy_send(link->easy, link->bytes + link->sent,
		                               link->length - link->sent, &n);

		if (code == CURLE_AGAIN) {
			event_add(link->writable, NULL);
			return;
		}
		if (code != CURLE_OK) {
			finish(link, curl_easy_strerror(code));
			return;
		}
		link->sent += n;
	}
	finish(link, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	write_some(arg);
}

static void on_dialed(CURLcode code, const char *failure, void *arg)
{
	struct syslog_link *link = arg;
	curl_socket_t sock = CURL_SOCKET_BAD;
	char text[CURL_TLS_TEXT_LEN];

	if (failure || code != CURLE_OK) {
		/* Copied: what it stands in may go with the connection. */
		snprintf(text, sizeof(text), "%s", failure ? failure : "");
		finish(link, failure ? text : curl_tls_explain(link->easy, code, text));
		return;
	}
	curl_easy_getinfo(link->easy, CURLINFO_ACTIVESOCKET, &sock);
	if (sock != CURL_SOCKET_BAD) {
		link->readable =
		    event_new(link->owner->base, sock, EV_READ | EV_PERSIST, on_readable, link);
		link->writable = event_new(link->owner->base, sock, EV_WRITE, on_writable, link);
	}
	if (!link->readable || !link->writable || event_add(link->readable, NULL) < 0) {
		finish(link, "out of memory");
		return;
	}
	link->connected = true;
	write_some(link);
}

static int connect_link(struct syslog_link *link, const struct conf_alert *conf, int64_t timeout_ms)
{
	unsigned bad = 0;

	link->easy = curl_easy_init();
	if (!link->easy)
		return -ENOMEM;
	bad |= curl_easy_setopt(link->easy, CURLOPT_URL, link->url);
	bad |= curl_loop_restrict(link->easy);
	bad |= curl_tls_set(link->easy, conf);
	bad |= curl_easy_setopt(link->easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
	bad |= curl_easy_setopt(link->easy, CURLOPT_CONNECT_ONLY, 1L);
	if (bad)
		return -EINVAL;
	return dial_start(link->owner->dialer, link->easy, link->url, timeout_ms, on_dialed, link,
	                  &link->dial);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct syslog_link *link = arg;

	(void)fd;
	(void)what;
	if (!link->done)
		free_link(link);
	else
		finish(link, curl_easy_strerror(CURLE_OPERATION_TIMEDOUT));
}

/* tcp:// and tls:// as libcurl knows them, with their ports (RFC 6587, RFC 5425). */
static char *make_url(const char *url)
{
	CURLU *parts = curl_url();
	bool tls = strncasecmp(url, "tls:", 4) == 0;
	char *port = NULL, *text = NULL, *copy = NULL;

	if (!parts)
		return NULL;
	if (!curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) &&
	    !curl_url_set(parts, CURLUPART_SCHEME, tls ? "https" : "http", 0)) {
		if (curl_url_get(parts, CURLUPART_PORT, &port, 0))
			curl_url_set(parts, CURLUPART_PORT, tls ? "6514" : "601", 0);
		if (!curl_url_get(parts, CURLUPART_URL, &text, 0))
			copy = strdup(text);
	}
	curl_free(port);
	curl_free(text);
	curl_url_cleanup(parts);
	return copy;
}

static struct syslog_link *make_link(struct syslog_links *links, const struct conf_alert *conf,
                                     char *way)
{
	struct syslog_link *link = calloc(1, sizeof(*link));

	if (!link) {
		free(way);
		return NULL;
	}
	link->owner = links;
	link->way = way;
	TAILQ_INSERT_TAIL(&links->list, link, entry);
	link->name = strdup(conf->name);
	link->url = make_url(conf->url);
	link->timer = evtimer_new(links->base, on_timer, link);
	if (link->name && link->url && link->timer)
		return link;
	free_link(link);
	return NULL;
}

/* That of this sink, if it still leads to the same place in the same way; else a new one. */
static struct syslog_link *find_link(struct syslog_links *links, const struct conf_alert *conf)
{
	struct syslog_link *link;
	char *way;

	if (asprintf(&way, "%s\n%s\n%s", conf->url, conf->ca_file ? conf->ca_file : "",
	             conf->cert_file ? conf->cert_file : "") < 0)
		return NULL;
	TAILQ_FOREACH (link, &links->list, entry) {
		if (strcmp(link->name, conf->name) != 0)
			continue;
		if (strcmp(link->way, way) == 0 && !link->done) {
			free(way);
			return link;
		}
		free_link(link);
		break;
	}
	return make_link(links, conf, way);
}

int syslog_links_send(struct syslog_links *links, const struct conf_alert *conf, const char *bytes,
                      size_t length, int64_t timeout_ms, syslog_sent_cb *done, void *arg,
                      struct syslog_link **out)
{
	struct syslog_link *link = find_link(links, conf);
	int rc = 0;

	if (!link)
		return -ENOMEM;
	if (link->connected && !is_alive(link))
		disconnect(link);
	link->bytes = bytes;
	link->length = length;
	link->sent = 0;
	link->done = done;
	link->arg = arg;
	set_timer(link, timeout_ms);
	if (link->connected)
		event_active(link->writable, EV_WRITE, 0);
	else
		rc = connect_link(link, conf, timeout_ms);
	if (rc < 0) {
		free_link(link);
		return rc;
	}
	*out = link;
	return 0;
}

void syslog_link_cancel(struct syslog_link *link)
{
	free_link(link);
}

int syslog_links_new(struct event_base *base, struct dialer *dialer, struct syslog_links **out)
{
	struct syslog_links *links = calloc(1, sizeof(*links));

	if (!links)
		return -ENOMEM;
	links->base = base;
	links->dialer = dialer;
	TAILQ_INIT(&links->list);
	*out = links;
	return 0;
}

void syslog_links_free(struct syslog_links *links)
{
	struct syslog_link *link;

	if (!links)
		return;
	while ((link = TAILQ_FIRST(&links->list)))
		free_link(link);
	free(links);
}
