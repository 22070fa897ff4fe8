/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/attempt.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct ended {
	struct event *now;
	struct attempt_result result;
	attempt_done_cb *done;
	void *arg;
};

void attempt_end_cancel(void *attempt)
{
	struct ended *e = attempt;

	if (e->now)
		event_free(e->now);
	free(e);
}

static void on_now(evutil_socket_t fd, short what, void *arg)
{
	struct ended *e = arg;
	const struct attempt_result result = e->result;
	attempt_done_cb *done = e->done;
	void *done_arg = e->arg;

	(void)fd;
	(void)what;
	attempt_end_cancel(e);
	done(&result, done_arg);
}

int attempt_end(struct drivers *d, const struct attempt_result *result, attempt_done_cb *done,
                void *arg, void **attempt)
{
	struct ended *e = malloc(sizeof(*e));

	if (!e)
		return -ENOMEM;
	*e = (struct ended){evtimer_new(d->base, on_now, e), *result, done, arg};
	if (!e->now) {
		free(e);
		return -ENOMEM;
	}
	event_active(e->now, EV_TIMEOUT, 0);
	*attempt = e;
	return 0;
}

struct attempt_result attempt_judge_send(ssize_t sent, int error)
{
	struct attempt_result result = {.verdict = ATTEMPT_DELIVERED};

	if (sent >= 0)
		return result;
	result.verdict = error == EMSGSIZE ? ATTEMPT_REFUSED : ATTEMPT_RETRY;
	if (error == EAGAIN)
		snprintf(result.text, sizeof(result.text), "the receiver does not read");
	else
		snprintf(result.text, sizeof(result.text), "%s", strerror(error));
	return result;
}

struct attempt_result attempt_send_unix(const char *path, const void *bytes, size_t length)
{
	auto_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct attempt_result result;
	ssize_t sent = -1;
	int error;

	if (strlen(path) >= sizeof(to.sun_path))
		return attempt_judge_send(-1, ENAMETOOLONG);
	strcpy(to.sun_path, path);
	if (fd >= 0)
		sent = sendto(fd, bytes, length, MSG_NOSIGNAL, (const struct sockaddr *)&to,
		              sizeof(to));
	error = sent < 0 ? errno : 0;
	result = attempt_judge_send(sent, error);
	if (result.verdict == ATTEMPT_RETRY && error != EAGAIN)
		snprintf(result.text, sizeof(result.text), "its socket: %s", strerror(error));
	return result;
}
