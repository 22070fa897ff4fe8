/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a filter hold? The prober asks for profiling from outside, on sockets of the inventory
 * helper's own namespace, in which no rule lets the prober past: it is a stranger there. The probe
 * is a watch of its own, in no set.
 */
#include "common/clock.h"
#include "daemon/agent/verify_internal.h"

#include <errno.h>
#include <string.h>

static const char is_refused[] = "profiling is refused to a namespace of our own";
static const char is_served[] = "a stranger is served profiling in spite of the filter";

static bool copy_manner(struct watch *probe, const struct watch *w)
{
	probe->plain_only = true; /* a filter of what speaks TLS is none */
	probe->host = w->host ? strdup(w->host) : NULL;
	probe->prefix = w->prefix ? strdup(w->prefix) : NULL;
	return !probe->host == !w->host && !probe->prefix == !w->prefix;
}

int verify_probe(struct agent *a, struct watch *w)
{
	const struct watch_key key = {.endpoint = w->endpoint, .netns = WATCH_OUTSIDE};
	struct watch *probe = watch_new(&key);

	if (!probe)
		return -ENOMEM;
	if (!copy_manner(probe, w)) {
		watch_free(probe);
		return -ENOMEM;
	}
	w->verify.probe = probe;
	w->verify.asking = true;
	a->verifying++;
	schedule_probe_in(a->schedule, probe, 0);
	return 0;
}

void verify_forget(struct agent *a, struct watch *w)
{
	if (!w->verify.probe)
		return;
	schedule_forget(a->schedule, w->verify.probe);
	watch_free(w->verify.probe);
	w->verify.probe = NULL;
	w->verify.asking = false;
	a->verifying--;
}

static void judge(struct agent *a, struct watch *w, const struct finding *f)
{
	if (!f || f->verdict == VERDICT_ERROR)
		verify_set_unproven(a, w, "a probe from a namespace of our own got no answer",
		                    f ? VERIFY_BROKEN_MS : VERIFY_BUSY_MS);
	else if (finding_is_exposed(f, SEVERITY_LOW))
		verify_take_connection(a, w, is_served);
	else
		verify_take_refusal(a, w, is_refused);
}

void verify_take_probe(struct agent *a, struct watch *probe, const struct finding *finding)
{
	struct watch *w = watch_set_find(a->watches, &probe->endpoint);

	if (!w || w->verify.probe != probe)
		return; /* forgotten ones are not probed */
	verify_forget(a, w);
	if (enforce_filters(a, w) && a->conf->firewall.verify)
		judge(a, w, finding);
}
