/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/discover/pacer.h"

#define TOKEN UINT64_C(1000000000)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set_rate(struct pacer *p, uint64_t rate_per_sec)
{
	uint64_t burst;

	p->rate_per_sec = min_u64(rate_per_sec, TOKEN);
	burst = min_u64(p->rate_per_sec / 100, PACER_BURST_MAX);
	/* What a nanosecond brings beyond the last token counts, or low rates would drift. */
	p->credit_max = (burst ? burst : 1) * TOKEN + (p->rate_per_sec ? p->rate_per_sec - 1 : 0);
}

static void settle(struct pacer *p, int64_t now_ns)
{
	uint64_t elapsed_ns, full_ns;

	if (now_ns <= p->at_ns)
		return;
	elapsed_ns = (uint64_t)now_ns - (uint64_t)p->at_ns;
	p->at_ns = now_ns;
	if (!p->rate_per_sec)
		return;
	/* The product stays small: at most credit_max + rate. */
	full_ns = p->credit_max / p->rate_per_sec;
	if (elapsed_ns > full_ns)
		p->credit = p->credit_max;
	else
		p->credit = min_u64(p->credit + elapsed_ns * p->rate_per_sec, p->credit_max);
}

void pacer_init(struct pacer *p, uint64_t rate_per_sec, int64_t now_ns)
{
	set_rate(p, rate_per_sec);
	p->credit = p->credit_max;
	p->at_ns = now_ns;
}

void pacer_set_rate(struct pacer *p, uint64_t rate_per_sec, int64_t now_ns)
{
	settle(p, now_ns);
	set_rate(p, rate_per_sec);
	p->credit = min_u64(p->credit, p->credit_max);
}

unsigned pacer_take(struct pacer *p, int64_t now_ns, unsigned want)
{
	unsigned given;

	settle(p, now_ns);
	if (!p->rate_per_sec)
		return want;
	given = (unsigned)min_u64(p->credit / TOKEN, want);
	p->credit -= given * TOKEN;
	return given;
}

void pacer_return(struct pacer *p, unsigned unused)
{
	p->credit = min_u64(p->credit + unused * TOKEN, p->credit_max);
}

int64_t pacer_wait_ns(const struct pacer *p)
{
	if (!p->rate_per_sec || p->credit >= TOKEN)
		return 0;
	return (int64_t)((TOKEN - p->credit + p->rate_per_sec - 1) / p->rate_per_sec);
}
