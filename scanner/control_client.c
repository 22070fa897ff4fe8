/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/control_client.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { READ_STEP_BYTES = 64 * 1024 };

static int say(char why[static CONTROL_CLIENT_ERROR_LEN], int error, const char *socket_path)
{
	const char *text = strerror(-error);

	switch (-error) {
	case ENOENT:
	case ECONNREFUSED: text = "the daemon is not running"; break;
	case EACCES:
	case EPERM: text = "permission denied; it takes root or a member of control.group"; break;
	case ETIMEDOUT: text = "the daemon does not answer"; break;
	case EPIPE:
	case ECONNRESET: text = "the daemon closed the connection"; break;
	default: break;
	}
	snprintf(why, CONTROL_CLIENT_ERROR_LEN, "%.120s: %s", socket_path, text);
	return error;
}

static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left_ms = deadline_ms - clock_monotonic_ms();
		int n;

		if (left_ms <= 0)
			return -ETIMEDOUT;
		n = poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* A full backlog is EAGAIN for AF_UNIX, and nothing to wait for with poll(2). */
static int connect_until(int fd, const struct sockaddr_un *address, int64_t deadline_ms)
{
	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_monotonic_ms() >= deadline_ms)
			return -ETIMEDOUT;
		poll(NULL, 0, 5);
	}
	return 0;
}

static int send_all(int fd, const char *data, size_t length, int64_t deadline_ms)
{
	while (length > 0) {
		ssize_t n = send(fd, data, length, MSG_NOSIGNAL);

		if (n >= 0) {
			data += n;
			length -= (size_t)n;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0; /* refused unread; the answer says why */
		} else if (errno == EAGAIN) {
			int error = wait_for(fd, POLLOUT, deadline_ms);

			if (error)
				return error;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

struct answer {
	char *bytes;
	size_t length, size;
};

static void free_answer(struct answer *a)
{
	free(a->bytes);
}

static int grow(struct answer *a)
{
	size_t size = a->size ? a->size * 2 : READ_STEP_BYTES;
	char *bytes;

	if (size > 2 * (size_t)CONTROL_ANSWER_MAX_BYTES)
		return -EMSGSIZE;
	bytes = realloc(a->bytes, size);
	if (!bytes)
		return -ENOMEM;
	a->bytes = bytes;
	a->size = size;
	return 0;
}

/* Until the newline, or the end of the connection. */
static int receive_line(int fd, struct answer *a, int64_t deadline_ms)
{
	for (;;) {
		ssize_t n;
		int error = a->length == a->size ? grow(a) : 0;

		if (!error)
			error = wait_for(fd, POLLIN, deadline_ms);
		if (error)
			return error;
		n = recv(fd, a->bytes + a->length, a->size - a->length, 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n == 0)
			return a->length > 0 ? 0 : -ECONNRESET;
		if (n > 0) {
			a->length += (size_t)n;
			if (a->bytes[a->length - 1] == '\n')
				return 0;
		}
	}
}

static int exchange(const char *socket_path, const char *line, int64_t deadline_ms,
                    struct answer *a)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close int fd = -1;
	int error;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, socket_path, strlen(socket_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = connect_until(fd, &address, deadline_ms);
	if (!error)
		error = send_all(fd, line, strlen(line), deadline_ms);
	if (!error)
		error = send_all(fd, "\n", 1, deadline_ms);
	return error ? error : receive_line(fd, a, deadline_ms);
}

int control_client_ask(const char *socket_path, const json_t *request, int64_t timeout_ms,
                       json_t **answer, char why[static CONTROL_CLIENT_ERROR_LEN])
{
	__attribute__((cleanup(free_answer))) struct answer a = {0};
	auto_free char *line = json_dumps(request, JSON_COMPACT);
	json_error_t parse_error;
	json_t *object;
	int error;

	if (!line)
		return say(why, -ENOMEM, socket_path);
	error = exchange(socket_path, line, clock_monotonic_ms() + timeout_ms, &a);
	if (error)
		return say(why, error, socket_path);
	object = json_loadb(a.bytes, a.length, 0, &parse_error);
	if (!json_is_boolean(json_object_get(object, "ok"))) {
		json_decref(object);
		snprintf(why, CONTROL_CLIENT_ERROR_LEN, "%.120s: not the daemon's protocol",
		         socket_path);
		return -EPROTO;
	}
	*answer = object;
	return 0;
}
