/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/link.h"

#include <errno.h>
#include <event2/buffer.h>
#include <sys/socket.h>
#include <unistd.h>

void link_init(struct link *l)
{
	*l = (struct link){.fd = -1};
}

int link_open(struct link *l, struct event_base *base, int fd, event_callback_fn on_event,
              void *arg)
{
	l->fd = fd;
	/* EV_CLOSED, since a short read says that there is no more, but not whether there will be.
	 */
	if (event_assign(&l->event, base, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_PERSIST | EV_ET,
	                 on_event, arg) < 0 ||
	    event_add(&l->event, NULL) < 0) {
		close(fd);
		l->fd = -1;
		return -ENOMEM;
	}
	return 0;
}

void link_note(struct link *l, short what)
{
	l->readable |= (what & (EV_READ | EV_CLOSED)) != 0;
	l->writable |= (what & EV_WRITE) != 0;
	l->hung_up |= (what & EV_CLOSED) != 0;
}

int link_connected(struct link *l)
{
	l->connecting = false;
	return link_flush(l);
}

static void drop(struct evbuffer **buffer)
{
	if (*buffer)
		evbuffer_free(*buffer);
	*buffer = NULL;
}

void link_close(struct link *l)
{
	if (l->fd >= 0) {
		event_del(&l->event);
		close(l->fd);
	}
	drop(&l->in);
	drop(&l->out);
	link_init(l);
}

void link_abort(struct link *l)
{
	const struct linger at_once = {.l_onoff = 1};

	if (l->fd >= 0)
		setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	link_close(l);
}

static int keep(struct evbuffer **buffer, const void *bytes, size_t length)
{
	if (!*buffer)
		*buffer = evbuffer_new();
	return *buffer && evbuffer_add(*buffer, bytes, length) == 0 ? 0 : -ENOMEM;
}

size_t link_kept(const struct link *l)
{
	return l->in ? evbuffer_get_length(l->in) : 0;
}

size_t link_pending(const struct link *l)
{
	return l->out ? evbuffer_get_length(l->out) : 0;
}

static ssize_t read_some(struct link *l, char *scratch, size_t room)
{
	ssize_t n;

	if (l->fd < 0 || l->connecting || !l->readable || l->ended)
		return 0;
	do {
		n = read(l->fd, scratch, room);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		l->readable = false;
		return errno == EAGAIN ? 0 : -errno;
	}
	l->ended = n == 0;
	if (n == 0 || ((size_t)n < room && !l->hung_up))
		l->readable = false;
	return n;
}

int link_read(struct link *l, char *scratch, size_t room, bool join, struct http_text *out)
{
	size_t kept = link_kept(l);
	ssize_t n = kept && !join ? 0 : read_some(l, scratch, room);

	if (n < 0)
		return (int)n;
	if (n > 0 && kept == 0) {
		*out = (struct http_text){scratch, (size_t)n};
		return 1;
	}
	if (n > 0 && keep(&l->in, scratch, (size_t)n) < 0)
		return -ENOMEM;
	kept += (size_t)n;
	if (kept == 0)
		return 0;
	*out = (struct http_text){(const char *)evbuffer_pullup(l->in, -1), kept};
	return out->at ? 1 : -ENOMEM;
}

int link_used(struct link *l, const struct http_text *bytes, size_t used)
{
	if (!l->in)
		return used < bytes->length ? keep(&l->in, bytes->at + used, bytes->length - used)
		                            : 0;
	if (used == bytes->length)
		drop(&l->in);
	else
		evbuffer_drain(l->in, used);
	return 0;
}

int link_queue(struct link *l, const void *bytes, size_t length)
{
	return length ? keep(&l->out, bytes, length) : 0;
}

int link_flush(struct link *l)
{
	while (l->out && l->fd >= 0 && !l->connecting && l->writable) {
		if (evbuffer_write(l->out, l->fd) < 0) {
			if (errno == EINTR)
				continue;
			l->writable = false;
			return errno == EAGAIN ? 0 : -errno;
		}
		if (evbuffer_get_length(l->out) == 0)
			drop(&l->out);
	}
	return 0;
}

static ssize_t write_some(struct link *l, const struct iovec *pieces, size_t n)
{
	ssize_t sent;

	if (l->out || l->fd < 0 || l->connecting || !l->writable)
		return 0;
	do {
		sent = writev(l->fd, pieces, (int)n);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0) {
		l->writable = false;
		return errno == EAGAIN ? 0 : -errno;
	}
	return sent;
}

int link_send(struct link *l, struct iovec *pieces, size_t n)
{
	ssize_t sent = write_some(l, pieces, n);
	int err = 0;

	if (sent < 0)
		return (int)sent;
	for (size_t i = 0; i < n && err == 0; i++) {
		size_t gone = pieces[i].iov_len < (size_t)sent ? pieces[i].iov_len : (size_t)sent;

		sent -= (ssize_t)gone;
		err = link_queue(l, (const char *)pieces[i].iov_base + gone,
		                 pieces[i].iov_len - gone);
	}
	return err;
}
