/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/server.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/channel.h"
#include "daemon/inventory/inventory.h"
#include "daemon/inventory/logins.h"
#include "daemon/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { RESUME_AFTER_MS = 5, MAX_PEER_ANSWERS = 16 };

/* An answer to PEERS or LOGINS that is being sent. */
struct peers_answer {
	STAILQ_ENTRY(peers_answer) link;
	uint64_t seq;
	struct diag_list peers;
	size_t sent;
};

struct server {
	struct event_base *base;
	struct channel *parent, *agent;
	struct inventory *inventory;
	struct vantage *vantage;
	int parent_sock;
	struct event *resume;
	STAILQ_HEAD(, peers_answer) answers;
	unsigned n_answers;
	bool synced_due, said_cut;
	int exit_status;
};

/* CONNECT, until it is answered. */
struct pending_connect {
	struct server *server;
	uint64_t seq;
};

static void end_with(struct server *s, int status)
{
	s->exit_status = status;
	event_base_loopbreak(s->base);
}

static void refuse(struct server *s, const char *peer, const char *why)
{
	log_error("%s: %s", peer, why);
	end_with(s, 1);
}

/* The end of a channel is about to be seen, and says more. */
static void check_sent(struct server *s, const char *peer, int err)
{
	if (err < 0 && err != -EPIPE && err != -ECONNRESET)
		refuse(s, peer, strerror(-err));
}

static void answer_with(struct server *s, uint64_t seq, enum inventory_result result, int error,
                        int fd)
{
	const struct inventory_answer answer = {
	    .version = INVENTORY_WIRE_VERSION, .result = (uint16_t)result, .error = error};

	check_sent(s, "agent",
	           channel_send_fd(s->agent, INVENTORY_ANSWER, seq, &answer, sizeof(answer), fd));
}

static void answer(struct server *s, uint64_t seq, enum inventory_result result)
{
	answer_with(s, seq, result, 0, -1);
}

static void answer_errno(struct server *s, uint64_t seq, int err)
{
	if (err == -ENOENT)
		answer(s, seq, INVENTORY_NOT_FOUND);
	else if (err == -EAGAIN)
		answer(s, seq, INVENTORY_BUSY);
	else
		answer_with(s, seq, INVENTORY_KERNEL, -err, -1);
}

/* Telling */

static int send_entry(struct server *s, struct table_entry *e)
{
	union {
		struct inventory_namespace netns;
		struct inventory_listener listener;
	} body;
	int err;

	if (e->kind == TABLE_NETNS) {
		size_t length = table_fill_netns((const void *)e, &body.netns);

		err = channel_send(s->agent, INVENTORY_NAMESPACE, 0, &body.netns, length);
	} else {
		table_fill_listener((const void *)e, &body.listener);
		err = channel_send(s->agent, INVENTORY_LISTENER, 0, &body.listener,
		                   sizeof(body.listener));
	}
	if (err == 0)
		table_told(inventory_table(s->inventory), e);
	return err;
}

static int send_peer(struct server *s, struct peers_answer *a)
{
	if (a->sent < a->peers.count) {
		const struct diag_socket *socket = &a->peers.items[a->sent++];
		struct inventory_peer peer = {
		    .version = INVENTORY_WIRE_VERSION,
		    .port = socket->port,
		    .family = socket->family,
		};

		memcpy(peer.address, socket->address, sizeof(peer.address));
		return channel_send(s->agent, INVENTORY_PEER, a->seq, &peer, sizeof(peer));
	}
	answer(s, a->seq, a->peers.cut ? INVENTORY_CUT : INVENTORY_OK);
	STAILQ_REMOVE_HEAD(&s->answers, link);
	s->n_answers--;
	diag_list_free(&a->peers);
	free(a);
	return 0;
}

static int send_synced(struct server *s)
{
	struct inventory_status status;

	s->synced_due = false;
	inventory_fill_status(s->inventory, &status);
	return channel_send(s->agent, INVENTORY_SYNCED, 0, &status, sizeof(status));
}

/* As much as the agent reads; what it does not read waits in the table, once. */
static void tell(struct server *s)
{
	const struct timeval later = {.tv_usec = RESUME_AFTER_MS * 1000};
	int err = 0;

	while (err == 0 && channel_queued(s->agent) == 0) {
		struct table_entry *e = table_next(inventory_table(s->inventory));

		if (!STAILQ_EMPTY(&s->answers))
			err = send_peer(s, STAILQ_FIRST(&s->answers));
		else if (e)
			err = send_entry(s, e);
		else if (s->synced_due)
			err = send_synced(s);
		else
			return;
	}
	if (err == 0)
		evtimer_add(s->resume, &later);
	check_sent(s, "agent", err);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg);
}

static void on_news(void *arg)
{
	tell(arg);
}

static void on_synced(void *arg)
{
	struct server *s = arg;

	s->synced_due = true;
	tell(s);
}

/* Requests */

struct peers_question {
	const struct inventory_request *request;
	struct diag_list *out;
};

static int list_peers(void *arg)
{
	const struct peers_question *q = arg;

	return diag_list_peers(q->request->family, q->request->address, q->request->port,
	                       INVENTORY_MAX_PEERS, q->out);
}

static int list_sockets(struct server *s, const struct inventory_request *r, struct diag_list *out)
{
	struct peers_question q = {.request = r, .out = out};

	return r->verb == INVENTORY_LOGINS
	           ? logins_list(out)
	           : inventory_act_inside(s->inventory, r->netns, list_peers, &q);
}

static void on_list(struct server *s, const struct inventory_request *r, uint64_t seq)
{
	struct peers_answer *a;
	int err;

	if (s->n_answers >= MAX_PEER_ANSWERS) {
		answer(s, seq, INVENTORY_BUSY);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		answer_errno(s, seq, -ENOMEM);
		return;
	}
	err = list_sockets(s, r, &a->peers);
	if (err < 0) {
		free(a);
		answer_errno(s, seq, err);
		return;
	}
	a->seq = seq;
	if (a->peers.cut && !s->said_cut) {
		log_warning("port %u has more than %d connections: the rest is not told", r->port,
		            INVENTORY_MAX_PEERS);
		s->said_cut = true;
	}
	STAILQ_INSERT_TAIL(&s->answers, a, link);
	s->n_answers++;
	tell(s);
}

struct socket_question {
	int family, fd;
};

static int make_socket(void *arg)
{
	struct socket_question *q = arg;

	q->fd = socket(q->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return q->fd < 0 ? -errno : 0;
}

static void on_socket(struct server *s, const struct inventory_request *r, uint64_t seq)
{
	struct socket_question q = {.family = r->family, .fd = -1};
	int err = 0;

	if (r->netns == INVENTORY_VANTAGE && !s->vantage) {
		answer(s, seq, INVENTORY_UNSUPPORTED);
		return;
	}
	if (r->netns == INVENTORY_VANTAGE)
		q.fd = err = vantage_socket(s->vantage, r->family);
	else
		err = inventory_act_inside(s->inventory, r->netns, make_socket, &q);
	if (err < 0) {
		answer_errno(s, seq, err);
		return;
	}
	answer_with(s, seq, INVENTORY_OK, 0, q.fd);
	close(q.fd);
}

/* The vantage point frees what it was given. */
static void on_connected(enum inventory_result result, int error, void *arg)
{
	struct pending_connect *p = arg;

	answer_with(p->server, p->seq, result, error, -1);
}

static void on_connect(struct server *s, const struct inventory_request *r, uint64_t seq)
{
	struct endpoint to = {.family = r->family, .port = r->port};
	struct pending_connect *p;
	int err;

	if (!s->vantage) {
		answer(s, seq, INVENTORY_UNSUPPORTED);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		answer_errno(s, seq, -ENOMEM);
		return;
	}
	*p = (struct pending_connect){.server = s, .seq = seq};
	memcpy(to.address, r->address, sizeof(to.address));
	err = vantage_connect(s->vantage, s->base, &to, r->timeout_ms, on_connected, p);
	if (err < 0) {
		free(p);
		answer_errno(s, seq, err);
	}
}

static void on_request(struct server *s, const struct frame *f)
{
	struct inventory_request r;

	if (!inventory_wire_check(f->body, f->length, &r)) {
		answer(s, f->seq, INVENTORY_MALFORMED);
		return;
	}
	switch ((enum inventory_verb)r.verb) {
	case INVENTORY_WATCH:
		answer(s, f->seq, INVENTORY_OK);
		inventory_watch(s->inventory, r.poll_ms);
		break;
	case INVENTORY_UNWATCH:
		inventory_unwatch(s->inventory);
		s->synced_due = false;
		answer(s, f->seq, INVENTORY_OK);
		break;
	case INVENTORY_PEERS:
	case INVENTORY_LOGINS: on_list(s, &r, f->seq); break;
	case INVENTORY_CONNECT: on_connect(s, &r, f->seq); break;
	case INVENTORY_SOCKET: on_socket(s, &r, f->seq); break;
	}
}

static void on_agent_frame(struct frame *f, void *arg)
{
	struct server *s = arg;

	if (f->type == INVENTORY_REQUEST)
		on_request(s, f);
	else if (f->type == IPC_PING && f->length == 0)
		check_sent(s, "agent", channel_send(s->agent, IPC_PONG, f->seq, NULL, 0));
	else
		refuse(s, "agent", "a message that is not for the inventory");
}

static void on_parent_frame(struct frame *f, void *arg)
{
	struct server *s = arg;

	if (f->type == IPC_PING && f->length == 0)
		check_sent(s, "parent", channel_send(s->parent, IPC_PONG, f->seq, NULL, 0));
	else if (f->type == IPC_PARENT_STOP)
		end_with(s, 0);
	else
		refuse(s, "parent", "a message that is not for the inventory");
}

static void on_end(struct server *s, const char *peer, int error)
{
	if (error < 0)
		refuse(s, peer, strerror(-error));
	else
		end_with(s, s->exit_status);
}

static void on_agent_end(int error, void *arg)
{
	on_end(arg, "agent", error);
}

static void on_parent_end(int error, void *arg)
{
	on_end(arg, "parent", error);
}

static int set_up(struct server *s, int agent_sock, struct events *events,
                  const char *why_no_events)
{
	const struct channel_handlers parent = {on_parent_frame, on_parent_end, s};
	const struct channel_handlers agent = {on_agent_frame, on_agent_end, s};
	const struct inventory_handlers inventory = {on_news, on_synced, s};
	int err =
	    inventory_new(s->base, events, why_no_events,
	                  s->vantage ? vantage_netns(s->vantage) : 0, &inventory, &s->inventory);

	if (err == 0)
		err = channel_new(s->base, s->parent_sock, &parent, &s->parent);
	else
		close(s->parent_sock);
	if (err == 0)
		err = channel_new(s->base, agent_sock, &agent, &s->agent);
	else
		close(agent_sock);
	s->resume = evtimer_new(s->base, on_resume, s);
	return err == 0 && !s->resume ? -ENOMEM : err;
}

int server_new(struct event_base *base, int parent_sock, int agent_sock, struct events *events,
               const char *why_no_events, struct vantage *vantage, struct server **out)
{
	struct server *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		events_free(events);
		vantage_free(vantage);
		return -ENOMEM;
	}
	s->base = base;
	s->parent_sock = parent_sock;
	s->vantage = vantage;
	STAILQ_INIT(&s->answers);
	err = set_up(s, agent_sock, events, why_no_events);
	if (err < 0) {
		server_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void server_free(struct server *s)
{
	struct peers_answer *a;

	if (!s)
		return;
	vantage_free(s->vantage);
	if (s->inventory)
		inventory_free(s->inventory);
	while ((a = STAILQ_FIRST(&s->answers))) {
		STAILQ_REMOVE_HEAD(&s->answers, link);
		diag_list_free(&a->peers);
		free(a);
	}
	if (s->resume)
		event_free(s->resume);
	channel_free(s->agent);
	channel_free(s->parent);
	free(s);
}

int server_announce(struct server *s)
{
	return channel_send_fd(s->parent, IPC_CHILD_READY, 0, NULL, 0,
	                       s->vantage ? vantage_fd(s->vantage) : -1);
}

int server_exit_status(const struct server *s)
{
	return s->exit_status;
}
