/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints that are asked in their own network namespace: sockets for their probes, and what is
 * said of them. A socket stays in the namespace that it was made in, whoever has it.
 */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

/* A probe that waits for a socket; the watch may be gone when the answer comes. */
struct socket_ask {
	struct agent *agent;
	uint64_t probe;
};

/* What is out of the way in a moment is asked for again. */
static int find_error(const struct agent *a, const struct inventory_answer *answer)
{
	if (!answer || answer->result == INVENTORY_BUSY)
		return -EAGAIN;
	/* A helper that was just started does not know all namespaces yet. */
	if (answer->result == INVENTORY_NOT_FOUND)
		return listeners_is_synced(a->listeners) ? -ENOENT : -EAGAIN;
	return answer->result == INVENTORY_KERNEL && answer->error > 0 && answer->error < 4096
	           ? -answer->error
	           : -EPROTO;
}

static void on_socket(const struct inventory_answer *answer, int fd, void *arg)
{
	auto_free struct socket_ask *ask = arg;
	auto_close int sock = fd;

	schedule_give_socket(ask->agent->schedule, ask->probe, sock,
	                     find_error(ask->agent, answer));
}

void inside_ask_socket(struct watch *w, uint64_t probe, void *arg)
{
	const struct inventory_request request = {
	    .verb = INVENTORY_SOCKET, .family = (uint8_t)w->endpoint.family, .netns = w->netns};
	struct agent *a = arg;
	struct socket_ask *ask = malloc(sizeof(*ask));
	const struct inventory_asker asker = {.answered = on_socket, .arg = ask};

	if (ask)
		*ask = (struct socket_ask){.agent = a, .probe = probe};
	if (ask && inventory_ask(a->inventory, &request, &asker) == 0)
		return;
	free(ask);
	schedule_give_socket(a->schedule, probe, -1, -EAGAIN);
}

void inside_note_finding(struct agent *a, struct watch *w, struct finding *f)
{
	bool unreached = f->verdict == VERDICT_CLOSED || f->verdict == VERDICT_FILTERED;
	bool tells = f->verdict != VERDICT_ERROR && !(unreached && w->wall.in_kernel);
	char vantage[sizeof("netns:18446744073709551615")];

	if (w->netns) {
		snprintf(vantage, sizeof(vantage), "netns:%llu", (unsigned long long)w->netns);
		(void)finding_set(&f->vantage, vantage);
	} else if (tells && w->listener && !listener_is_in_host(w->listener) &&
	           !w->listener->gone_ms) {
		listeners_note_reach(a->listeners, w, !unreached, clock_monotonic_ms());
	}
}

const char *inside_why_not_blocked(const struct watch *w, const struct conf_breaker *rule)
{
	if (w->listener && listener_is_loopback_only(w->listener) &&
	    rule->match.loopback != CONF_LOOPBACK_ONLY)
		return "only its own network namespace reaches it: not blocked";
	return "the firewall does not reach into its network namespace: not blocked";
}
