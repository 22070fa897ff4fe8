/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/control_server.h"

#include "common/cleanup.h"
#include "common/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum { ACCEPT_PAUSE_MS = 200, ERROR_LEN = 1024, MAX_GROUPS = 65536 /* NGROUPS_MAX */ };

enum phase {
	READING,   /* the request, until the deadline */
	ANSWERING, /* the handler owes an answer; its own deadlines hold */
	WRITING,   /* the answer, until a deadline of its own */
};

struct control_request {
	LIST_ENTRY(control_request) entry;
	struct control_server *server; /* NULL once it was freed; only an answer is owed then */
	struct bufferevent *bev;       /* NULL once the client has gone */
	struct event *deadline;
	enum phase phase;
	struct control_peer peer;
};

struct control_server {
	struct event_base *base;
	struct evconnlistener *listener;
	struct event *resume; /* accepts again, after descriptors had run out */
	gid_t group;
	control_handler *handler;
	void *arg;
	unsigned n_clients;
	LIST_HEAD(, control_request) clients;
};

static struct timeval timeval_of(int ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static void drop_connection(struct control_request *cr)
{
	if (cr->bev)
		bufferevent_free(cr->bev);
	if (cr->deadline)
		event_free(cr->deadline);
	cr->bev = NULL;
	cr->deadline = NULL;
}

static void end_request(struct control_request *cr)
{
	struct control_server *server = cr->server;

	drop_connection(cr);
	if (server) {
		LIST_REMOVE(cr, entry);
		server->n_clients--;
		if (!evtimer_pending(server->resume, NULL))
			evconnlistener_enable(server->listener);
	}
	free(cr);
}

/* While an answer is owed, the request outlives its client. */
static void lose_client(struct control_request *cr)
{
	if (cr->phase == ANSWERING)
		drop_connection(cr);
	else
		end_request(cr);
}

static void free_text(const void *data, size_t length, void *text)
{
	(void)data;
	(void)length;
	free(text);
}

static void write_answer(struct control_request *cr, char *text)
{
	struct evbuffer *out = bufferevent_get_output(cr->bev);
	struct timeval deadline = timeval_of(CONTROL_CLIENT_DEADLINE_MS);

	cr->phase = WRITING;
	bufferevent_disable(cr->bev, EV_READ);
	if (evbuffer_add_reference(out, text, strlen(text), free_text, text) < 0) {
		free(text);
		end_request(cr);
		return;
	}
	if (evbuffer_add(out, "\n", 1) < 0 || evtimer_add(cr->deadline, &deadline) < 0)
		end_request(cr);
}

void control_answer(struct control_request *cr, json_t *answer)
{
	char *text = NULL;

	if (cr->bev) {
		if (!json_object_get(answer, "ok"))
			json_object_set_new(answer, "ok", json_true());
		text = json_dumps(answer, JSON_COMPACT);
		if (text && strlen(text) >= CONTROL_ANSWER_MAX_BYTES) {
			free(text);
			text = strdup("{\"ok\":false,\"error\":\"the answer is too long\"}");
		}
		if (!text) /* out of memory, or a text that is not UTF-8 */
			text = strdup("{\"ok\":false,\"error\":\"the answer cannot be written\"}");
	}
	json_decref(answer);
	if (text)
		write_answer(cr, text);
	else
		end_request(cr);
}

void control_answer_error(struct control_request *cr, const char *format, ...)
{
	char text[ERROR_LEN];
	va_list args;
	json_t *message;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Cut in the middle of a character, or with a name that is not UTF-8: still an answer. */
	message = json_string(text);
	if (!message) {
		for (char *c = text; *c; c++)
			*c = (unsigned char)*c < 0x80 ? *c : '?';
		message = json_string(text);
	}
	control_answer(cr, json_pack("{s:b, s:o}", "ok", 0, "error", message));
}

static void handle_line(struct control_request *cr, const char *line, size_t length)
{
	json_error_t error;
	json_t *request;

	cr->phase = ANSWERING;
	evtimer_del(cr->deadline);
	request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	if (!request) {
		control_answer_error(cr, "not a JSON object: %s", error.text);
		return;
	}
	if (json_is_object(request))
		cr->server->handler(cr, &cr->peer, request, cr->server->arg);
	else
		control_answer_error(cr, "not a JSON object");
	json_decref(request);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct control_request *cr = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	auto_free char *line = NULL;
	size_t length;

	if (cr->phase != READING) {
		evbuffer_drain(in, evbuffer_get_length(in)); /* one request a client */
		return;
	}
	line = evbuffer_readln(in, &length, EVBUFFER_EOL_LF);
	if (line && length <= CONTROL_REQUEST_MAX_BYTES) {
		handle_line(cr, line, length);
	} else if (line || evbuffer_get_length(in) > CONTROL_REQUEST_MAX_BYTES) {
		cr->phase = ANSWERING;
		control_answer_error(cr, "the request is longer than %d bytes",
		                     CONTROL_REQUEST_MAX_BYTES);
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct control_request *cr = arg;

	if (cr->phase == WRITING && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		end_request(cr);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct control_request *cr = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF) || (what & BEV_EVENT_WRITING)) {
		lose_client(cr);
	} else if (cr->phase == READING) {
		cr->phase = ANSWERING;
		control_answer_error(cr, "the request does not end with a newline");
	}
	/* Otherwise it has only shut down its half, as `nc -N` does, and waits for the answer. */
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lose_client(arg);
}

static bool in_groups(int fd, gid_t group)
{
	socklen_t length = 0;
	auto_free gid_t *groups = NULL;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &length) < 0 && errno != ERANGE)
		return false;
	if (length == 0 || length > MAX_GROUPS * sizeof(*groups))
		return false;
	groups = malloc(length);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
		return false;
	for (size_t i = 0; i < length / sizeof(*groups); i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

static uid_t read_login_uid(pid_t pid)
{
	char path[64], text[32];
	auto_close int fd = -1;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length <= 0)
		return (uid_t)-1;
	text[length] = '\0';
	return (uid_t)strtoul(text, NULL, 10);
}

/*
 * Of this machine's own users. getpwuid(3) would also ask a directory service, which may not
 * answer while the network is what we are at work on, and the loop would wait for it.
 */
static void name_of(uid_t uid, char out[static 48])
{
	auto_fclose FILE *file = fopen("/etc/passwd", "re");
	char buffer[4096];
	struct passwd entry = {0}, *user = NULL;

	snprintf(out, 48, "uid %u", (unsigned)uid);
	while (file && fgetpwent_r(file, &entry, buffer, sizeof(buffer), &user) == 0) {
		if (user->pw_uid != uid)
			continue;
		snprintf(out, 48, "%s", user->pw_name);
		return;
	}
}

/* Returns whether the peer may use the socket. */
static bool admit(const struct control_server *server, int fd, struct control_peer *peer)
{
	struct ucred cred;
	socklen_t length = sizeof(cred);
	char user[48], login[48];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return false;
	if (cred.uid != 0 && cred.uid != geteuid() && cred.gid != server->group &&
	    !in_groups(fd, server->group))
		return false;
	peer->pid = cred.pid;
	peer->uid = cred.uid;
	peer->login_uid = read_login_uid(cred.pid);
	name_of(cred.uid, user);
	if (peer->login_uid == (uid_t)-1 || peer->login_uid == cred.uid) {
		snprintf(peer->who, sizeof(peer->who), "%s", user);
	} else {
		name_of(peer->login_uid, login);
		snprintf(peer->who, sizeof(peer->who), "%s as %s", login, user);
	}
	return true;
}

static int start_client(struct control_server *server, int *fd, const struct control_peer *peer)
{
	struct timeval deadline = timeval_of(CONTROL_CLIENT_DEADLINE_MS);
	struct control_request *cr = calloc(1, sizeof(*cr));

	if (!cr)
		return -ENOMEM;
	cr->peer = *peer;
	cr->bev = bufferevent_socket_new(server->base, *fd, BEV_OPT_CLOSE_ON_FREE);
	if (cr->bev)
		steal_fd(fd);
	cr->deadline = evtimer_new(server->base, on_deadline, cr);
	if (!cr->bev || !cr->deadline || evtimer_add(cr->deadline, &deadline) < 0) {
		end_request(cr); /* not the server's yet */
		return -ENOMEM;
	}
	cr->server = server;
	LIST_INSERT_HEAD(&server->clients, cr, entry);
	server->n_clients++;
	bufferevent_setcb(cr->bev, on_read, on_written, on_event, cr);
	/* A client that sends without end fills the socket, not our memory. */
	bufferevent_setwatermark(cr->bev, EV_READ, 0, 2 * CONTROL_REQUEST_MAX_BYTES);
	bufferevent_enable(cr->bev, EV_READ | EV_WRITE);
	return 0;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t accepted,
                      struct sockaddr *address, int length, void *arg)
{
	static const char refusal[] =
	    "{\"ok\":false,\"error\":\"permission denied: not a member of the control group\"}\n";
	struct control_server *server = arg;
	struct control_peer peer = {0};
	auto_close int fd = accepted;

	(void)address;
	(void)length;
	if (!admit(server, fd, &peer)) {
		(void)send(fd, refusal, strlen(refusal), MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	}
	if (start_client(server, &fd, &peer) == 0 && server->n_clients >= CONTROL_MAX_CLIENTS)
		evconnlistener_disable(listener); /* the others wait in the backlog */
}

/* Out of descriptors or memory: the connection stays in the backlog, so don't spin on it. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct control_server *server = arg;
	struct timeval pause = timeval_of(ACCEPT_PAUSE_MS);

	evconnlistener_disable(listener);
	evtimer_add(server->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct control_server *server = arg;

	(void)fd;
	(void)what;
	if (server->n_clients < CONTROL_MAX_CLIENTS)
		evconnlistener_enable(server->listener);
}

int control_server_new(struct event_base *base, int listen_fd, gid_t group,
                       control_handler *handler, void *arg, struct control_server **out)
{
	auto_close int fd = listen_fd;
	struct control_server *server = calloc(1, sizeof(*server));

	if (!server)
		return -ENOMEM;
	LIST_INIT(&server->clients);
	server->base = base;
	server->group = group;
	server->handler = handler;
	server->arg = arg;
	server->resume = evtimer_new(base, on_resume, server);
	/* Backlog 0: it listens already. */
	if (server->resume && evutil_make_socket_nonblocking(fd) == 0)
		server->listener = evconnlistener_new(
		    base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!server->listener) {
		control_server_free(server);
		return -ENOMEM;
	}
	steal_fd(&fd);
	evconnlistener_set_error_cb(server->listener, on_accept_error);
	*out = server;
	return 0;
}

void control_server_free(struct control_server *server)
{
	struct control_request *cr, *next;

	if (!server)
		return;
	for (cr = LIST_FIRST(&server->clients); cr; cr = next) {
		next = LIST_NEXT(cr, entry);
		LIST_REMOVE(cr, entry);
		cr->server = NULL;
		lose_client(cr);
	}
	if (server->listener)
		evconnlistener_free(server->listener);
	if (server->resume)
		event_free(server->resume);
	free(server);
}
