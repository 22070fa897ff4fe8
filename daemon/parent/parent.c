/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/parent.h"

#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "daemon/parent/distribute.h"
#include "daemon/parent/filter.h"
#include "daemon/parent/notify.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

enum { STOP_GRACE_MS = 3000 }; /* of each child; agent and sender flush for at most two seconds */

static int send_to_agent(struct parent *p, uint16_t type, const void *body, size_t length, int fd)
{
	return frame_send(p->children[IPC_ROLE_AGENT].sock, type, 0, body, length, fd);
}

/* One that nobody wants any more has not failed. */
static void record_death(struct child *c, int status)
{
	child_record_death(c, status, clock_monotonic_ms());
	if (c->wanted)
		return;
	c->restarts--;
	c->backoff_ms = 0;
}

/* Gives the agent its end of the socket to a child; the sender, if the child is the runner. */
static int introduce(struct parent *p, struct child *c)
{
	struct ipc_peer peer = {
	    .role = c->role,
	    .restarts = c->restarts,
	    .pid = c->pid,
	    .exit_status = c->exit_status,
	};
	enum ipc_role other = c->role == IPC_ROLE_RUNNER ? IPC_ROLE_SENDER : IPC_ROLE_AGENT;
	int err =
	    frame_send(p->children[other].sock, IPC_PARENT_PEER, 0, &peer, sizeof(peer), c->peer);

	close(steal_fd(&c->peer));
	if (err == 0 && c->role == IPC_ROLE_FILTER)
		err = filter_join_firewall(c, &p->children[IPC_ROLE_FIREWALL]);
	return err;
}

static struct ipc_conf next_conf(struct parent *p, int fd)
{
	uint64_t generation = ++p->generation;

	return (struct ipc_conf){
	    .generation = generation,
	    .crc32 = distribute_checksum(fd),
	    /* Of the start: a reload must not bring back a panic that was resumed since. */
	    .panic = p->setup.panic && generation == 1,
	};
}

/*
 * Before the others hear of rules that filter: what these catch has somewhere to go at once. One
 * that was told to end may do so halfway through the configuration.
 */
static int want_filter(struct parent *p, struct ipc_result *result)
{
	struct child *c = &p->children[IPC_ROLE_FILTER];
	int err = 0;

	if (c->pid > 0 && p->filter_is_ending) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		record_death(c, 0);
	}
	p->filter_due_ms = 0;
	p->filter_is_ending = false;
	if (!c->wanted && c->pid == 0) {
		err = child_start(c, p->config_path, clock_monotonic_ms());
		if (err == 0)
			err = introduce(p, c);
	}
	c->wanted = c->wanted || err == 0;
	if (err < 0)
		snprintf(result->text, sizeof(result->text), "the filter process: %s",
		         strerror(-err));
	return err;
}

static void let_filter_end(struct parent *p, int64_t linger_ms)
{
	struct child *c = &p->children[IPC_ROLE_FILTER];

	if (c->wanted)
		p->filter_due_ms = clock_monotonic_ms() + linger_ms;
	c->wanted = false;
}

static void end_filter_when_due(struct parent *p)
{
	struct child *c = &p->children[IPC_ROLE_FILTER];
	int64_t now = clock_monotonic_ms();

	if (!p->filter_due_ms || p->filter_due_ms > now)
		return;
	p->filter_due_ms = 0;
	if (c->pid <= 0)
		return;
	if (p->filter_is_ending) {
		kill(c->pid, SIGKILL);
		return;
	}
	frame_send(c->sock, IPC_PARENT_STOP, 0, NULL, 0, -1);
	p->filter_is_ending = true;
	p->filter_due_ms = now + STOP_GRACE_MS;
}

static void reload(struct parent *p)
{
	bool filtered = p->children[IPC_ROLE_FILTER].wanted, filters;
	struct ipc_result result = {0};
	auto_close int fd = setup_read_config(p->config_path);
	_Static_assert((int)CONF_ERROR_LEN == (int)IPC_TEXT_LEN, "one line, one length");
	struct ipc_conf conf = {0};
	int err = fd < 0 ? fd : setup_check_owner(p->config_path, result.text);

	notify_reloading();
	if (fd < 0)
		snprintf(result.text, sizeof(result.text), "%s: %s", p->config_path, strerror(-fd));
	filters = err == 0 && filter_is_needed(p->config_path, fd);
	if (filters)
		err = want_filter(p, &result);
	if (err == 0) {
		conf = next_conf(p, fd);
		err = distribute_conf(p->children, fd, &conf, &result);
	}
	if (err < 0 && !filtered)
		let_filter_end(p, 0);
	else if (err == 0 && !filters)
		let_filter_end(p, FILTER_LINGER_MS);
	if (err < 0) {
		log_error("reload refused, the running configuration stays: %s", result.text);
		result.error = err;
	} else {
		log_info("configuration %s reloaded", p->config_path);
		memset(&result, 0, sizeof(result));
		p->config_crc32 = conf.crc32;
		close(p->config_fd);
		p->config_fd = steal_fd(&fd);
	}
	send_to_agent(p, IPC_PARENT_RELOADED, &result, sizeof(result), -1);
	notify_ready(err < 0 ? "last reload refused" : "serving");
}

static void say_how_it_ended(const struct child *c, int status)
{
	const char *then = c->restarts_alone ? "" : "; the service ends, blocks stay in the kernel";

	if (!c->wanted && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		log_info("the %s process (pid %d) has ended: nothing is left for it",
		         child_role_name(c->role), c->pid);
		return;
	}
	if (WIFSIGNALED(status))
		log_error("the %s process (pid %d) was killed by signal %d (%s)%s",
		          child_role_name(c->role), c->pid, WTERMSIG(status),
		          strsignal(WTERMSIG(status)), then);
	else
		log_error("the %s process (pid %d) ended with status %d%s",
		          child_role_name(c->role), c->pid, WEXITSTATUS(status), then);
}

/* Returns false when a child is gone without which the service cannot go on. */
static bool reap(struct parent *p)
{
	bool go_on = true;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == p->spawner.pid) {
			log_error("the spawner of the inventory process is gone; the service ends");
			p->spawner.pid = 0;
			go_on = false;
		}
		for (int role = 0; role < IPC_ROLE_COUNT; role++) {
			struct child *c = &p->children[role];

			if (c->pid != pid)
				continue;
			say_how_it_ended(c, status);
			go_on = go_on && c->restarts_alone;
			record_death(c, status);
		}
	}
	return go_on;
}

/* Of those that are restarted alone. */
static bool takes_configuration(const struct child *c)
{
	return c->role == IPC_ROLE_SENDER || c->role == IPC_ROLE_RUNNER ||
	       c->role == IPC_ROLE_FILTER;
}

/* Starts a child that was due, and hands it what its forerunner had. */
static void restart(struct parent *p, struct child *c)
{
	struct ipc_conf conf = {.generation = p->generation, .crc32 = p->config_crc32, .again = 1};
	struct ipc_result result = {0};
	int err = child_start(c, p->config_path, clock_monotonic_ms());

	if (err == 0 && takes_configuration(c)) {
		err = child_ask_conf(c, IPC_PARENT_CONF, &conf, p->config_fd, &result);
		if (err == 0)
			err = child_ask_conf(c, IPC_PARENT_COMMIT, &conf, -1, &result);
	}
	if (err == 0)
		err = introduce(p, c);
	if (err == 0) {
		log_info("the %s process is %s (pid %d)", child_role_name(c->role),
		         c->restarts ? "back" : "there", c->pid);
		return;
	}
	log_error("the %s process cannot be started: %s", child_role_name(c->role),
	          result.text[0] ? result.text : strerror(-err));
	if (c->pid > 0)
		kill(c->pid, SIGKILL); /* its death is recorded, and sets the next try */
	else
		child_record_death(c, 0, clock_monotonic_ms());
}

static void announce_ready(struct parent *p)
{
	for (int role = 0; role < IPC_ROLE_COUNT; role++) {
		if (p->children[role].wanted && !p->children[role].ready)
			return;
	}
	if (!p->ready)
		log_info("ready");
	p->ready = true;
	notify_ready("serving");
}

/* One that serves another sender ends with it, and is restarted. */
static void want_runner(struct parent *p)
{
	struct child *c = &p->children[IPC_ROLE_RUNNER];

	if (!c->wanted)
		c->restart_at_ms = clock_monotonic_ms();
	c->wanted = true;
}

/* Returns false when the child broke the protocol. */
static bool read_child(struct parent *p, struct child *c, struct frame *f)
{
	int got = frame_recv(c->sock, f);

	if (got == -EAGAIN)
		return true;
	if (got == 0 || got == -ECONNRESET) {
		/* Mostly it has ended, and SIGCHLD says the rest. Who only hangs up must end too.
		 */
		close(steal_fd(&c->sock));
		/* A filter that was told to end has its time: end_filter_when_due(). */
		if (c->role != IPC_ROLE_FILTER || !p->filter_is_ending)
			kill(c->pid, SIGKILL);
		return true;
	}
	if (got < 0)
		return false;
	/* The inventory's own namespace outlives it: to make one takes what we have given up. */
	if (f->type == IPC_CHILD_READY && c->role == IPC_ROLE_INVENTORY && c->data < 0)
		c->data = steal_fd(&f->fd);
	if (f->fd >= 0)
		close(f->fd);
	if (f->type == IPC_CHILD_READY && f->length == 0) {
		c->ready = true;
		if (!p->ready)
			announce_ready(p);
	} else if (f->type == IPC_CHILD_ALIVE && f->length == 0 && c->role == IPC_ROLE_AGENT) {
		notify_watchdog();
	} else if (f->type == IPC_CHILD_RELOAD && f->length == 0 && c->role == IPC_ROLE_AGENT) {
		reload(p);
	} else if (f->type == IPC_CHILD_BLIND && f->length == 0 && c->role == IPC_ROLE_AGENT) {
		if (p->children[IPC_ROLE_PROBER].pid > 0)
			kill(p->children[IPC_ROLE_PROBER].pid, SIGKILL);
	} else if (f->type == IPC_CHILD_DEAF && f->length == 0 && c->role == IPC_ROLE_FIREWALL) {
		if (p->children[IPC_ROLE_FILTER].pid > 0)
			kill(p->children[IPC_ROLE_FILTER].pid, SIGKILL);
	} else if (f->type == IPC_CHILD_RUNNER && f->length == 0 && c->role == IPC_ROLE_SENDER) {
		want_runner(p);
	} else if (f->type != IPC_CHILD_CONF) { /* one may come after its deadline */
		return false;
	}
	return true;
}

/*
 * One after the other: the sender, whose last answers the agent writes down; then the agent, so
 * that nothing new is asked of those that are ending. The filter ends after the firewall: what is
 * no longer sent to it needs no new connection of it, and it has time for what is under way.
 */
static int stop_all(struct parent *p)
{
	static const enum ipc_role order[] = {IPC_ROLE_SENDER,   IPC_ROLE_AGENT,    IPC_ROLE_PROBER,
	                                      IPC_ROLE_RUNNER,   IPC_ROLE_FIREWALL, IPC_ROLE_FILTER,
	                                      IPC_ROLE_INVENTORY};
	int exit_status = 0;

	notify_stopping();
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		struct child *c = &p->children[order[i]];
		/* Its own: an agent that hangs must not cost the firewall its time. */
		int64_t deadline = clock_monotonic_ms() + STOP_GRACE_MS;
		int status = 0;

		if (c->pid <= 0)
			continue;
		frame_send(c->sock, IPC_PARENT_STOP, 0, NULL, 0, -1);
		while (waitpid(c->pid, &status, WNOHANG) == 0) {
			struct pollfd wait = {.fd = p->signal_fd, .events = POLLIN};
			struct signalfd_siginfo info;
			int64_t left = deadline - clock_monotonic_ms();

			if (left <= 0) {
				log_warning("the %s process does not stop; killed",
				            child_role_name(c->role));
				kill(c->pid, SIGKILL);
				waitpid(c->pid, &status, 0);
				/* It may wait for the kernel to be done with other namespaces,
				 * and has nothing to lose. */
				if (c->role != IPC_ROLE_INVENTORY)
					exit_status = 1;
				break;
			}
			if (poll(&wait, 1, (int)left) > 0 &&
			    read(p->signal_fd, &info, sizeof(info)) < 0 && errno != EAGAIN)
				break;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
			log_error("the %s process stopped with status %d", child_role_name(c->role),
			          WEXITSTATUS(status));
			exit_status = 1;
		}
		child_record_death(c, status, clock_monotonic_ms());
	}
	log_info("stopped");
	return exit_status;
}

/* While we have every capability. */
static int start_all(struct parent *p, char why[static CONF_ERROR_LEN])
{
	struct child *inventory = &p->children[IPC_ROLE_INVENTORY];
	struct child *firewall = &p->children[IPC_ROLE_FIREWALL];
	int err;

	firewall->prober_uid = p->setup.identities[IPC_ROLE_PROBER].uid;
	firewall->filter_uid = p->setup.identities[IPC_ROLE_FILTER].uid;
	inventory->verify = p->conf->firewall.verify;
	p->children[IPC_ROLE_FILTER].wanted = conf_has_filter(p->conf);
	err = spawner_start(&p->spawner, inventory);
	if (err < 0)
		snprintf(why, CONF_ERROR_LEN, "fork: %s", strerror(-err));
	for (int role = 0; err == 0 && role < IPC_ROLE_COUNT; role++) {
		struct child *c = &p->children[role];

		if (!c->wanted)
			continue;
		err = child_start(c, p->config_path, clock_monotonic_ms());
		if (err < 0)
			snprintf(why, CONF_ERROR_LEN, "%.400s: %s", c->program, strerror(-err));
	}
	inventory->spawner = &p->spawner; /* from the second time on */
	return err;
}

int parent_start(struct parent *p, char why[static CONF_ERROR_LEN])
{
	/* To restart children under other uids, to signal them, and nothing else. */
	static const int kept[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};
	const struct sandbox_spec spec = {
	    .uid = 0, .gid = 0, .capabilities = kept, .n_capabilities = ARRAY_LEN(kept)};
	char drop_error[SANDBOX_ERROR_LEN];
	struct ipc_result result = {0};
	struct ipc_conf conf;
	int err = 0;

	for (int role = 0; err == 0 && role < IPC_ROLE_COUNT; role++) {
		struct child *c = &p->children[role];

		err = child_init(c, (enum ipc_role)role, p->setup.identities[role]);
		if (err < 0)
			snprintf(why, CONF_ERROR_LEN, "%.400s: %s", c->program, strerror(-err));
	}
	if (err == 0)
		err = start_all(p, why);
	if (err < 0)
		return err;
	err = setup_write_pidfile(&p->setup, p->children[IPC_ROLE_FIREWALL].pid);
	if (err < 0) {
		snprintf(why, CONF_ERROR_LEN, "%s: %s", p->setup.firewall_pidfile, strerror(-err));
		return err;
	}
	if (sandbox_drop(&spec, drop_error) < 0) {
		snprintf(why, CONF_ERROR_LEN, "%s", drop_error);
		return -EPERM;
	}
	err = send_to_agent(p, IPC_PARENT_CONTROL, NULL, 0, p->setup.control_sock);
	close(steal_fd(&p->setup.control_sock));
	for (int role = 1; err == 0 && role < IPC_ROLE_COUNT; role++) {
		if (p->children[role].wanted)
			err = introduce(p, &p->children[role]);
	}
	if (err == 0) {
		conf = next_conf(p, p->config_fd);
		p->config_crc32 = conf.crc32;
		err = distribute_conf(p->children, p->config_fd, &conf, &result);
	}
	if (err < 0)
		snprintf(why, CONF_ERROR_LEN, "%s", result.text[0] ? result.text : strerror(-err));
	announce_ready(p);
	return err;
}

/* The runner, not before there is a sender to serve. */
static bool awaits_restart(const struct parent *p, const struct child *c)
{
	return c->pid == 0 && c->wanted && c->restarts_alone && c->restart_at_ms &&
	       (c->role != IPC_ROLE_RUNNER || p->children[IPC_ROLE_SENDER].ready);
}

static int64_t left_until(int64_t at_ms, int64_t now_ms)
{
	return at_ms > now_ms ? at_ms - now_ms : 0;
}

/* Milliseconds until a restart, or the filter's end, is due; -1 for none. */
static int next_due_in(const struct parent *p)
{
	int64_t now = clock_monotonic_ms();
	int64_t next = p->filter_due_ms ? left_until(p->filter_due_ms, now) : -1;

	for (int role = 0; role < IPC_ROLE_COUNT; role++) {
		const struct child *c = &p->children[role];
		int64_t in = left_until(c->restart_at_ms, now);

		if (awaits_restart(p, c) && (next < 0 || in < next))
			next = in;
	}
	return (int)next;
}

/* Returns the signal that ends the service, or 0, or -1 when a child is gone for good. */
static int read_signals(struct parent *p)
{
	struct signalfd_siginfo info;
	int end = 0;

	while (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			end = (int)info.ssi_signo;
		else if (info.ssi_signo == SIGHUP)
			reload(p);
		else if (info.ssi_signo == SIGCHLD && !reap(p))
			return -1;
	}
	return end;
}

int parent_run(struct parent *p)
{
	auto_free struct frame *f = malloc(sizeof(*f));

	if (!f)
		return 1;
	for (;;) {
		struct pollfd fds[IPC_ROLE_COUNT + 1] = {{.fd = p->signal_fd, .events = POLLIN}};
		int end = 0;

		for (int role = 0; role < IPC_ROLE_COUNT; role++)
			fds[role + 1] =
			    (struct pollfd){.fd = p->children[role].sock, .events = POLLIN};
		if (poll(fds, ARRAY_LEN(fds), next_due_in(p)) < 0 && errno != EINTR) {
			log_error("poll: %s", strerror(errno));
			return 1;
		}
		if (fds[0].revents)
			end = read_signals(p);
		if (end < 0)
			return 1;
		if (end > 0)
			return stop_all(p);
		end_filter_when_due(p);
		for (int role = 0; role < IPC_ROLE_COUNT; role++) {
			struct child *c = &p->children[role];

			if (c->sock >= 0 && c->sock == fds[role + 1].fd && fds[role + 1].revents &&
			    !read_child(p, c, f)) {
				log_error("the %s process breaks the protocol; killed",
				          child_role_name(c->role));
				kill(c->pid, SIGKILL);
				close(steal_fd(&c->sock));
			}
			if (awaits_restart(p, c) && c->restart_at_ms <= clock_monotonic_ms())
				restart(p, c);
		}
	}
}

void parent_end(struct parent *p)
{
	for (int role = 0; role < IPC_ROLE_COUNT; role++) {
		struct child *c = &p->children[role];

		if (c->pid > 0) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
	}
	spawner_end(&p->spawner);
}
