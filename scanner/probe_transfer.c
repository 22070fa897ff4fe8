/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/probe_transfer.h"

#include "common/cleanup.h"
#include "scanner/curl_loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BODY_FIRST_BYTES = 2048,
	OWN_CONNECT_TIMEOUT_MS = 300000, /* libcurl's own */
	READ_BYTES = 4096, /* at once: libcurl has such a buffer for each transfer under way */
	/* "https://" + host + ":65535" + path */
	URL_MAX_LEN = 8 + 256 + 6 + FINGERPRINT_PATH_MAX_LEN,
};

/*
 * Most of a sweep is endpoints that have nothing to show, and to keep a connection that is not used
 * again is costly: libcurl looks through all of them for one to drop. So what comes, as it comes,
 * is a guess at whether there will be another request; a wrong one costs a connection, no more.
 */
static void keep_connection(struct transfer *t, bool keep)
{
	/* libcurl 7.88 fails every other request on a kept one of HTTP/2. And it knows connections
	 * by address, which in another namespace is somebody else's. */
	keep = keep && !t->http2 && !t->from_inside;
	if (keep == t->keeps_open)
		return;
	t->keeps_open = keep;
	curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, keep ? 0L : 1L);
}

/* By its head; the body of a 404 decides. After 4xx of other kinds no further request is likely. */
static bool may_go_on(const struct transfer *t)
{
	return t->status < 400 || t->status == 401 || t->status == 403 || t->status == 404 ||
	       t->go_pprof_header;
}

/* As the rules of fingerprint_rules.h go on: an index, or what looks like Go's own 404. */
static bool is_worth_more(const struct transfer *t, const char *bytes, size_t length)
{
	if (t->status == 200)
		return memmem(bytes, length, "pprof", 5) != NULL; /* in its first lines */
	if (t->status == 404)
		return t->go_pprof_header || memmem(bytes, length, "404 page not found", 18) ||
		       memmem(bytes, length, "Unknown profile", 15) ||
		       memmem(bytes, length, "\"Not Found\"", 11);
	return true;
}

/* What is no HTTP/1.x head: its first bytes tell HTTP/2 and TLS from the rest. */
static size_t take_banner(struct transfer *t, const char *bytes, size_t length)
{
	if (length > sizeof(t->banner))
		length = sizeof(t->banner);
	memcpy(t->banner, bytes, length);
	t->banner_length = length;
	return 0;
}

/* What the server sends is decoded by libcurl; past the cap we stop it, and keep what we have. */
static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t length = size * count;
	size_t room = t->body_max_bytes - t->body_length;
	size_t take = length < room ? length : room;

	if (!t->head_done)
		return take_banner(t, bytes, length);
	if (t->first && t->body_length == 0 && !t->asks_everywhere &&
	    !is_worth_more(t, bytes, length))
		keep_connection(t, false);
	if (t->body_length + take > t->body_size) {
		size_t grown = t->body_size ? t->body_size : BODY_FIRST_BYTES;
		uint8_t *body;

		while (grown < t->body_length + take)
			grown *= 2;
		body = realloc(t->body, grown);
		if (!body)
			return 0;
		t->body = body;
		t->body_size = grown;
	}
	if (take > 0)
		memcpy(t->body + t->body_length, bytes, take);
	t->body_length += take;
	if (take == length)
		return length;
	t->body_cut = true;
	return 0;
}

/* The value of the header line if it has that name, else NULL. */
static const char *match_header(const char *line, size_t length, const char *name,
                                size_t *value_len)
{
	size_t n = strlen(name);

	if (length <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	for (n++; n < length && (line[n] == ' ' || line[n] == '\t'); n++)
		;
	while (length > n && strchr(" \t\r\n", line[length - 1]))
		length--;
	*value_len = length - n;
	return line + n;
}

static void copy_value(char out[static TRANSFER_VALUE_MAX_LEN], const char *value, size_t length)
{
	if (length >= TRANSFER_VALUE_MAX_LEN)
		length = TRANSFER_VALUE_MAX_LEN - 1;
	memcpy(out, value, length);
	out[length] = '\0';
}

static void forget_head(struct transfer *t)
{
	t->status = 0;
	t->head_done = false;
	t->content_type[0] = '\0';
	t->location[0] = '\0';
	t->head[0] = '\0';
	t->head_length = 0;
	t->go_pprof_header = false;
	t->nosniff = false;
}

static void keep_line(struct transfer *t, const char *line, size_t length)
{
	while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
		length--;
	if (length + 2 > sizeof(t->head) - t->head_length || memchr(line, '\0', length))
		return;
	memcpy(t->head + t->head_length, line, length);
	memcpy(t->head + t->head_length + length, "\n", 2);
	t->head_length += length + 1;
}

static void read_header(struct transfer *t, const char *line, size_t length)
{
	const char *value;
	size_t n;

	keep_line(t, line, length);

	/* Most are none of these. */
	if (length == 0 || !strchr("cClLxX", line[0]))
		return;
	if ((value = match_header(line, length, "Content-Type", &n)))
		copy_value(t->content_type, value, n);
	else if ((value = match_header(line, length, "Location", &n)))
		copy_value(t->location, value, n);
	else if ((value = match_header(line, length, "X-Go-Pprof", &n)))
		t->go_pprof_header = n == 1 && *value == '1';
	else if ((value = match_header(line, length, "X-Content-Type-Options", &n)))
		t->nosniff = n == 7 && strncasecmp(value, "nosniff", 7) == 0;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t length = size * count;

	/* Counted over all heads: a server may send 1xx answers without end. */
	t->header_bytes += length;
	if (t->header_bytes > t->header_max_bytes)
		return 0;
	if (!t->head_done && length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
		long status = 0;

		forget_head(t);
		if (!curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status))
			t->status = (int)status;
	} else if (length <= 2 && (length == 0 || bytes[length - 1] == '\n')) {
		/* After a 1xx head the real one comes, but for 101, after which no HTTP does. */
		t->head_done = t->status >= 200 || t->status == 101;
		if (t->head_done && t->first && !t->asks_everywhere)
			keep_connection(t, may_go_on(t));
	} else if (!t->head_done) {
		read_header(t, bytes, length);
	}
	return length;
}

static bool has_proxy(const struct transfer *t)
{
	return t->route && t->route->proxy.family != 0;
}

/* Returns 0 or an errno. An unbound socket needs no privilege for a device since Linux 5.7. */
static int take_route(int fd, const struct probe_route *route)
{
	struct sockaddr_storage source;
	socklen_t length;
	/* A port is chosen at connect(2), else they would run out 28,000 probes into a sweep. */
	int on = 1;

	if (route->interface[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, route->interface,
	                                      (socklen_t)strlen(route->interface)) < 0)
		return errno;
	if (route->source.family == 0)
		return 0;
	length = endpoint_to_sockaddr(&route->source, &source);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&source, length) < 0 ? errno : 0;
}

/*
 * The last line of defence: whatever URL and options say, a probe connects to the address that it
 * was asked to probe and to no other.
 */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = arg;
	const struct endpoint *wanted = has_proxy(t) ? &t->route->proxy : &t->endpoint;
	struct endpoint to = {0};
	int fd;

	if (purpose != CURLSOCKTYPE_IPCXN || endpoint_from_sockaddr(&address->addr, &to) < 0)
		to.family = AF_UNSPEC;
	/* libcurl puts the zone (CURLOPT_ADDRESS_SCOPE) in after it has asked us. */
	if (to.scope_id == 0)
		to.scope_id = wanted->scope_id;
	if (to.family == AF_UNSPEC || endpoint_compare(&to, wanted) != 0) {
		t->socket_error = EADDRNOTAVAIL;
		return CURL_SOCKET_BAD;
	}
	errno = EBADF; /* of one that was given and is used up */
	fd = t->from_inside
	         ? steal_fd(&t->given)
	         : socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
	                  address->protocol);
	if (fd < 0) {
		t->socket_error = errno;
		return CURL_SOCKET_BAD;
	}
	if (t->route && t->route->source.family != 0 && t->route->source.family != to.family)
		t->socket_error = EAFNOSUPPORT;
	else if (t->route)
		t->socket_error = take_route(fd, t->route);
	if (t->socket_error) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	t->socket_opened = true;
	curl_loop_note_socket(t->loop, fd);
	return fd;
}

/* What holds for every request of every probe. */
static bool set_constant_options(struct transfer *t, const char *user_agent, void *owner)
{
	CURL *easy = t->easy;
	CURLcode bad = CURLE_OK;

	/* Under the sandbox there are no files; and we take any certificate, so none is needed. */
	curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	/* Old servers are what a scanner looks for; not every TLS library knows the syntax. */
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_0);
	curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, "DEFAULT:@SECLEVEL=0");

	bad |= curl_easy_setopt(easy, CURLOPT_PRIVATE, owner);
	bad |= curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
	bad |= curl_loop_restrict(easy);
	bad |= curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	bad |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
	/* Sent unasked too, and libcurl decodes it; asked for, it saves the server's uplink. */
	bad |= curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	/* Addresses are numeric; a cache of them would grow by one entry an address. */
	bad |= curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	bad |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
	bad |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_error);
	/* So that take_banner() sees what is no HTTP; it is never taken for an answer. */
	bad |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 1L);
	return bad == CURLE_OK;
}

int transfer_init(struct transfer *t, struct curl_loop *loop, const struct probe_limits *limits,
                  const char *user_agent, void *owner)
{
	memset(t, 0, sizeof(*t));
	t->loop = loop;
	t->given = -1;
	t->keeps_open = true; /* libcurl's default */
	t->header_max_bytes = limits->header_max_bytes;
	t->easy = curl_easy_init();
	if (!t->easy)
		return -ENOMEM;
	if (set_constant_options(t, user_agent, owner))
		return 0;
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	return -ENOMEM;
}

int transfer_set_route(struct transfer *t, const struct probe_route *route)
{
	char text[ENDPOINT_TEXT_LEN], url[ENDPOINT_TEXT_LEN + 8];
	CURLcode bad = CURLE_OK;

	t->route = route;
	if (route->proxy.family == 0)
		return 0;
	snprintf(url, sizeof(url), "http://%s", endpoint_format(&route->proxy, text));
	bad |= curl_easy_setopt(t->easy, CURLOPT_PROXY, url);
	bad |= curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "");
	/* A tunnel also for plain HTTP: else we would judge what the proxy makes of an answer. */
	bad |= curl_easy_setopt(t->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
	bad |= curl_easy_setopt(t->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	bad |= curl_easy_setopt(t->easy, CURLOPT_PROXYUSERNAME, route->proxy_user);
	bad |= curl_easy_setopt(t->easy, CURLOPT_PROXYPASSWORD, route->proxy_password);
	return bad == CURLE_OK ? 0 : -ENOMEM;
}

void transfer_fini(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->connect_to);
	transfer_give_socket(t, -1);
	free(t->body);
}

void transfer_give_socket(struct transfer *t, int fd)
{
	if (t->given >= 0)
		close(t->given);
	t->given = fd;
}

/* An address in a URL or in CONNECT_TO; the scope goes by an option of its own. */
static void format_authority(const struct endpoint *e, char text[static ENDPOINT_TEXT_LEN])
{
	struct endpoint bare = *e;

	bare.scope_id = 0;
	endpoint_format(&bare, text);
}

/* Host header and SNI follow the name in the URL, the connection goes to the address. */
static bool set_destination(struct transfer *t, const struct probe_request *probe,
                            const struct fingerprint_request *request)
{
	char authority[ENDPOINT_TEXT_LEN], connect_to[ENDPOINT_TEXT_LEN + 2];
	char url[URL_MAX_LEN];
	const char *scheme = request->tls ? "https" : "http";
	int n;

	t->endpoint = probe->endpoint;
	curl_slist_free_all(t->connect_to);
	t->connect_to = NULL;
	format_authority(&probe->endpoint, authority);
	if (probe->host[0]) {
		n = snprintf(url, sizeof(url), "%s://%s:%u%s", scheme, probe->host,
		             (unsigned)probe->endpoint.port, request->path);
		/* "::ADDRESS:PORT": for any host and port in the URL. */
		snprintf(connect_to, sizeof(connect_to), "::%s", authority);
		t->connect_to = curl_slist_append(NULL, connect_to);
		if (!t->connect_to)
			return false;
	} else {
		n = snprintf(url, sizeof(url), "%s://%s%s", scheme, authority, request->path);
	}
	if (n < 0 || (size_t)n >= sizeof(url))
		return false;
	return !curl_easy_setopt(t->easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to) &&
	       !curl_easy_setopt(t->easy, CURLOPT_ADDRESS_SCOPE,
	                         (long)(has_proxy(t) ? &t->route->proxy : &t->endpoint)->scope_id);
}

int transfer_prepare(struct transfer *t, const struct probe_request *probe,
                     const struct fingerprint_request *request, const struct probe_limits *limits,
                     bool first)
{
	int64_t timeout_ms = probe->timeout_ms ? probe->timeout_ms : limits->request_timeout_ms;
	int64_t connect_ms =
	    limits->connect_timeout_ms < timeout_ms ? limits->connect_timeout_ms : timeout_ms;

	forget_head(t);
	t->header_bytes = 0;
	t->body_length = 0;
	t->body_cut = false;
	t->banner_length = 0;
	t->curl_error[0] = '\0';
	t->socket_opened = false;
	t->socket_error = 0;
	t->first = first;
	t->from_inside = probe->from_inside;
	t->tls = request->tls;
	t->http2 = request->http2;
	t->body_max_bytes = request->body_max_bytes < limits->body_max_bytes
	                        ? request->body_max_bytes
	                        : limits->body_max_bytes;
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	/* Where it says nothing more it is left out, so that libcurl has one timer less to keep. */
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
	                 connect_ms < timeout_ms || timeout_ms >= OWN_CONNECT_TIMEOUT_MS
	                     ? (long)connect_ms
	                     : 0L);
	keep_connection(t, !request->last);
	/* Plain requests never wait for the acknowledgement of an earlier segment. */
	curl_easy_setopt(t->easy, CURLOPT_TCP_NODELAY, request->tls ? 1L : 0L);
	/* libcurl does not tell connections apart by their scope, nor by their namespace. */
	first = first || t->http2 || t->from_inside || probe->endpoint.scope_id;
	curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, first ? 1L : 0L);
	curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION,
	                 !request->http2 ? (long)CURL_HTTP_VERSION_1_1
	                 : request->tls  ? (long)CURL_HTTP_VERSION_2TLS
	                                 : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	return set_destination(t, probe, request) ? 0 : -ENOMEM;
}

static int os_error(const struct transfer *t)
{
	long error = 0;

	if (t->socket_error)
		return t->socket_error;
	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &error);
	return (int)error;
}

bool transfer_is_starved(const struct transfer *t, CURLcode result)
{
	int error;

	if (result != CURLE_COULDNT_CONNECT && result != CURLE_ABORTED_BY_CALLBACK)
		return false;
	error = os_error(t);
	/* EADDRNOTAVAIL from connect(2): no local port is free towards that endpoint. */
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
	       (error == EADDRNOTAVAIL && t->socket_opened);
}

/* CURLINFO_CONNECT_TIME will not do: it is 0 as long as TLS has not come about. */
static bool was_connected(const struct transfer *t, CURLcode result)
{
	long local_port = 0;

	if (result == CURLE_COULDNT_CONNECT)
		return false;
	if (!t->socket_opened)
		return t->socket_error == 0; /* on a kept connection */
	curl_easy_getinfo(t->easy, CURLINFO_LOCAL_PORT, &local_port);
	return local_port != 0;
}

static bool was_encrypted(const struct transfer *t)
{
	curl_off_t encrypted_us = 0;

	if (!t->tls || !t->socket_opened)
		return t->tls;
	curl_easy_getinfo(t->easy, CURLINFO_APPCONNECT_TIME_T, &encrypted_us);
	return encrypted_us > 0;
}

/* A proxy's refusal says nothing certain of the endpoint: it may be ours, or the proxy's network's.
 */
static bool failed_at_proxy(const struct transfer *t)
{
	long code = 0;

	if (!has_proxy(t) || t->head_done || (!t->socket_opened && !t->socket_error))
		return false;
	curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &code);
	return code / 100 != 2;
}

bool transfer_is_proxy_failure(const struct transfer *t, CURLcode result)
{
	long code = 0;

	curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &code);
	if (code == 0)
		return result != CURLE_OPERATION_TIMEDOUT || !was_connected(t, result);
	return code / 100 != 5;
}

/* No head of an HTTP answer came whole: why? 0 when the peer spoke, but not HTTP. */
static int find_error(const struct transfer *t, CURLcode result)
{
	int error = os_error(t);

	if (!was_connected(t, result)) {
		if (result == CURLE_OPERATION_TIMEDOUT)
			return -ETIMEDOUT;
		return error ? -error : -EIO;
	}
	if (t->tls && !was_encrypted(t) && result != CURLE_OPERATION_TIMEDOUT)
		return -EPROTO;
	switch ((int)result) {
	case CURLE_OPERATION_TIMEDOUT:   /* timed_out says it */
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, a banner */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2: return 0;
	case CURLE_WRITE_ERROR: /* of ours: on a banner we hang up, and heads have a cap */
		return t->banner_length > 0 ? 0 : -EMSGSIZE;
	case CURLE_OK:          /* closed within a head */
	case CURLE_GOT_NOTHING: /* or before it */
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR: return -ECONNRESET;
	case CURLE_OUT_OF_MEMORY: return -ENOMEM;
	default: return error ? -error : -EPROTO;
	}
}

void transfer_answer(const struct transfer *t, CURLcode result, struct http_answer *out)
{
	*out = (struct http_answer){
	    .timed_out = result == CURLE_OPERATION_TIMEDOUT && was_connected(t, result),
	    .tls = was_encrypted(t),
	    .status = t->status,
	    .content_type = t->content_type,
	    .location = t->location,
	    .head = t->head,
	    .go_pprof_header = t->go_pprof_header,
	    .nosniff = t->nosniff,
	    .body = t->body,
	    .body_length = t->body_length,
	    .truncated = t->body_cut || result != CURLE_OK,
	};
	/* What arrived still counts, however the transfer ended; but not half a head: to drip one,
	 * or to make it endless, must not look like an answer without profiles. */
	if (t->head_done)
		return;
	out->status = 0;
	out->content_type = "";
	out->location = "";
	out->head = "";
	out->go_pprof_header = false;
	out->nosniff = false;
	out->error = find_error(t, result);
	if (failed_at_proxy(t)) {
		out->error = -EREMOTEIO;
		out->timed_out = false;
	}
	out->body = t->banner;
	out->body_length = t->banner_length;
	out->alpn_refused = out->error == -EPROTO && strstr(t->curl_error, "application protocol");
}

void transfer_detach(struct transfer *t, CURLM *multi, bool is_last)
{
	curl_socket_t kept = CURL_SOCKET_BAD;

	/*
	 * Only as long as the handle is in there does libcurl know the connection; and it walks
	 * through all of them to find it.
	 */
	if (is_last && t->keeps_open && curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &kept))
		kept = CURL_SOCKET_BAD;
	curl_multi_remove_handle(multi, t->easy);
	if (kept != CURL_SOCKET_BAD)
		shutdown(kept, SHUT_RDWR);
}

void transfer_release(struct transfer *t)
{
	transfer_give_socket(t, -1);
	if (t->body_size <= BODY_FIRST_BYTES)
		return;
	free(t->body);
	t->body = NULL;
	t->body_size = 0;
}
