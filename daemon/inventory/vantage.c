/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/vantage.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "daemon/inventory/vantage_link.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

struct attempt {
	LIST_ENTRY(attempt) link;
	struct vantage *vantage;
	int sock;
	int error; /* connect(2) said at once, positive */
	struct event *event;
	vantage_done *done;
	void *arg;
};

struct vantage {
	int fd, home;
	uint64_t netns;
	LIST_HEAD(, attempt) attempts;
	unsigned n_attempts;
};

static int fail(char *why, const char *what)
{
	int error = errno;

	snprintf(why, VANTAGE_WHY_LEN, "%s: %s", what, strerror(error));
	return -error;
}

int vantage_take(int fd, struct vantage **out, char why[static VANTAGE_WHY_LEN])
{
	auto_close int own = fd;
	auto_close int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct vantage *v;
	struct stat st;

	if (home < 0)
		return fail(why, "/proc/self/ns/net");
	if (fcntl(own, F_SETFD, FD_CLOEXEC) < 0 || fstat(own, &st) < 0)
		return fail(why, "the namespace handed over");
	v = calloc(1, sizeof(*v));
	if (!v) {
		errno = ENOMEM;
		return fail(why, "memory");
	}
	v->netns = st.st_ino;
	v->fd = steal_fd(&own);
	v->home = steal_fd(&home);
	LIST_INIT(&v->attempts);
	*out = v;
	return 0;
}

int vantage_make(struct vantage **out, char why[static VANTAGE_WHY_LEN])
{
	auto_close int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int netns;

	if (home < 0)
		return fail(why, "/proc/self/ns/net");
	netns = vantage_link_make(home, why);
	return netns < 0 ? netns : vantage_take(netns, out, why);
}

static void end_attempt(struct attempt *a)
{
	LIST_REMOVE(a, link);
	a->vantage->n_attempts--;
	if (a->event)
		event_free(a->event);
	if (a->sock >= 0)
		close(a->sock);
	free(a);
}

void vantage_free(struct vantage *v)
{
	struct attempt *a;

	if (!v)
		return;
	while ((a = LIST_FIRST(&v->attempts))) {
		free(a->arg);
		end_attempt(a);
	}
	close(v->fd);
	close(v->home);
	free(v);
}

int vantage_fd(const struct vantage *v)
{
	return v->fd;
}

uint64_t vantage_netns(const struct vantage *v)
{
	return v->netns;
}

static enum inventory_result judge(int error)
{
	switch (error) {
	case 0: return INVENTORY_CONNECTED;
	case ECONNREFUSED:
	case ECONNRESET:
	case EACCES: /* ICMPv6: administratively prohibited */
	case EPERM: return INVENTORY_REFUSED;
	case ETIMEDOUT: return INVENTORY_SILENT;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EINVAL: return INVENTORY_NO_ROUTE;
	default: return INVENTORY_KERNEL;
	}
}

static void on_attempt(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;
	vantage_done *done = a->done;
	void *done_arg = a->arg;
	enum inventory_result result;
	int error = a->error;
	socklen_t length = sizeof(error);

	if (!error && (what & EV_TIMEOUT))
		error = ETIMEDOUT;
	else if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	result = judge(error);
	end_attempt(a);
	done(result, result == INVENTORY_KERNEL ? error : 0, done_arg);
	free(done_arg);
}

/* What is not routed, or would not leave the vantage point. */
static bool leads_out(const struct endpoint *to)
{
	if (to->family == AF_INET)
		return to->address[0] != 0 && to->address[0] != 127 && to->address[0] < 224;
	return to->address[0] != 0xff && !endpoint_is_loopback(to) &&
	       !(to->address[0] == 0xfe && (to->address[1] & 0xc0) == 0x80);
}

int vantage_socket(const struct vantage *v, int family)
{
	int sock, err;

	if (setns(v->fd, CLONE_NEWNET) < 0)
		return -errno;
	sock = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = errno;
	if (setns(v->home, CLONE_NEWNET) < 0) {
		log_error("no way back to our network namespace: %s", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	return sock < 0 ? -err : sock;
}

/* Ended by a reset: the server is rid of it at once, and so is the kernel. */
static int make_fleeting_socket(const struct vantage *v, int family)
{
	const struct linger at_once = {.l_onoff = 1};
	int sock = vantage_socket(v, family);

	if (sock >= 0)
		(void)setsockopt(sock, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	return sock;
}

int vantage_connect(struct vantage *v, struct event_base *base, const struct endpoint *to,
                    uint32_t timeout_ms, vantage_done *done, void *arg)
{
	const struct timeval timeout = {.tv_sec = timeout_ms / 1000,
	                                .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(to, &address);
	struct attempt *a;
	int err = 0;

	if (v->n_attempts >= VANTAGE_MAX_CONNECTS)
		return -EAGAIN;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct attempt){.vantage = v, .done = done, .arg = arg};
	LIST_INSERT_HEAD(&v->attempts, a, link);
	v->n_attempts++;
	a->sock = make_fleeting_socket(v, to->family);
	if (a->sock < 0)
		err = a->sock;
	else
		a->event = event_new(base, a->sock, EV_WRITE, on_attempt, a);
	if (err == 0 && (!a->event || event_add(a->event, &timeout) < 0))
		err = -ENOMEM;
	if (err < 0) {
		end_attempt(a);
		return err;
	}
	if (!leads_out(to))
		a->error = ENETUNREACH;
	else if (connect(a->sock, (const struct sockaddr *)&address, length) < 0 &&
	         errno != EINPROGRESS)
		a->error = errno;
	if (a->error)
		event_active(a->event, EV_WRITE, 1);
	return 0;
}
