/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pair of sockets between a scan and its discoverer, with anything in it. As the discoverer:
 * batches are taken and walked, whatever they are. As the scan: what a discoverer says that
 * somebody's packets have taken over is an error or a result of what was asked, and nothing else.
 *
 * The input is frames: two bytes of length, one of type, one of flags, and the body. The first byte
 * of all says who is played; flags say that a descriptor comes along, or that the header is wrong.
 */
#include "scanner/discover/child_internal.h"

/* The scan's side with a pair of ours, in the place of the one that a fork has the other end of. */
#include "scanner/discover/discover.c" // NOLINT(bugprone-suspicious-include)

#include "common/cleanup.h"
#include "common/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	FLAG_DESCRIPTOR = 1,
	FLAG_DAMAGED = 2,
	FRAMES_MAX = 64,
	SPACE_MAX = 1 << 16, /* larger ones are not walked to the end */
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Sends the next frame of the input. Returns false at its end. */
static bool feed_next(int sock, const uint8_t **data, size_t *size)
{
	static uint8_t body[FRAME_BODY_MAX_BYTES];
	size_t length;
	uint8_t type, flags;

	if (*size < 4)
		return false;
	length = (size_t)((*data)[0] | (*data)[1] << 8);
	type = (*data)[2];
	flags = (*data)[3];
	*data += 4;
	*size -= 4;
	if (length > *size)
		length = *size;
	if (length > sizeof(body))
		length = sizeof(body);
	if (length > 0)
		memcpy(body, *data, length);
	if (flags & FLAG_DAMAGED)
		send(sock, *data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		frame_send(sock, type, 0, body, length, flags & FLAG_DESCRIPTOR ? 2 : -1);
	*data += length;
	*size -= length;
	return true;
}

static void drain(int sock)
{
	static struct frame f;

	while (frame_recv(sock, &f) == 1)
		check(f.type >= DISCOVER_READY && f.type <= DISCOVER_NOTE);
}

/* As the discoverer */

/* As an engine does, but that nothing is sent. */
static void walk_window(struct discover_child *c, struct discover_window *w)
{
	check(w->count > 0 && w->count <= DISCOVER_WINDOW_MAX);
	for (uint32_t i = 0; i < w->count && i < 64; i++) {
		struct discover_window *found;
		struct endpoint e;
		uint32_t offset;

		if (!discover_window_at(c, w, i, &e))
			continue;
		found = discover_child_find(c, &e, &offset);
		check(found);
		discover_child_result(c, found, &e, DISCOVER_OPEN, 1000);
	}
	discover_child_close(c, w);
}

static void be_the_child(const uint8_t *data, size_t size)
{
	const struct discover_conf conf = {.method = DISCOVER_CONNECT, .limits = {.retries = 1}};
	struct discover_child *c = NULL;
	int pair[2];

	check(frame_socketpair(pair) == 0 && discover_child_new(&conf, pair[1], &c) == 0);
	for (unsigned i = 0; i < FRAMES_MAX && feed_next(pair[0], &data, &size); i++) {
		struct discover_window *w;

		if (discover_child_turn(c) != 0)
			break;
		while ((w = discover_child_window(c, SPACE_MAX)) && i < FRAMES_MAX) {
			walk_window(c, w);
			i++;
		}
		drain(pair[0]);
	}
	discover_child_finish(c);
	discover_child_free(c);
	close(pair[0]);
	close(pair[1]);
}

/* As the scan */

static const struct sweep_span asked[] = {
    {.prefix = {.family = AF_INET, .bits = 24, .address = {10, 0, 0, 0}}},
    {.prefix = {.family = AF_INET6, .bits = 120, .address = {0xfd}}},
};
static const uint16_t asked_ports[] = {80, 8080};

struct parent {
	const struct sweep_space *space;
	bool failed, ended;
	uint64_t position;
};

static void on_result(uint32_t batch, const struct endpoint *e, uint64_t index,
                      enum discover_state state, int64_t rtt_us, void *arg)
{
	const struct parent *p = arg;
	struct endpoint same;
	uint32_t token;

	(void)rtt_us;
	check(batch == 7 && !p->failed);
	check(state >= DISCOVER_OPEN && state <= DISCOVER_UNREACHABLE);
	check(sweep_space_at(p->space, index, &same, &token));
	check(endpoint_compare(e, &same) == 0);
}

static void on_progress(uint32_t batch, uint64_t position, bool done, void *arg)
{
	(void)position;
	(void)done;
	(void)arg;
	check(batch == 7);
}

static void on_note(const char *text, void *arg)
{
	(void)arg;
	check(strlen(text) <= FRAME_BODY_MAX_BYTES);
}

static void on_ended(void *arg)
{
	struct parent *p = arg;

	p->ended = true;
}

static void on_failed(int error, void *arg)
{
	struct parent *p = arg;

	check(error < 0 && !p->failed);
	p->failed = true;
}

static void be_the_parent(const uint8_t *data, size_t size)
{
	static const struct discover_callbacks callbacks = {.result = on_result,
	                                                    .progress = on_progress,
	                                                    .note = on_note,
	                                                    .ended = on_ended,
	                                                    .failed = on_failed};
	const struct discover_batch batch = {.id = 7, .shard = {0, 1}};
	struct sweep_space *space = NULL;
	struct event_base *base = event_base_new();
	struct discover *d = calloc(1, sizeof(*d));
	struct parent p = {0};
	int pair[2];

	check(sweep_space_new(asked, ARRAY_LEN(asked), asked_ports, 2, &space) == 0);
	p.space = space;
	check(base && d && frame_socketpair(pair) == 0);
	frame_queue_init(&d->out);
	d->sock = pair[0];
	check(discover_attach(d, base, &callbacks, &p) == 0);
	check(discover_add(d, &batch, space, asked, ARRAY_LEN(asked), asked_ports, 2) == 0);
	for (unsigned i = 0; i < FRAMES_MAX && !p.failed && feed_next(pair[1], &data, &size); i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	discover_free(d);
	event_base_free(base);
	sweep_space_free(space);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before = count_descriptors();

	if (size == 0)
		return 0;
	if (data[0] & 1)
		be_the_child(data + 1, size - 1);
	else
		be_the_parent(data + 1, size - 1);
	check(count_descriptors() == before);
	return 0;
}
