/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
	SYN_BYTES = 60,    /* 14 Ethernet, 20 IPv4, 24 TCP with MSS; the least that a frame has */
	ANSWER_BYTES = 60, /* likewise */
};

struct plan {
	uint64_t targets, names, endpoints, excluded;
	struct sweep_span first; /* the first network: its order is shown */
	bool has_first;
};

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Addresses of a prefix; UINT64_MAX for more. */
static uint64_t count_addresses(const struct prefix *p)
{
	unsigned host_bits = (p->family == AF_INET ? 32U : 128U) - p->bits;

	return host_bits > 62 ? UINT64_MAX : UINT64_C(1) << host_bits;
}

static bool lies_in(const struct prefix *inner, const struct prefix *outer)
{
	struct endpoint e = {.family = inner->family};

	memcpy(e.address, inner->address, sizeof(e.address));
	return inner->bits >= outer->bits && prefix_contains(outer, &e);
}

/* Of two prefixes one lies in the other, or they share nothing. */
static uint64_t count_excluded(const struct exclude_set *set, const struct prefix *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; set && i < exclude_set_count(set); i++) {
		const struct prefix *x = exclude_set_at(set, i);

		if (lies_in(p, x))
			return count_addresses(p);
		if (lies_in(x, p))
			sum = add(sum, count_addresses(x));
	}
	return sum;
}

static void take(struct plan *plan, const struct target *t, const struct scan_options *o,
                 const struct exclude_set *excludes)
{
	uint64_t ports = t->port ? 1 : o->ports.count;

	plan->targets++;
	plan->endpoints = add(plan->endpoints, target_count(t, &o->ports));
	if (t->host[0]) {
		plan->names++;
		return;
	}
	plan->excluded = add(plan->excluded, count_excluded(excludes, &t->prefix) * ports);
	if (plan->has_first)
		return;
	plan->has_first = true;
	plan->first =
	    (struct sweep_span){.prefix = t->prefix, .scope_id = t->scope_id, .port = t->port};
}

static int read_all(struct scan_source *source, const struct scan_options *o,
                    const struct exclude_set *excludes, struct plan *plan,
                    char why[static SCAN_SOURCE_ERROR_LEN])
{
	struct target target;

	for (;;) {
		struct pollfd input = {.events = POLLIN};

		switch (scan_source_next(source, &target, why)) {
		case SCAN_SOURCE_TARGET: take(plan, &target, o, excludes); break;
		case SCAN_SOURCE_BAD: return -EINVAL;
		case SCAN_SOURCE_UNREADABLE: return -EIO;
		case SCAN_SOURCE_WAIT:
			input.fd = scan_source_descriptor(source);
			poll(&input, 1, -1);
			break;
		case SCAN_SOURCE_LATER: break;
		case SCAN_SOURCE_END: return 0;
		}
	}
}

static void print_duration(FILE *out, uint64_t seconds)
{
	if (seconds < 60)
		fprintf(out, "%" PRIu64 " s", seconds);
	else if (seconds < 3600)
		fprintf(out, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		fprintf(out, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds % 3600 / 60);
	else
		fprintf(out, "%" PRIu64 " days %" PRIu64 " h", seconds / 86400,
		        seconds % 86400 / 3600);
}

static void print_bytes(FILE *out, uint64_t packets, unsigned bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB"};
	double n = (double)packets * bytes / 1e3;
	size_t i = 0;

	for (; n >= 1000 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		n /= 1000;
	fprintf(out, "%.1f %s", n, units[i]);
}

/* What the order looks like; positions that are left out are passed over. */
static void print_samples(FILE *out, const struct plan *plan, const struct scan_options *o,
                          const struct scan_state *state, const struct exclude_set *excludes)
{
	struct sweep_space *space = NULL;
	struct sweep_order order;
	uint64_t size;
	unsigned shown = 0;

	if (!plan->has_first ||
	    sweep_space_new(&plan->first, 1, o->ports.ports, o->ports.count, &space) < 0)
		return;
	sweep_order_init(&order, sweep_space_size(space), state->seed);
	size = sweep_shard_size(&state->shard, sweep_space_size(space));
	for (uint64_t i = 0; i < size && i < 1000 && shown < SCAN_PLAN_SAMPLES; i++) {
		uint64_t at = sweep_order_at(&order, sweep_shard_position(&state->shard, i));
		char text[ENDPOINT_TEXT_LEN];
		struct endpoint e;
		uint32_t token;

		if (!sweep_space_at(space, at, &e, &token) ||
		    (excludes && exclude_set_contains(excludes, &e)))
			continue;
		fprintf(out, "%s%s", shown++ ? ", " : "such as   ", endpoint_format(&e, text));
	}
	if (shown > 0)
		fprintf(out, " (in random order)\n");
	sweep_space_free(space);
}

int scan_plan_print(FILE *out, const struct scan_options *o, const struct scan_state *state,
                    int method, struct scan_source *source, const struct exclude_set *excludes,
                    char why[static SCAN_SOURCE_ERROR_LEN])
{
	struct plan plan = {0};
	int err = read_all(source, o, excludes, &plan, why);
	uint64_t sent;

	if (err)
		return err;
	sent = plan.endpoints > plan.excluded ? plan.endpoints - plan.excluded : 0;
	sent = sweep_shard_size(&state->shard, sent);
	fprintf(out, "targets   %" PRIu64, plan.targets);
	if (plan.names > 0)
		fprintf(out, " (%" PRIu64 " names, counted as one address each)", plan.names);
	fprintf(out, "\nendpoints %" PRIu64 ", of which %" PRIu64 " are excluded\n", plan.endpoints,
	        plan.excluded);
	if (state->shard.count > 1)
		fprintf(out, "shard     %u of %u\n", (unsigned)state->shard.index + 1,
		        (unsigned)state->shard.count);
	fprintf(out, "method    %s\n",
	        method == DISCOVER_SYN       ? "syn: one SYN each, open ports are probed"
	        : method == DISCOVER_CONNECT ? "connect: one connection each, open ports are probed"
	                                     : "direct: one request each, more where it is Go");
	fprintf(out,
	        "sends     %" PRIu64 " packets or connections, and retries where nothing answers\n",
	        sent);
	fprintf(out, "bytes     ");
	print_bytes(out, sent, SYN_BYTES);
	fprintf(out, " out, up to ");
	print_bytes(out, sent, ANSWER_BYTES);
	fprintf(out, " in, without open ports\ntakes     ");
	if (o->rate_per_sec > 0) {
		print_duration(out, sent / o->rate_per_sec + 1);
		fprintf(out, " at --rate %" PRIu64 ", without retries\n", o->rate_per_sec);
	} else {
		fprintf(out, "what the network allows (--rate 0)\n");
	}
	fprintf(out, "seed      %" PRIu64 "\n", state->seed);
	print_samples(out, &plan, o, state, excludes);
	return 0;
}
