/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From listeners to watches: what the agent does when the inventory tells of something. */
#include "common/clock.h"
#include "common/log.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <string.h>

/* Another server may have taken its place: what stands is looked at again, through the wall. */
static void ask_at_once(struct agent *a, struct watch *w)
{
	int64_t now = clock_monotonic_ms();

	if (w->slot.quarantined)
		return; /* who kills probers waits, whoever restarts it */
	if (w->breaker.state == BREAKER_OPEN && w->breaker.open_until_ms > now)
		w->breaker.open_until_ms = now;
	w->young_since_ms = now;
	enforce_take_up(a, w);
}

static void on_appeared(struct watch *w, int64_t seen_ns, void *arg)
{
	struct agent *a = arg;

	w->configured = true;
	if (seen_ns && w->breaker.state == BREAKER_CLOSED && !w->wall.in_kernel)
		w->appeared_ns = seen_ns;
	observe_reconsider(a, w);
	ask_at_once(a, w);
	observe_reconsider(a, w); /* what the last run left may be of another rule */
}

static void on_changed(struct watch *w, void *arg)
{
	struct agent *a = arg;
	const struct listener *l = w->listener;

	if (l && l->gone_ms)
		story_add(w,
		          "nobody listens any more; if nobody does again within %d s, the "
		          "breaker closes",
		          LISTENERS_GRACE_MS / 1000);
	else if (l)
		story_add(w, "%s listens now (pid %d, uid %u%s%s)%s",
		          l->owner->command[0] ? l->owner->command : "a process", l->owner->pid,
		          (unsigned)l->owner->uid, l->owner->unit[0] ? ", " : "", l->owner->unit,
		          w->ambiguous ? "; another container has this address, too" : "");
	observe_reconsider(a, w);
	/* One that may be blocked no more, or again. */
	if (a->adopted && w->configured &&
	    ((w->breaker.state != BREAKER_CLOSED &&
	      w->wall.in_kernel != !local_why_not_blocked(a, w)) ||
	     enforce_is_due(a, w)))
		enforce_apply(a, w);
}

static void on_gone(struct watch *w, void *arg)
{
	struct agent *a = arg;

	w->appeared_ns = 0;
	if (w->targeted)
		observe_reconsider(a, w);
	else if (w->configured)
		enforce_abandon(a, w);
	else
		enforce_drop_unused(a, w);
}

static bool is_own(int pid, void *arg)
{
	const struct agent *a = arg;

	if (pid == getpid() || pid == getppid())
		return true;
	for (int role = 0; role < IPC_ROLE_COUNT; role++) {
		if (a->peers[role].connected && a->peers[role].pid == pid)
			return true;
	}
	return false;
}

static int on_told(enum inventory_type type, const void *body, size_t length, void *arg)
{
	struct agent *a = arg;
	int64_t now = clock_monotonic_ms();
	int err = 0;

	if (!a->conf || !a->conf->scan.listeners)
		return 0; /* on its way when we said that we do not want it */
	if (type == INVENTORY_NAMESPACE)
		err = listeners_take_namespace(a->listeners, body, length, now);
	else if (type == INVENTORY_LISTENER)
		err = listeners_take_listener(a->listeners, body, length, now);
	else
		err = listeners_take_synced(a->listeners, body, length, now);
	if (err == -ENOMEM)
		log_error("out of memory: a listener is not watched");
	if (listeners_is_synced(a->listeners) && !a->synced_ms)
		a->synced_ms = now;
	return err;
}

static void on_pong(void *arg)
{
	((struct agent *)arg)->peers[IPC_ROLE_INVENTORY].last_pong_ms = clock_monotonic_ms();
}

static void on_helper_gone(void *arg)
{
	struct agent *a = arg;

	a->peers[IPC_ROLE_INVENTORY].connected = false;
	listeners_lose_helper(a->listeners);
}

int local_init(struct agent *a)
{
	const struct listeners_handlers listeners = {.appeared = on_appeared,
	                                             .changed = on_changed,
	                                             .gone = on_gone,
	                                             .is_own = is_own,
	                                             .arg = a};
	const struct inventory_handlers inventory = {
	    .told = on_told, .pong = on_pong, .gone = on_helper_gone, .arg = a};
	int err = listeners_new(a->watches, &listeners, &a->listeners);

	return err ? err : inventory_new(a->base, &inventory, &a->inventory);
}

static void ask_for_listeners(struct agent *a)
{
	struct inventory_request request = {.verb = INVENTORY_UNWATCH};

	if (!inventory_is_there(a->inventory))
		return;
	if (a->conf->scan.listeners) {
		request.verb = INVENTORY_WATCH;
		request.poll_ms = (uint32_t)a->conf->scan.poll_ms;
	}
	(void)inventory_ask(a->inventory, &request, NULL);
}

int local_set_helper(struct agent *a, int sock)
{
	int err;

	listeners_lose_helper(a->listeners);
	err = inventory_set_helper(a->inventory, sock);
	a->peers[IPC_ROLE_INVENTORY].connected = err == 0;
	if (err == 0 && a->conf)
		ask_for_listeners(a);
	return err;
}

static bool any_seals_loopback(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_breakers; i++) {
		if (conf->breakers[i].seal_local && conf->breakers[i].action != CONF_ACTION_ALERT)
			return true;
	}
	return false;
}

void local_configure(struct agent *a)
{
	struct listeners_conf conf = {
	    .protected_ports = a->conf->protect.ports.items,
	    .n_protected = a->conf->protect.ports.count,
	    .seals_loopback = any_seals_loopback(a->conf),
	    .inside = a->conf->scan.inside,
	};

	if (a->conf->metrics.enabled)
		conf.metrics = a->conf->metrics.listen;
	if (!a->conf->scan.listeners)
		listeners_clear(a->listeners);
	if (listeners_configure(a->listeners, &conf) < 0)
		log_error("out of memory: listeners are judged as before");
	ask_for_listeners(a);
}

/* Blocks of the last run: where our own hosts' addresses have no listener, nobody needs them. */
static void abandon_unclaimed(struct agent *a)
{
	for (size_t i = watch_set_count(a->watches); i-- > 0;) {
		struct watch *w = watch_set_at(a->watches, i);

		if (!w->configured && !w->decision && w->wall.in_kernel &&
		    listeners_has_address(a->listeners, &w->endpoint))
			enforce_abandon(a, w);
	}
}

void local_tick(struct agent *a)
{
	int64_t now = clock_monotonic_ms();

	inventory_check_deadlines(a->inventory);
	listeners_expire(a->listeners, now);
	if (a->swept || !a->synced_ms || !a->adopted || now - a->synced_ms < LISTENERS_GRACE_MS)
		return;
	a->swept = true;
	abandon_unclaimed(a);
}

/* The one address of a wildcard listener by which it is asked each interval. */
static bool is_lead(const struct watch *w)
{
	const struct claim *c;

	if (w->targeted || !w->listener || !w->listener->wildcard)
		return true;
	LIST_FOREACH (c, &w->listener->claims, of_listener) {
		if (c->watch->listener == w->listener && c->watch->netns == w->netns)
			return c->watch == w;
	}
	return true;
}

int64_t local_stretch(const struct watch *w, int64_t in_ms)
{
	if (w->breaker.state != BREAKER_CLOSED || w->breaker.history || is_lead(w))
		return in_ms;
	return in_ms * LOCAL_OTHERS_EVERY;
}

void local_alarm_others(struct agent *a, const struct watch *w)
{
	const struct claim *c;

	if (w->targeted || !w->listener || !w->listener->wildcard || !is_lead(w))
		return;
	LIST_FOREACH (c, &w->listener->claims, of_listener) {
		struct watch *other = c->watch;

		if (other != w && other->listener == w->listener && other->seen &&
		    other->breaker.state == BREAKER_CLOSED && !other->breaker.history &&
		    !other->slot.quarantined)
			schedule_probe_in(a->schedule, other, 0);
	}
}

void local_note_block(struct agent *a, struct watch *w)
{
	struct timespec ts;
	double seconds;

	if (!w->appeared_ns || !w->wall.in_kernel || w->decision)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	seconds = ((double)ts.tv_sec * 1e9 + (double)ts.tv_nsec - (double)w->appeared_ns) / 1e9;
	w->appeared_ns = 0;
	metrics_observe(&a->block_latency, seconds > 0 ? seconds : 0);
	story_tell(w, "blocked %.0f ms after it was seen to listen", seconds * 1000);
}

const char *local_why_not_blocked(const struct agent *a, const struct watch *w)
{
	const struct conf_breaker *rule = &a->conf->breakers[w->rule];
	const struct listener *l = w->listener;

	if (logins_has(a->logins, w->endpoint.port))
		return logins_reason();
	if (w->netns)
		return inside_why_not_blocked(w, rule);
	if (w->targeted || !l)
		return NULL; /* somebody named it */
	if (w->ambiguous)
		return "two containers have this address: not blocked";
	if (!endpoint_is_loopback(&w->endpoint))
		return NULL;
	if (listener_is_loopback_only(l))
		return rule->match.loopback == CONF_LOOPBACK_ONLY
		           ? NULL
		           : "only the host itself reaches it: not blocked";
	return rule->seal_local ? NULL : "loopback is not cut without seal_local";
}
