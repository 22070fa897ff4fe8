/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/filter_link.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <poll.h>
#include <string.h>

void filter_link_init(struct filter_link *link, struct firewall *fw)
{
	*link = (struct filter_link){.fw = fw};
	peer_init(&link->peer, -1);
}

void filter_link_fini(struct filter_link *link)
{
	peer_fini(&link->peer);
	cleanup_close(&link->peer.fd);
	link->peer.fd = -1;
}

/* It may be gone: then the end of its socket is read, and tells us so. */
void filter_link_tell(struct filter_link *link)
{
	struct listener_news news;

	while (firewall_take_news(link->fw, &news))
		(void)peer_send_fd(&link->peer, news.type, 0, &news.listener, sizeof(news.listener),
		                   news.fd);
}

void filter_link_set(struct filter_link *link, int fd)
{
	int err;

	filter_link_fini(link);
	link->peer.fd = fd;
	link->beat = (struct heartbeat){0};
	err = firewall_set_filter(link->fw, fd >= 0, clock_monotonic_ms());
	if (err)
		log_error("what is filtered cannot be led to the filter: %s", strerror(-err));
	filter_link_tell(link);
}

static void set_deaf(struct filter_link *link, bool deaf)
{
	int err = firewall_set_deaf(link->fw, deaf, clock_monotonic_ms());

	if (err)
		log_error("what is filtered cannot be led %s the filter: %s", deaf ? "past" : "to",
		          strerror(-err));
}

static bool is_asked(const struct filter_link *link)
{
	return link->peer.fd >= 0 && firewall_is_filtering(link->fw);
}

/*
 * An answer that lies in the socket already is read before it is missed; but not from one that does
 * not take what it is sent: what it has said is not read either.
 */
static bool is_answer_there(const struct filter_link *link)
{
	struct pollfd filter = {.fd = link->peer.fd, .events = POLLIN};

	return !peer_is_waiting(&link->peer) && poll(&filter, 1, 0) == 1;
}

bool filter_link_beat(struct filter_link *link)
{
	enum heartbeat_step step;
	bool restart = false;

	if (!is_asked(link)) {
		if (link->beat.deaf)
			set_deaf(link, false);
		link->beat = (struct heartbeat){.seq = link->beat.seq};
		return false;
	}
	if (clock_monotonic_ms() < heartbeat_wake_ms(&link->beat) || is_answer_there(link))
		return false;
	while ((step = heartbeat_step(&link->beat, clock_monotonic_ms())) != HEARTBEAT_WAIT) {
		if (step == HEARTBEAT_ASK)
			(void)peer_send(&link->peer, IPC_PING, link->beat.seq, NULL, 0);
		if (step == HEARTBEAT_DEAF) {
			log_warning("the filter does not answer: what it filters is refused, or "
			            "let through, as the rule says");
			set_deaf(link, true);
		}
		restart |= step == HEARTBEAT_RESTART;
	}
	return restart;
}

int64_t filter_link_wake_ms(const struct filter_link *link)
{
	return is_asked(link) ? heartbeat_wake_ms(&link->beat) : INT64_MAX;
}

void filter_link_hear(struct filter_link *link, uint64_t seq)
{
	if (!heartbeat_hear(&link->beat, seq, clock_monotonic_ms()))
		return;
	log_info("the filter answers again");
	set_deaf(link, false);
}
