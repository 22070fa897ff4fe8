/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/server.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "daemon/filter/wire.h"
#include "daemon/firewall/filter_link.h"
#include "daemon/firewall/gather.h"
#include "daemon/firewall/peer.h"
#include "daemon/firewall/upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>

enum {
	STOPPED = 1, /* of handlers: an orderly end */
	GATHER_FROM = 16,
	GATHER_PAUSE_MS = 1, /* and one more for so many blocks that there are, or are new: */
	GATHER_BLOCKS_A_MS = 10000,
	GATHER_NEW_A_MS = 5000,
	COUNTERS_WAIT_MS = 1000,
};

struct server {
	struct firewall *fw;
	struct peer parent, agent;
	struct filter_link filter;
	struct upstream upstream;
	bool serving;      /* after the first COMMIT */
	bool cannot_sever; /* and it was said */
	int road_error;    /* that was said last */
	int counters_error;
	int64_t counters_due_ms; /* when they do not wait any longer for the agent to read */
};

static void announce(struct server *s, enum firewall_result result)
{
	struct firewall_reply event = firewall_status(s->fw);

	event.result = (uint16_t)result;
	/* Only a hint: every reply has the same numbers. */
	if (s->serving && !peer_is_waiting(&s->agent))
		(void)peer_send(&s->agent, FIREWALL_EVENT, 0, &event, sizeof(event));
}

/* The parent */

static int commit(struct server *s, uint64_t seq, const struct ipc_conf *id)
{
	struct ipc_result result;
	bool first = false;
	int err;

	firewall_commit_conf(s->fw, id, clock_monotonic_ms(), &result, &first);
	if (result.error)
		log_error("configuration %llu: %s", (unsigned long long)id->generation,
		          result.text);
	filter_link_tell(&s->filter);
	err = peer_send(&s->parent, IPC_CHILD_CONF, seq, &result, sizeof(result));
	if (err || !first)
		return err;
	s->serving = true;
	return peer_send(&s->parent, IPC_CHILD_READY, 0, NULL, 0);
}

static int check(struct server *s, const struct frame *f, const struct ipc_conf *id)
{
	struct ipc_result result;

	firewall_check_conf(s->fw, id, f->fd, &result);
	return peer_send(&s->parent, IPC_CHILD_CONF, f->seq, &result, sizeof(result));
}

static int stop(struct server *s)
{
	int err = firewall_stop(s->fw);

	if (err)
		log_error("the table could not be deleted: %s", strerror(-err));
	return err ? err : STOPPED;
}

static bool read_conf_id(const struct frame *f, struct ipc_conf *id)
{
	static const uint8_t zero[sizeof(id->zero)];

	if (f->length != sizeof(*id))
		return false;
	memcpy(id, f->body, sizeof(*id));
	return id->panic <= 1 && !id->again && !memcmp(id->zero, zero, sizeof(zero));
}

/* A filter process, in place of the one before. */
static int take_peer(struct server *s, struct frame *f)
{
	struct ipc_peer peer;
	int flags;

	if (f->length != sizeof(peer) || f->fd < 0)
		return -EPROTO;
	memcpy(&peer, f->body, sizeof(peer));
	flags = fcntl(f->fd, F_GETFL);
	if (peer.role != IPC_ROLE_FILTER || flags < 0 || fcntl(f->fd, F_SETFL, flags | O_NONBLOCK))
		return -EPROTO;
	filter_link_set(&s->filter, steal_fd(&f->fd));
	return 0;
}

static int handle_parent(struct server *s, struct frame *f)
{
	struct ipc_conf id;

	if (f->type == IPC_PING && !f->length)
		return peer_send(&s->parent, IPC_PONG, f->seq, NULL, 0);
	if (f->type == IPC_PARENT_STOP && !f->length)
		return stop(s);
	if (f->type == IPC_PARENT_PEER)
		return take_peer(s, f);
	if (f->fd >= 0 && f->type != IPC_PARENT_CONF)
		return -EPROTO;
	if (!read_conf_id(f, &id))
		return -EPROTO;
	switch (f->type) {
	case IPC_PARENT_CONF: return check(s, f, &id);
	case IPC_PARENT_COMMIT: return commit(s, f->seq, &id);
	case IPC_PARENT_ABORT: firewall_abort_conf(s->fw); return 0;
	default: return -EPROTO;
	}
}

/* The agent */

static int send_list(struct server *s, uint64_t seq)
{
	auto_free struct firewall_reply *replies = NULL;
	size_t count;
	int err = firewall_list(s->fw, clock_monotonic_ms(), &replies, &count);

	return err ? err : gather_send(&s->agent, seq, replies, count);
}

static void log_outcome(const struct firewall_request *request, const struct firewall_reply *reply)
{
	if (reply->result == FIREWALL_KERNEL)
		log_error("request %u: %s: %s", request->verb,
		          firewall_result_text(FIREWALL_KERNEL), strerror(reply->error));
	else if (request->verb == FIREWALL_PANIC)
		log_warning("panic: the table is deleted, nothing is blocked");
	else if (request->verb == FIREWALL_RESUME)
		log_warning("resumed");
}

static int send_peers(struct server *s, uint64_t seq, const struct firewall_request *request)
{
	auto_free struct firewall_peer *peers = NULL;
	struct firewall_reply end;
	size_t count;
	int err = firewall_list_peers(s->fw, request, &peers, &count, &end);

	for (size_t i = 0; !err && i < count; i += FIREWALL_PEERS_MAX) {
		size_t n = count - i < FIREWALL_PEERS_MAX ? count - i : FIREWALL_PEERS_MAX;

		err = peer_send(&s->agent, FIREWALL_PEERS, seq, &peers[i], n * sizeof(*peers));
	}
	return err ? err : peer_send(&s->agent, FIREWALL_REPLY, seq, &end, sizeof(end));
}

/* Answered, and then the connection is closed: our agent does not send such. */
static int refuse_malformed(struct server *s, uint64_t seq)
{
	struct firewall_reply reply = firewall_status(s->fw);

	reply.result = FIREWALL_MALFORMED;
	(void)peer_send(&s->agent, FIREWALL_REPLY, seq, &reply, sizeof(reply));
	return -EPROTO;
}

static int handle_allow(struct server *s, const struct frame *f)
{
	auto_free struct prefix *entries = calloc(FIREWALL_ALLOW_MAX, sizeof(*entries));
	struct firewall_allow request;
	struct firewall_reply reply;

	if (!entries)
		return -ENOMEM;
	if (firewall_wire_check_allow(f->body, f->length, &request, entries))
		return refuse_malformed(s, f->seq);
	reply = firewall_allow(s->fw, &request, entries, clock_monotonic_ms());
	if (reply.result == FIREWALL_KERNEL)
		log_error("whom rule %u lets through: %s: %s", request.rule,
		          firewall_result_text(FIREWALL_KERNEL), strerror(reply.error));
	return peer_send(&s->agent, FIREWALL_REPLY, f->seq, &reply, sizeof(reply));
}

static void say_severed(struct server *s, const char *of, size_t ended, int err)
{
	if (ended)
		log_info("%zu connections to a %s port were ended", ended, of);
	if (!err || s->cannot_sever)
		return;
	s->cannot_sever = err == -EOPNOTSUPP || err == -ENOENT;
	if (s->cannot_sever)
		log_info("this kernel cannot end connections (CONFIG_INET_DIAG_DESTROY): servers "
		         "keep those that are cut until their own timeouts");
	else
		log_warning("connections to a %s port could not be ended: %s", of, strerror(-err));
}

/* The wall stands already; this is for the server's sake. */
static void sever(struct server *s)
{
	size_t ended;
	int err = firewall_sever(s->fw, &ended);

	say_severed(s, "blocked", ended, err);
}

/* Connections from before their port was filtered. */
static void end_old(struct server *s)
{
	size_t ended;
	int err = firewall_drain(s->fw, clock_monotonic_ms(), &ended);

	say_severed(s, "filtered", ended, err);
}

static void keep_road(struct server *s)
{
	bool restored;
	int err = firewall_keep_road(s->fw, &restored);

	if (err && err != s->road_error)
		log_error("the road to the filter could not be restored: %s", strerror(-err));
	else if (!err && restored)
		log_warning("the road to the filter was changed by another program, and is "
		            "restored");
	s->road_error = err;
}

static int handle_agent(struct server *s, const struct frame *f)
{
	struct firewall_request request;
	struct firewall_reply reply;
	int err;

	if (f->type == IPC_PING && !f->length && f->fd < 0) {
		firewall_refresh_stamp(s->fw);
		keep_road(s);
		return peer_send(&s->agent, IPC_PONG, f->seq, NULL, 0);
	}
	if (f->type == FIREWALL_ALLOW && f->fd < 0)
		return handle_allow(s, f);
	if (f->type != FIREWALL_REQUEST || f->fd >= 0)
		return -EPROTO;
	if (firewall_wire_check(f->body, f->length, &request))
		return refuse_malformed(s, f->seq);
	if (request.verb == FIREWALL_LIST)
		return send_list(s, f->seq);
	if (request.verb == FIREWALL_LEDGER_LIST)
		return send_peers(s, f->seq, &request);
	reply = firewall_serve(s->fw, &request, clock_monotonic_ms());
	log_outcome(&request, &reply);
	err = peer_send(&s->agent, FIREWALL_REPLY, f->seq, &reply, sizeof(reply));
	sever(s);
	return err;
}

/* The loop */

static int read_signal(struct server *s, int signal_fd)
{
	struct signalfd_siginfo info;
	int err;

	if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return errno == EAGAIN ? 0 : -errno;
	err = firewall_panic(s->fw);
	if (err)
		log_error("panic: the table could not be deleted: %s", strerror(-err));
	else
		log_warning("SIGUSR1: panic: the table is deleted, nothing is blocked");
	announce(s, FIREWALL_PANICKED);
	return 0;
}

static int read_monitor(struct server *s)
{
	bool restored = false;
	int err = firewall_read_monitor(s->fw, clock_monotonic_ms(), &restored);

	if (err)
		log_error("the table could not be restored: %s", strerror(-err));
	if (restored) {
		log_warning("the table was changed by another program, and is restored");
		announce(s, FIREWALL_OK);
	}
	return err;
}

static void add_counters(struct server *s)
{
	int err = firewall_add_counters(s->fw, clock_monotonic_ms());

	if (err && err != s->counters_error)
		log_error("the counters of what is blocked could not be made: %s", strerror(-err));
	s->counters_error = err;
	s->counters_due_ms = clock_monotonic_ms() + COUNTERS_WAIT_MS;
}

/* When the agent has its answers, and nothing else was asked. */
static bool are_counters_due(const struct server *s)
{
	if (!firewall_is_uncounted(s->fw))
		return false;
	return clock_monotonic_ms() >= s->counters_due_ms ||
	       (!peer_is_waiting(&s->agent) && !s->counters_error);
}

static int serve_gathered(struct server *s, struct gather *g)
{
	int err;

	firewall_serve_blocks(s->fw, g->requests, g->replies, g->count, clock_monotonic_ms());
	for (size_t i = 0; i < g->count; i++)
		log_outcome(&g->requests[i], &g->replies[i]);
	err = gather_reply(g, &s->agent);
	s->counters_due_ms = clock_monotonic_ms() + COUNTERS_WAIT_MS;
	sever(s);
	return err;
}

/*
 * The agent goes on writing while we read: so short a pause does not end a row of many. The next
 * transaction costs the more the more blocks there are, and the pause is a small part of that.
 */
static bool more_will_come(const struct server *s, size_t count)
{
	struct pollfd agent = {.fd = s->agent.fd, .events = POLLIN};
	const uint32_t blocks = firewall_status(s->fw).blocks;
	const int pause_ms =
	    GATHER_PAUSE_MS + (int)(blocks / GATHER_BLOCKS_A_MS) + (int)(count / GATHER_NEW_A_MS);

	return count >= GATHER_FROM && poll(&agent, 1, pause_ms) == 1;
}

/* More of them; afterwards 1: there is another frame in *f, or 0 or -errno. */
static int gather_blocks(struct server *s, struct frame *f, struct gather *g)
{
	while (!gather_is_full(g)) {
		int got = frame_recv(s->agent.fd, f);

		if (got == -EAGAIN && more_will_come(s, g->count))
			got = frame_recv(s->agent.fd, f);
		if (got <= 0)
			return got == -EAGAIN ? 0 : got ? got : -EPIPE;
		if (!gather_take(g, f))
			return 1;
	}
	return 0;
}

/* For the agent's frames: BLOCKs together, everything else one by one. */
static int handle_agent_frames(struct server *s, struct frame *f)
{
	auto_gather struct gather g = {0};
	int got, err;

	if (!gather_take(&g, f))
		return handle_agent(s, f);
	got = gather_blocks(s, f, &g);
	err = serve_gathered(s, &g);
	if (err || got <= 0)
		return err ? err : got;
	add_counters(s);
	err = handle_agent(s, f);
	if (f->fd >= 0)
		close(steal_fd(&f->fd));
	return err;
}

/* One frame at a time, so that a panic need not wait for a queue of requests. */
static int read_peer(struct server *s, struct peer *peer, const char *name,
                     int (*handle)(struct server *, struct frame *), struct frame *f)
{
	int err = frame_recv(peer->fd, f);

	if (err == -EAGAIN)
		return 0;
	if (err == 0)
		return -EPIPE;
	if (err > 0) {
		err = handle(s, f);
		if (f->fd >= 0)
			close(steal_fd(&f->fd));
	}
	if (err == -EPROTO)
		log_error("the %s broke the protocol; the table stays", name);
	return err;
}

static short peer_events(const struct peer *peer, bool may_ask)
{
	return peer_is_waiting(peer) ? POLLOUT : may_ask ? POLLIN : 0;
}

static int serve_peer(struct server *s, struct peer *peer, short revents, const char *name,
                      int (*handle)(struct server *, struct frame *), struct frame *f)
{
	int err = revents & POLLOUT ? peer_flush(peer) : 0;

	if (!err && revents & (POLLIN | POLLHUP | POLLERR) && !peer_is_waiting(peer))
		err = read_peer(s, peer, name, handle, f);
	return err;
}

static int serve_parent(struct server *s, short revents, struct frame *f)
{
	int err = serve_peer(s, &s->parent, revents, "parent", handle_parent, f);

	if (err == -EPIPE || err == -ECONNRESET)
		log_error("the parent is gone; the table stays");
	return err;
}

/* In an orderly stop the agent ends before us, with or without a reply on its way: what its end
 * means is the parent's to say. */
static int serve_agent(struct server *s, short revents, struct frame *f)
{
	int err = serve_peer(s, &s->agent, revents, "agent", handle_agent_frames, f);

	if (err != -EPIPE && err != -ECONNRESET)
		return err;
	peer_fini(&s->agent);
	s->agent.fd = -1;
	return 0;
}

static int handle_filter(struct server *s, struct frame *f)
{
	if (f->type == FILTER_ASK_SOCKET)
		return upstream_answer(&s->upstream, &s->filter.peer, f,
		                       firewall_socket_mark(s->fw), clock_monotonic_ms());
	if (f->type != IPC_PONG || f->length || f->fd >= 0)
		return -EPROTO;
	filter_link_hear(&s->filter, f->seq);
	return 0;
}

/* Whatever becomes of it is its own affair, and the parent's. One that is not gone is one that
 * nobody joins to us again: another takes its place. */
static int serve_filter(struct server *s, short revents, struct frame *f)
{
	int err = serve_peer(s, &s->filter.peer, revents, "filter", handle_filter, f);
	bool gone = err == -EPIPE || err == -ECONNRESET;

	if (!err)
		return 0;
	if (gone)
		log_info("the filter is gone");
	else
		log_error("the filter's socket: %s", strerror(-err));
	filter_link_set(&s->filter, -1);
	return gone ? 0 : peer_send(&s->parent, IPC_CHILD_DEAF, 0, NULL, 0);
}

/* How long to wait when nothing happens: for poll(2). */
static int find_pause(const struct server *s)
{
	const int64_t now_ms = clock_monotonic_ms();
	const int64_t drain_ms = firewall_drain_wake_ms(s->fw);
	int64_t wake_ms = filter_link_wake_ms(&s->filter);

	if (drain_ms && drain_ms < wake_ms)
		wake_ms = drain_ms;
	if (firewall_is_uncounted(s->fw) && s->counters_due_ms < wake_ms)
		wake_ms = s->counters_due_ms;
	if (wake_ms == INT64_MAX)
		return -1;
	return wake_ms <= now_ms            ? 0
	       : wake_ms - now_ms > INT_MAX ? INT_MAX
	                                    : (int)(wake_ms - now_ms);
}

/* What the agent asks waits until all blocks are known; the parent and signals need not. */
static int turn(struct server *s, int signal_fd, struct frame *f)
{
	const bool reading = firewall_is_reading(s->fw);
	struct pollfd fds[] = {
	    {.fd = signal_fd, .events = POLLIN},
	    {.fd = firewall_monitor_fd(s->fw), .events = POLLIN},
	    {.fd = s->parent.fd, .events = peer_events(&s->parent, true)},
	    {.fd = reading ? -1 : s->agent.fd, .events = peer_events(&s->agent, s->serving)},
	    {.fd = s->filter.peer.fd, .events = peer_events(&s->filter.peer, true)},
	};
	int err = 0;

	if (poll(fds, ARRAY_LEN(fds), reading ? 0 : find_pause(s)) < 0)
		return errno == EINTR ? 0 : -errno;
	/* The signal first: what the monitor saw may be a panic's deletion of the table. */
	if (fds[0].revents)
		err = read_signal(s, signal_fd);
	if (!err && fds[1].revents)
		err = read_monitor(s);
	if (!err && fds[2].revents)
		err = serve_parent(s, fds[2].revents, f);
	if (!err && fds[3].revents)
		err = serve_agent(s, fds[3].revents, f);
	/* The parent may have brought another one meanwhile. */
	if (!err && fds[4].revents && fds[4].fd == s->filter.peer.fd)
		err = serve_filter(s, fds[4].revents, f);
	if (!err && filter_link_beat(&s->filter))
		err = peer_send(&s->parent, IPC_CHILD_DEAF, 0, NULL, 0);
	sever(s);
	end_old(s);
	if (are_counters_due(s))
		add_counters(s);
	if (!err && reading)
		err = firewall_read_on(s->fw, clock_monotonic_ms());
	return err;
}

int server_run(struct firewall *fw, int parent_fd, int agent_fd, int signal_fd)
{
	auto_free struct frame *f = malloc(sizeof(*f));
	struct server s = {.fw = fw};
	int err = f ? 0 : -ENOMEM;

	peer_init(&s.parent, parent_fd);
	peer_init(&s.agent, agent_fd);
	filter_link_init(&s.filter, fw);
	while (!err)
		err = turn(&s, signal_fd, f);
	peer_fini(&s.parent);
	peer_fini(&s.agent);
	filter_link_fini(&s.filter);
	return err == STOPPED ? 0 : err;
}
