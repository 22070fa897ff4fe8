/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/programs.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "daemon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>

/* The runner keeps the deadline; who has not answered so long after it is not waited for. */
enum { GRACE_MS = 2000 };

struct program_run {
	TAILQ_ENTRY(program_run) link;
	struct programs *owner;
	uint64_t seq; /* 0: not asked for yet */
	int64_t deadline_ms;
	int input; /* the pipe's end for the program, until it was asked for */
	struct ipc_run order;
	struct event *timer;
	program_done_cb *done;
	void *arg;
};

struct programs {
	struct event_base *base;
	struct channel *runner; /* NULL: none */
	uint64_t last_seq;
	TAILQ_HEAD(, program_run) runs;
};

void programs_cancel(struct program_run *run)
{
	TAILQ_REMOVE(&run->owner->runs, run, link);
	event_free(run->timer);
	if (run->input >= 0)
		close(run->input);
	free(run);
}

static void finish(struct program_run *run, const struct ipc_run_done *answer)
{
	program_done_cb *done = run->done;
	void *arg = run->arg;

	programs_cancel(run);
	done(answer, arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg, NULL);
}

/* From the loop, as soon as it turns. */
static void fail_soon(struct program_run *run)
{
	event_active(run->timer, EV_TIMEOUT, 0);
}

static void ask(struct program_run *run)
{
	struct programs *p = run->owner;

	run->order.timeout_ms = run->deadline_ms - clock_monotonic_ms();
	if (run->order.timeout_ms <= 0)
		return; /* the timer is about to say so */
	run->seq = ++p->last_seq;
	if (channel_send_fd(p->runner, IPC_RUN_START, run->seq, &run->order, sizeof(run->order),
	                    run->input) < 0)
		fail_soon(run);
	close(steal_fd(&run->input));
}

static void on_frame(struct frame *f, void *arg)
{
	struct programs *p = arg;
	struct ipc_run_done answer;
	struct program_run *run;

	if (f->type != IPC_RUN_DONE || f->length != sizeof(answer)) {
		log_error("message %u from the runner: not for the sender, or of a wrong size",
		          f->type);
		return;
	}
	memcpy(&answer, f->body, sizeof(answer));
	TAILQ_FOREACH (run, &p->runs, link) {
		if (run->seq == f->seq) {
			finish(run, &answer);
			return;
		}
	}
}

/* The parent starts another one. */
static void lose_runner(struct programs *p)
{
	struct program_run *run;

	channel_free(p->runner);
	p->runner = NULL;
	TAILQ_FOREACH (run, &p->runs, link) {
		if (run->seq)
			fail_soon(run);
	}
}

static void on_end(int error, void *arg)
{
	if (error)
		log_error("the runner's socket: %s", strerror(-error));
	lose_runner(arg);
}

bool programs_have_runner(const struct programs *p)
{
	return p->runner;
}

int programs_set_runner(struct programs *p, int sock)
{
	const struct channel_handlers handlers = {on_frame, on_end, p};
	struct program_run *run;
	int rc;

	lose_runner(p);
	rc = channel_new(p->base, sock, &handlers, &p->runner);
	if (rc < 0) {
		close(sock);
		return rc;
	}
	TAILQ_FOREACH (run, &p->runs, link) {
		if (!run->seq)
			ask(run);
	}
	return 0;
}

/*
 * All of it at once: a frame has less than a pipe holds. A program that reads nothing keeps nobody
 * waiting.
 */
static int make_input(const char *bytes, size_t length)
{
	auto_close int to_read = -1, to_write = -1;
	int ends[2];
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	to_read = ends[0];
	to_write = ends[1];
	if (fcntl(to_write, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	n = write(to_write, bytes, length);
	if (n != (ssize_t)length)
		return n < 0 ? -errno : -EMSGSIZE;
	return steal_fd(&to_read);
}

int programs_run(struct programs *p, const char *sink, const char *event, const char *input,
                 size_t length, int64_t timeout_ms, program_done_cb *done, void *arg,
                 struct program_run **out)
{
	struct program_run *run = calloc(1, sizeof(*run));
	int64_t timer_ms = timeout_ms + GRACE_MS;
	struct timeval tv = {timer_ms / 1000, timer_ms % 1000 * 1000};
	int rc;

	if (!run)
		return -ENOMEM;
	run->owner = p;
	run->deadline_ms = clock_monotonic_ms() + timeout_ms;
	run->done = done;
	run->arg = arg;
	snprintf(run->order.sink, sizeof(run->order.sink), "%s", sink);
	snprintf(run->order.event, sizeof(run->order.event), "%s", event);
	run->input = make_input(input, length);
	run->timer = evtimer_new(p->base, on_timer, run);
	TAILQ_INSERT_TAIL(&p->runs, run, link);
	rc = run->input < 0 ? run->input : 0;
	if (rc == 0 && (!run->timer || event_add(run->timer, &tv) < 0))
		rc = -ENOMEM;
	if (rc < 0) {
		programs_cancel(run);
		return rc;
	}
	if (p->runner)
		ask(run);
	*out = run;
	return 0;
}

int programs_new(struct event_base *base, struct programs **out)
{
	struct programs *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->base = base;
	TAILQ_INIT(&p->runs);
	*out = p;
	return 0;
}

void programs_free(struct programs *p)
{
	if (p)
		channel_free(p->runner);
	free(p);
}
