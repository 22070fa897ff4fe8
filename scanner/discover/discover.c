/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/discover.h"

#include "common/cleanup.h"
#include "common/frame.h"
#include "scanner/discover/frame_queue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum {
	FRAMES_AT_ONCE = 4, /* then other events of the loop have their turn */
	START_MS = 10000,
};

struct known_batch {
	const struct sweep_space *space; /* NULL: this one is free */
	uint32_t id;
	uint64_t known; /* positions below have been told */
	uint64_t size;
};

struct discover {
	pid_t pid;
	int sock;
	struct event *readable, *writable;
	struct frame_queue out;
	struct known_batch batches[DISCOVER_BATCHES];
	struct discover_callbacks callbacks;
	void *arg;
	struct discover_report report;
	bool finished, failed;
	struct frame in;
};

/* As frame_recv(). No descriptor comes by this socket: kept, they would be ours to run out of. */
static int receive(struct discover *d)
{
	int got = frame_recv(d->sock, &d->in);

	if (got != 1 || d->in.fd < 0)
		return got;
	close(d->in.fd);
	return -EPROTO;
}

/* The child opens its sockets, or says why it cannot. */
static int wait_for_child(struct discover *d, char why[static DISCOVER_ERROR_LEN])
{
	struct pollfd ready = {.fd = d->sock, .events = POLLIN};
	struct discover_ready answer;
	int got;

	while ((got = poll(&ready, 1, START_MS)) < 0 && errno == EINTR)
		;
	got = got > 0 ? receive(d) : -ETIMEDOUT;
	if (got != 1 || d->in.type != DISCOVER_READY || d->in.length != sizeof(answer)) {
		snprintf(why, DISCOVER_ERROR_LEN, "the discoverer did not start");
		return got < 0 ? got : -EPROTO;
	}
	memcpy(&answer, d->in.body, sizeof(answer));
	answer.why[sizeof(answer.why) - 1] = '\0';
	if (answer.error)
		snprintf(why, DISCOVER_ERROR_LEN, "%s", answer.why);
	return answer.error < 0 ? answer.error : 0;
}

int discover_start(const struct discover_conf *conf, struct discover **out,
                   char why[static DISCOVER_ERROR_LEN])
{
	struct discover *d = calloc(1, sizeof(*d));
	int pair[2];
	int err;

	snprintf(why, DISCOVER_ERROR_LEN, "out of memory");
	if (!d)
		return -ENOMEM;
	frame_queue_init(&d->out);
	err = frame_socketpair(pair);
	if (err) {
		free(d);
		return err;
	}
	d->pid = fork();
	if (d->pid == 0)
		discover_child_run(conf, pair[1]);
	err = d->pid < 0 ? -errno : 0;
	d->sock = pair[0];
	close(pair[1]);
	if (!err)
		err = wait_for_child(d, why);
	if (err) {
		discover_free(d);
		return err;
	}
	*out = d;
	return 0;
}

void discover_detach(struct discover *d)
{
	if (d->readable)
		event_free(d->readable);
	if (d->writable)
		event_free(d->writable);
	d->readable = d->writable = NULL;
}

void discover_free(struct discover *d)
{
	if (!d)
		return;
	discover_detach(d);
	close(d->sock);
	if (d->pid > 0) {
		kill(d->pid, SIGKILL);
		while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	frame_queue_fini(&d->out);
	free(d);
}

static void fail(struct discover *d, int err)
{
	if (d->failed)
		return;
	d->failed = true;
	event_del(d->readable);
	event_del(d->writable);
	d->callbacks.failed(err, d->arg);
}

static void flush(struct discover *d)
{
	int err = frame_queue_flush(&d->out, d->sock);

	if (err)
		fail(d, err);
	else if (d->out.count > 0)
		event_add(d->writable, NULL);
}

static struct known_batch *find_batch(struct discover *d, uint32_t id)
{
	for (size_t i = 0; i < DISCOVER_BATCHES; i++) {
		if (d->batches[i].space && d->batches[i].id == id)
			return &d->batches[i];
	}
	return NULL;
}

/* Anybody's packets were read to make these: nothing but what was asked for is believed. */
static int take_results(struct discover *d)
{
	const size_t size = sizeof(struct discover_result);

	if (d->in.length % size != 0)
		return -EPROTO;
	for (size_t at = 0; at < d->in.length; at += size) {
		const struct known_batch *b;
		struct discover_result r;
		struct endpoint e;
		uint64_t index;
		uint32_t token;

		memcpy(&r, d->in.body + at, size);
		b = find_batch(d, r.batch);
		if (!b || r.state < DISCOVER_OPEN || r.state > DISCOVER_UNREACHABLE ||
		    !sweep_space_find(b->space, &r.endpoint, &index) ||
		    !sweep_space_at(b->space, index, &e, &token))
			return -EPROTO;
		/* Ours: what else is in theirs (an IPv4 scope, bytes behind it) was not asked. */
		d->callbacks.result(r.batch, &e, index, r.state, r.rtt_us, d->arg);
	}
	return 0;
}

static int take_progress(struct discover *d)
{
	struct discover_progress p;
	struct known_batch *b;

	if (d->in.length != sizeof(p))
		return -EPROTO;
	memcpy(&p, d->in.body, sizeof(p));
	b = find_batch(d, p.batch);
	/* An end that is none would be waited for without an end. */
	if (!b || p.position < b->known || p.position > b->size ||
	    (p.done != 0) != (p.position == b->size))
		return -EPROTO;
	b->known = p.position;
	if (p.done)
		b->space = NULL;
	d->callbacks.progress(p.batch, p.position, p.done, d->arg);
	return 0;
}

static int take(struct discover *d)
{
	switch (d->in.type) {
	case DISCOVER_RESULTS: return take_results(d);
	case DISCOVER_PROGRESS: return take_progress(d);
	case DISCOVER_REPORT:
		if (d->in.length != sizeof(d->report))
			return -EPROTO;
		memcpy(&d->report, d->in.body, sizeof(d->report));
		return 0;
	case DISCOVER_NOTE:
		/* frame_recv() has put a NUL after it. */
		d->callbacks.note((const char *)d->in.body, d->arg);
		return 0;
	default: return -EPROTO;
	}
}

/* It was told that nothing more would come, and owes nothing: else it has died. */
static bool is_complete(const struct discover *d)
{
	for (size_t i = 0; i < DISCOVER_BATCHES; i++) {
		if (d->batches[i].space)
			return false;
	}
	return d->finished;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct discover *d = arg;

	(void)fd;
	(void)what;
	/* A callback may pause us. */
	for (int i = 0; i < FRAMES_AT_ONCE && event_pending(d->readable, EV_READ, NULL); i++) {
		int got = receive(d);
		int err;

		if (got == -EAGAIN)
			return;
		if (got == 0 && is_complete(d)) {
			event_del(d->readable);
			d->callbacks.ended(d->arg);
			return;
		}
		err = got == 1 ? take(d) : got < 0 ? got : -EPIPE;
		if (err) {
			fail(d, err);
			return;
		}
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

int discover_attach(struct discover *d, struct event_base *base,
                    const struct discover_callbacks *callbacks, void *arg)
{
	d->callbacks = *callbacks;
	d->arg = arg;
	d->readable = event_new(base, d->sock, EV_READ | EV_PERSIST, on_readable, d);
	d->writable = event_new(base, d->sock, EV_WRITE, on_writable, d);
	if (!d->readable || !d->writable || event_add(d->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* As many frames as it takes. */
static int put_list(struct discover *d, uint16_t type, const void *list, size_t n, size_t size)
{
	const size_t at_once = FRAME_BODY_MAX_BYTES / size;
	int err = 0;

	for (size_t done = 0; done < n && !err; done += at_once) {
		size_t count = n - done < at_once ? n - done : at_once;

		err =
		    frame_queue_put(&d->out, type, (const char *)list + done * size, count * size);
	}
	return err;
}

int discover_add(struct discover *d, const struct discover_batch *batch,
                 const struct sweep_space *space, const struct sweep_span *spans, size_t n_spans,
                 const uint16_t *ports, size_t n_ports)
{
	struct known_batch *b = NULL;
	int err;

	for (size_t i = 0; i < DISCOVER_BATCHES && !b; i++) {
		if (!d->batches[i].space)
			b = &d->batches[i];
	}
	if (!b)
		return -EAGAIN;
	err = put_list(d, DISCOVER_PORTS, ports, n_ports, sizeof(*ports));
	if (!err)
		err = put_list(d, DISCOVER_SPANS, spans, n_spans, sizeof(*spans));
	if (!err)
		err = frame_queue_put(&d->out, DISCOVER_BATCH, batch, sizeof(*batch));
	if (err)
		return err;
	*b = (struct known_batch){.space = space,
	                          .id = batch->id,
	                          .known = batch->first,
	                          .size = sweep_shard_size(&batch->shard, sweep_space_size(space))};
	flush(d);
	return 0;
}

void discover_finish(struct discover *d)
{
	if (d->finished)
		return;
	d->finished = true;
	if (frame_queue_put(&d->out, DISCOVER_END, NULL, 0) < 0)
		fail(d, -ENOMEM);
	else
		flush(d);
}

void discover_pause(struct discover *d, bool pause)
{
	if (d->failed)
		return;
	if (pause)
		event_del(d->readable);
	else
		event_add(d->readable, NULL);
}

void discover_get_report(const struct discover *d, struct discover_report *out)
{
	*out = d->report;
}
