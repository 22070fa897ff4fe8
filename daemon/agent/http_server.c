/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/http_server.h"

#include "common/cleanup.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum {
	HEADERS_MAX_BYTES = 8 * 1024,
	BODY_MAX_BYTES = 8 * 1024, /* read to answer 405, and thrown away */
	DEADLINE_SEC = 5,
	MAX_CONNECTIONS = 64,
	BACKLOG = 128,
	SWEEP_MS = 200,
	HOST_MAX_LEN = 256,
	HTTP_MISDIRECTED = 421, /* RFC 9110, 15.5.20 */
};

/*
 * The deadline of one connection, from accept to the last byte: evhttp's own timeout starts anew
 * with every byte, which is what a slow client lives on. We hold a reference to the bufferevent;
 * when evhttp has freed it, its callbacks are gone.
 */
struct client {
	LIST_ENTRY(client) entry;
	struct http_server *server;
	struct bufferevent *bev;
	struct event *deadline;
};

struct http_server {
	struct event_base *base;
	struct evhttp *http;
	struct evconnlistener *listener; /* owned by `http` */
	struct event *sweep;
	struct http_handlers handlers;
	unsigned n_clients;
	LIST_HEAD(, client) clients;
};

static bool is_alive(const struct client *c)
{
	bufferevent_event_cb on_event = NULL;

	bufferevent_getcb(c->bev, NULL, NULL, &on_event, NULL);
	return on_event != NULL;
}

static void forget_client(struct client *c)
{
	LIST_REMOVE(c, entry);
	c->server->n_clients--;
	event_free(c->deadline);
	bufferevent_decref(c->bev);
	free(c);
}

static void sweep_clients(struct http_server *server)
{
	struct client *c, *next;

	for (c = LIST_FIRST(&server->clients); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (!is_alive(c))
			forget_client(c);
	}
}

/* Descriptors or connections have run out: look again soon, and don't spin until then. */
static void pause_accepting(struct http_server *server)
{
	const struct timeval soon = {.tv_usec = SWEEP_MS * 1000};

	evconnlistener_disable(server->listener);
	evtimer_add(server->sweep, &soon);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *server = arg;

	(void)fd;
	(void)what;
	sweep_clients(server);
	if (server->n_clients >= MAX_CONNECTIONS)
		pause_accepting(server);
	else
		evconnlistener_enable(server->listener);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	if (is_alive(c))
		shutdown(bufferevent_getfd(c->bev), SHUT_RDWR); /* evhttp sees the end and frees */
	forget_client(c);
}

/* evhttp asks for the bufferevent of each connection that it accepts. */
static struct bufferevent *make_connection(struct event_base *base, void *arg)
{
	const struct timeval deadline = {.tv_sec = DEADLINE_SEC};
	struct http_server *server = arg;
	struct client *c = calloc(1, sizeof(*c));
	/*
	 * The descriptor must live as long as the bufferevent that we hold: were it closed by
	 * evhttp before, its number would be taken again while libevent still watches it, and
	 * whatever got the number would stay deaf. evhttp sends the end by shutdown(2) in either
	 * case.
	 */
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (c && bev)
		c->deadline = evtimer_new(base, on_deadline, c);
	if (!c || !bev || !c->deadline) {
		free(c);
		return bev; /* evhttp's own timeout has to do */
	}
	evtimer_add(c->deadline, &deadline);
	/* What comes after evhttp has lost interest is not read for ever. */
	bufferevent_setwatermark(bev, EV_READ, 0, HEADERS_MAX_BYTES + BODY_MAX_BYTES);
	if (server->n_clients + 1 >= MAX_CONNECTIONS)
		sweep_clients(server); /* before the new one, which has no callbacks yet */
	c->server = server;
	c->bev = bev;
	bufferevent_incref(bev);
	LIST_INSERT_HEAD(&server->clients, c, entry);
	server->n_clients++;
	if (server->n_clients >= MAX_CONNECTIONS)
		pause_accepting(server);
	return bev;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "localhost:80" */
static bool host_is_literal(const char *host)
{
	char name[HOST_MAX_LEN];
	struct endpoint ignored;
	uint16_t port;
	char *rest;

	if (strlen(host) >= sizeof(name))
		return false;
	strcpy(name, host);
	rest = name[0] == '[' ? strchr(name, ']') : strchr(name, ':');
	if (name[0] == '[' && !rest)
		return false;
	if (rest && *rest == ']')
		*rest++ = '\0';
	if (rest && *rest == ':') {
		*rest++ = '\0';
		if (endpoint_parse_port(rest, &port) != 0)
			return false;
	} else if (rest && *rest) {
		return false;
	}
	if (name[0] == '[')
		return endpoint_parse_address(name + 1, &ignored) == 0 && strchr(name + 1, ':');
	return strcasecmp(name, "localhost") == 0 || endpoint_parse_address(name, &ignored) == 0;
}

/*
 * A page in a browser that rebinds its own name to our address would read us as its own origin.
 * It cannot choose another Host than that name.
 */
static bool host_is_ours(struct evhttp_request *req)
{
	const struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
	const char *in_uri = evhttp_uri_get_host(evhttp_request_get_evhttp_uri(req));
	const struct evkeyval *header;

	if (in_uri && !host_is_literal(in_uri))
		return false;
	TAILQ_FOREACH (header, headers, next) {
		if (strcasecmp(header->key, "Host") == 0 && !host_is_literal(header->value))
			return false;
	}
	return true;
}

static void reply(struct evhttp_request *req, int status, const char *reason, const char *type,
                  struct evbuffer *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char length[32];

	snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Content-Length", length);
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(headers, "Connection", "close");
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
		evbuffer_drain(body, evbuffer_get_length(body));
	evhttp_send_reply(req, status, reason, body);
}

static void route(const struct http_server *server, struct evhttp_request *req,
                  struct evbuffer *body)
{
	static const char text[] = "text/plain; charset=utf-8";
	const struct http_handlers *h = &server->handlers;
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	enum evhttp_cmd_type method = evhttp_request_get_command(req);

	if (!host_is_ours(req)) {
		evbuffer_add_printf(body, "Host must be an address or localhost\n");
		reply(req, HTTP_MISDIRECTED, "Misdirected Request", text, body);
	} else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
		reply(req, HTTP_BADMETHOD, "Method Not Allowed", text, body);
	} else if (path && strcmp(path, "/metrics") == 0) {
		h->metrics(body, h->arg);
		reply(req, HTTP_OK, "OK", "text/plain; version=0.0.4; charset=utf-8", body);
	} else if (path && strcmp(path, "/healthz") == 0) {
		evbuffer_add_printf(body, "ok\n");
		reply(req, HTTP_OK, "OK", text, body);
	} else if (path && strcmp(path, "/readyz") == 0) {
		bool ready = h->ready(body, h->arg);

		if (ready)
			evbuffer_add_printf(body, "ready\n");
		reply(req, ready ? HTTP_OK : HTTP_SERVUNAVAIL, ready ? "OK" : "Service Unavailable",
		      text, body);
	} else {
		evbuffer_add_printf(body, "not found\n");
		reply(req, HTTP_NOTFOUND, "Not Found", text, body);
	}
}

/* evhttp is about to free it: the usual end of a connection, so that none waits for its deadline.
 */
static void on_close(struct evhttp_connection *connection, void *arg)
{
	const struct bufferevent *bev = evhttp_connection_get_bufferevent(connection);
	struct http_server *server = arg;
	struct client *c;

	LIST_FOREACH (c, &server->clients, entry) {
		if (c->bev == bev) {
			forget_client(c);
			return;
		}
	}
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct evbuffer *body = evbuffer_new();

	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, arg);
	if (!body) {
		evhttp_send_error(req, HTTP_INTERNAL, NULL);
		return;
	}
	route(arg, req, body);
	evbuffer_free(body);
}

static int make_socket(const struct endpoint *listen_on, int *out)
{
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(listen_on, &address);
	auto_close int fd =
	    socket(listen_on->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (listen_on->family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*out = steal_fd(&fd);
	return 0;
}

static int set_up_http(struct http_server *server)
{
	server->http = evhttp_new(server->base);
	server->sweep = evtimer_new(server->base, on_sweep, server);
	if (!server->http || !server->sweep)
		return -ENOMEM;
	evhttp_set_max_headers_size(server->http, HEADERS_MAX_BYTES);
	evhttp_set_max_body_size(server->http, BODY_MAX_BYTES);
	evhttp_set_timeout(server->http, DEADLINE_SEC);
	/* All that it knows, so that the answer is our 405 and not its 501. */
	evhttp_set_allowed_methods(server->http,
	                           EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
	                               EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
	                               EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
	evhttp_set_bevcb(server->http, make_connection, server);
	evhttp_set_gencb(server->http, on_request, server);
	return 0;
}

int http_server_new(struct event_base *base, const struct endpoint *listen_on,
                    const struct http_handlers *handlers, struct http_server **out)
{
	auto_close int fd = -1;
	struct http_server *server = NULL;
	int error = make_socket(listen_on, &fd);

	if (error)
		return error;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	LIST_INIT(&server->clients);
	server->base = base;
	server->handlers = *handlers;
	error = set_up_http(server);
	if (!error) {
		server->listener = evconnlistener_new(
		    base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
		if (!server->listener)
			error = -ENOMEM;
		else
			steal_fd(&fd);
	}
	if (!error && !evhttp_bind_listener(server->http, server->listener)) {
		evconnlistener_free(server->listener);
		error = -ENOMEM;
	}
	if (error) {
		http_server_free(server);
		return error;
	}
	*out = server;
	return 0;
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	if (server->http)
		evhttp_free(server->http);
	while (!LIST_EMPTY(&server->clients))
		forget_client(LIST_FIRST(&server->clients));
	if (server->sweep)
		event_free(server->sweep);
	free(server);
}
