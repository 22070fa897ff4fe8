/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/breaker.h"

#include <string.h>

static const char *const state_names[BREAKER_STATE_COUNT] = {
    [BREAKER_CLOSED] = "closed",
    [BREAKER_OPEN] = "open",
    [BREAKER_HALF_OPEN] = "half-open",
};

static const char *const alert_names[] = {
    [BREAKER_ALERT_NONE] = "none",         [BREAKER_ALERT_OPENED] = "opened",
    [BREAKER_ALERT_CLOSED] = "closed",     [BREAKER_ALERT_GONE] = "gone",
    [BREAKER_ALERT_UNKNOWN] = "unknown",   [BREAKER_ALERT_REMINDER] = "reminder",
    [BREAKER_ALERT_FILTERED] = "filtered",
};

const char *breaker_state_name(enum breaker_state state)
{
	return state_names[state];
}

const char *breaker_alert_name(enum breaker_alert alert)
{
	return alert_names[alert];
}

void breaker_init(struct breaker *b)
{
	memset(b, 0, sizeof(*b));
}

void breaker_reset(struct breaker *b)
{
	breaker_init(b);
}

static uint64_t window_mask(const struct breaker_conf *conf)
{
	return conf->trip_window >= 64 ? UINT64_MAX : (UINT64_C(1) << conf->trip_window) - 1;
}

void breaker_adopt(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms)
{
	breaker_init(b);
	b->state = BREAKER_OPEN;
	b->history = window_mask(conf);
	b->history_length = conf->trip_window;
	b->opened_ms = now_ms;
	b->open_until_ms = now_ms;
	b->last_verdict_ms = now_ms;
	b->last_alert_ms = now_ms;
}

enum breaker_observation breaker_classify(const struct finding *f, enum finding_severity floor)
{
	if (finding_is_exposed(f, floor))
		return BREAKER_EXPOSED;
	/* "Not now" (429, 5xx) is no word about what the server shows at other times. */
	if (f->verdict == VERDICT_CLEAR && (f->status == 429 || f->status >= 500))
		return BREAKER_NO_VERDICT;
	switch (f->verdict) {
	case VERDICT_CONFIRMED:
	case VERDICT_LIKELY:
	case VERDICT_PROTECTED:
	case VERDICT_UNKNOWN:
	case VERDICT_CLEAR: return BREAKER_CLEAN;
	case VERDICT_CLOSED: return BREAKER_GONE;
	case VERDICT_ERROR:
	case VERDICT_FILTERED:
	case VERDICT_COUNT: break;
	}
	return BREAKER_NO_VERDICT;
}

void breaker_begin_probe(struct breaker *b, int64_t now_ms)
{
	if (b->state == BREAKER_OPEN && now_ms >= b->open_until_ms) {
		b->state = BREAKER_HALF_OPEN;
		b->consecutive_clean = 0;
		b->consecutive_gone = 0;
		b->consecutive_no_verdict = 0;
	}
}

static unsigned exposed_in_window(const struct breaker *b, const struct breaker_conf *conf)
{
	/* Masked here too: a reload may have made the window shorter. */
	return (unsigned)__builtin_popcountll(b->history & window_mask(conf));
}

static void shift_window(struct breaker *b, const struct breaker_conf *conf, bool exposed)
{
	b->history = (b->history << 1 | exposed) & window_mask(conf);
	b->history_length =
	    b->history_length < conf->trip_window ? b->history_length + 1 : conf->trip_window;
}

static int64_t back_off(const struct breaker *b, const struct breaker_conf *conf)
{
	int64_t delay_ms = conf->confirm_interval_ms;

	for (unsigned i = 1; i < b->consecutive_no_verdict && delay_ms < conf->interval_ms; i++)
		delay_ms *= 2;
	return delay_ms < conf->interval_ms ? delay_ms : conf->interval_ms;
}

static int64_t next_probe(const struct breaker *b, const struct breaker_conf *conf, int64_t now_ms)
{
	int64_t delay_ms =
	    b->consecutive_no_verdict > 0 ? back_off(b, conf) : conf->confirm_interval_ms;

	switch (b->state) {
	case BREAKER_OPEN: return b->open_until_ms > now_ms ? b->open_until_ms : now_ms;
	case BREAKER_HALF_OPEN:
		/* The block's expiry counts from its renewal now, and is only longer than this. */
		return now_ms + (delay_ms < conf->open_for_ms ? delay_ms : conf->open_for_ms);
	case BREAKER_CLOSED:
	case BREAKER_STATE_COUNT: break;
	}
	return now_ms + (exposed_in_window(b, conf) > 0 ? delay_ms : conf->interval_ms);
}

static void close_breaker(struct breaker *b, struct breaker_decision *d, enum breaker_alert alert)
{
	if (b->state != BREAKER_CLOSED) {
		d->unblock = true;
		d->alert = alert;
	}
	breaker_init(b);
}

static void open_breaker(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms,
                         struct breaker_decision *d)
{
	d->block = true;
	if (b->state == BREAKER_CLOSED) {
		b->opened_ms = now_ms;
		b->last_alert_ms = now_ms;
		d->alert = BREAKER_ALERT_OPENED;
	} else if (conf->remind_every_ms > 0 &&
	           now_ms - b->last_alert_ms >= conf->remind_every_ms) {
		b->last_alert_ms = now_ms;
		d->alert = BREAKER_ALERT_REMINDER;
	}
	b->state = BREAKER_OPEN;
	b->open_until_ms = now_ms + conf->open_for_ms;
}

static void record_exposed(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms,
                           struct breaker_decision *d)
{
	b->consecutive_clean = 0;
	b->consecutive_gone = 0;
	shift_window(b, conf, true);
	if (b->state != BREAKER_CLOSED || exposed_in_window(b, conf) >= conf->trip_after)
		open_breaker(b, conf, now_ms, d);
}

static void record_clean(struct breaker *b, const struct breaker_conf *conf,
                         struct breaker_decision *d)
{
	b->consecutive_gone = 0;
	switch (b->state) {
	case BREAKER_CLOSED: shift_window(b, conf, false); break;
	case BREAKER_HALF_OPEN:
		if (++b->consecutive_clean >= conf->close_after)
			close_breaker(b, d, BREAKER_ALERT_CLOSED);
		else
			d->block = true;
		break;
	case BREAKER_OPEN:
	case BREAKER_STATE_COUNT: break;
	}
}

static void record_refused(struct breaker *b, const struct breaker_conf *conf,
                           struct breaker_decision *d)
{
	b->consecutive_clean = 0;
	if (++b->consecutive_gone >= conf->close_after)
		close_breaker(b, d, BREAKER_ALERT_GONE);
	else
		d->block = b->state == BREAKER_HALF_OPEN;
}

static void record_no_verdict(struct breaker *b, const struct breaker_conf *conf, int64_t now_ms,
                              struct breaker_decision *d)
{
	b->consecutive_clean = 0;
	b->consecutive_gone = 0;
	if (b->consecutive_no_verdict < UINT32_MAX)
		b->consecutive_no_verdict++;
	if (b->state == BREAKER_CLOSED)
		return;
	d->block = true;
	if (conf->unknown_after_ms > 0 && !b->unknown_alerted &&
	    now_ms - b->last_verdict_ms >= conf->unknown_after_ms) {
		b->unknown_alerted = true;
		d->alert = BREAKER_ALERT_UNKNOWN;
	}
}

struct breaker_decision breaker_record_probe(struct breaker *b, const struct breaker_conf *conf,
                                             enum breaker_observation seen, int64_t now_ms)
{
	struct breaker_decision d = {.alert = BREAKER_ALERT_NONE};

	if (seen != BREAKER_NO_VERDICT) {
		b->consecutive_no_verdict = 0;
		b->last_verdict_ms = now_ms;
		b->unknown_alerted = false;
	}
	switch (seen) {
	case BREAKER_EXPOSED: record_exposed(b, conf, now_ms, &d); break;
	case BREAKER_CLEAN: record_clean(b, conf, &d); break;
	case BREAKER_GONE: record_refused(b, conf, &d); break;
	case BREAKER_NO_VERDICT: record_no_verdict(b, conf, now_ms, &d); break;
	}
	d.next_probe_ms = next_probe(b, conf, now_ms);
	return d;
}
