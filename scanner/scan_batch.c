/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_batch.h"

#include "common/cleanup.h"
#include "common/siphash.h"

#include <errno.h>
#include <string.h>

struct span_list {
	struct sweep_span *spans;
	size_t count, room;
};

struct scan_draft {
	uint64_t first, taken;
	struct scan_target **targets;
	size_t n_targets;
	struct span_list plain, particular;
};

AUTO_CLEANUP(draft, struct scan_draft *, scan_draft_free)
AUTO_CLEANUP(batch, struct scan_batch *, scan_batch_free)
#define auto_draft __attribute__((cleanup(cleanup_draft)))
#define auto_batch __attribute__((cleanup(cleanup_batch)))

int scan_draft_new(uint64_t first_target, struct scan_draft **out)
{
	struct scan_draft *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->first = first_target;
	d->targets = calloc(SCAN_BATCH_TARGETS, sizeof(struct scan_target *));
	if (!d->targets) {
		free(d);
		return -ENOMEM;
	}
	*out = d;
	return 0;
}

void scan_draft_free(struct scan_draft *d)
{
	if (!d)
		return;
	for (size_t i = 0; d->targets && i < d->n_targets; i++)
		free(d->targets[i]);
	free(d->targets);
	free(d->plain.spans);
	free(d->particular.spans);
	free(d);
}

uint64_t scan_draft_first(const struct scan_draft *d)
{
	return d->first;
}

void scan_draft_count(struct scan_draft *d)
{
	d->taken++;
}

uint64_t scan_draft_taken(const struct scan_draft *d)
{
	return d->taken;
}

static char *put_text(char *at, const char *text, const char **out)
{
	size_t size = strlen(text) + 1;

	*out = memcpy(at, text, size);
	return at + size;
}

/* Most targets are bare networks, of which nothing needs keeping. */
int scan_draft_add_target(struct scan_draft *d, const struct target *target, uint32_t *token)
{
	size_t length = strlen(target->host) + strlen(target->path) + strlen(target->labels);
	struct scan_target *kept;
	char *at;

	if (d->n_targets == SCAN_BATCH_TARGETS)
		return -ENOMEM;
	if (length == 0 && target->scheme == TARGET_ANY) {
		*token = (uint32_t)d->n_targets++;
		return 0;
	}
	kept = malloc(sizeof(*kept) + length + 3);
	if (!kept)
		return -ENOMEM;
	kept->scheme = target->scheme;
	at = put_text(kept->text, target->host, &kept->host);
	at = put_text(at, target->path, &kept->path);
	put_text(at, target->labels, &kept->labels);
	d->targets[d->n_targets] = kept;
	*token = (uint32_t)d->n_targets++;
	return 0;
}

static int add_span(struct span_list *list, const struct sweep_span *span)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct sweep_span *grown = reallocarray(list->spans, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->spans = grown;
		list->room = room;
	}
	list->spans[list->count++] = *span;
	return 0;
}

int scan_draft_add_network(struct scan_draft *d, const struct target *target, bool particular,
                           uint32_t token)
{
	const struct sweep_span span = {.prefix = target->prefix,
	                                .scope_id = target->scope_id,
	                                .port = target->port,
	                                .token = token};

	return add_span(particular ? &d->particular : &d->plain, &span);
}

int scan_draft_add_address(struct scan_draft *d, const struct endpoint *address, uint16_t port,
                           uint32_t token)
{
	struct sweep_span span = {.scope_id = address->scope_id, .port = port, .token = token};

	span.prefix.family = address->family;
	span.prefix.bits = address->family == AF_INET ? 32 : 128;
	memcpy(span.prefix.address, address->address, sizeof(span.prefix.address));
	return add_span(&d->particular, &span);
}

static int compare_spans(const void *a, const void *b)
{
	const struct sweep_span *x = a, *y = b;
	int order = prefix_compare(&x->prefix, &y->prefix);

	if (order == 0 && x->scope_id != y->scope_id)
		order = x->scope_id < y->scope_id ? -1 : 1;
	if (order == 0 && x->port != y->port)
		order = x->port < y->port ? -1 : 1;
	if (order == 0 && x->token != y->token)
		order = x->token < y->token ? -1 : 1;
	return order;
}

/* What a position means depends on these alone, and on the list of ports. */
static uint64_t digest_spans(const struct sweep_span *spans, size_t n)
{
	static const struct siphash_key key = {.low = 1, .high = 2};
	uint64_t digest = 0;

	for (size_t i = 0; i < n; i++) {
		struct {
			uint64_t before;
			uint32_t scope_id;
			uint16_t port;
			uint8_t bits, family;
			uint8_t address[16];
		} m = {.before = digest,
		       .scope_id = spans[i].scope_id,
		       .port = spans[i].port,
		       .bits = spans[i].prefix.bits,
		       .family = (uint8_t)spans[i].prefix.family};

		memcpy(m.address, spans[i].prefix.address, sizeof(m.address));
		digest = siphash_compute(&key, &m, sizeof(m));
	}
	return digest;
}

/* What an earlier run of the sweep has done of this part. */
static uint64_t find_first(const struct scan_feed_conf *conf, const struct scan_part *part)
{
	const struct scan_mark *mark = conf->mark;

	if (!mark || mark->n_taken == 0 || part->batch->first_target != mark->first_target)
		return 0;
	for (size_t i = 0; i < mark->n_parts; i++) {
		if (mark->parts[i].digest == part->digest && mark->parts[i].position <= part->size)
			return mark->parts[i].position;
	}
	return 0; /* its names are elsewhere now: once more */
}

static bool are_hosts(const struct sweep_span *spans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (spans[i].prefix.bits != (spans[i].prefix.family == AF_INET ? 32 : 128))
			return false;
	return true;
}

static int make_part(struct scan_batch *batch, const struct scan_feed_conf *conf,
                     const struct sweep_span *spans, size_t n, bool particular)
{
	const struct port_list *ports = &conf->options->ports;
	struct scan_part *part = &batch->parts[batch->n_parts];
	int err;

	part->spans = reallocarray(NULL, n, sizeof(*part->spans));
	if (!part->spans)
		return -ENOMEM;
	memcpy(part->spans, spans, n * sizeof(*spans));
	part->n_spans = n;
	part->hosts = are_hosts(spans, n);
	part->particular = particular;
	part->batch = batch;
	batch->n_parts++;
	err = sweep_space_new(part->spans, n, ports->ports, ports->count, &part->space);
	if (err)
		return err;
	part->digest = digest_spans(part->spans, n);
	/* Another order for each part; the same for all shards. */
	part->seed =
	    conf->seed + UINT64_C(0x9e3779b97f4a7c15) * (batch->first_target + 1) + part->digest;
	part->shard = particular ? (struct sweep_shard){0, 1} : conf->shard;
	sweep_order_init(&part->order, sweep_space_size(part->space), part->seed);
	part->size = sweep_shard_size(&part->shard, sweep_space_size(part->space));
	part->first = find_first(conf, part);
	part->known = part->first;
	return 0;
}

static int make_parts(struct scan_batch *batch, const struct scan_feed_conf *conf,
                      struct span_list *list, bool particular)
{
	int err = 0;

	/* Also for scan_part_match(); answers of DNS come in any order. */
	if (list->count > 0)
		qsort(list->spans, list->count, sizeof(*list->spans), compare_spans);
	for (size_t done = 0; done < list->count && !err; done += SWEEP_MAX_SPANS) {
		size_t n = list->count - done;

		if (n > SWEEP_MAX_SPANS)
			n = SWEEP_MAX_SPANS;
		err = make_part(batch, conf, list->spans + done, n, particular);
	}
	return err;
}

static size_t count_parts(const struct span_list *list)
{
	return (list->count + SWEEP_MAX_SPANS - 1) / SWEEP_MAX_SPANS;
}

int scan_draft_finish(struct scan_draft **slot, const struct scan_feed_conf *conf,
                      struct scan_batch **out)
{
	auto_draft struct scan_draft *d = steal_ptr(slot);
	auto_batch struct scan_batch *batch = calloc(1, sizeof(*batch));
	int err;

	if (!batch)
		return -ENOMEM;
	batch->first_target = d->first;
	batch->n_taken = d->taken;
	batch->targets = steal_ptr(&d->targets);
	batch->n_targets = d->n_targets;
	batch->parts =
	    calloc(count_parts(&d->plain) + count_parts(&d->particular) + 1, sizeof(*batch->parts));
	if (!batch->parts)
		return -ENOMEM;
	err = make_parts(batch, conf, &d->plain, false);
	if (!err)
		err = make_parts(batch, conf, &d->particular, true);
	if (err)
		return err;
	*out = steal_ptr(&batch);
	return 0;
}

void scan_batch_free(struct scan_batch *batch)
{
	if (!batch)
		return;
	for (size_t i = 0; i < batch->n_parts; i++) {
		free(batch->parts[i].spans);
		sweep_space_free(batch->parts[i].space);
	}
	free(batch->parts);
	for (size_t i = 0; batch->targets && i < batch->n_targets; i++)
		free(batch->targets[i]);
	free(batch->targets);
	free(batch);
}

static bool contains(const struct sweep_span *span, const struct endpoint *e)
{
	return (span->port == 0 || span->port == e->port) && span->scope_id == e->scope_id &&
	       prefix_contains(&span->prefix, e);
}

/* Of plain networks the narrowest that has something to say speaks for the endpoint. */
static const struct scan_target *find_narrowest(const struct scan_part *part,
                                                const struct endpoint *e)
{
	const struct scan_target *best = NULL;
	unsigned bits = 0;

	for (size_t i = 0; i < part->n_spans; i++) {
		const struct sweep_span *span = &part->spans[i];
		const struct scan_target *target = part->batch->targets[span->token];

		if (target && (!best || span->prefix.bits >= bits) && contains(span, e)) {
			best = target;
			bits = span->prefix.bits;
		}
	}
	return best;
}

/* Names are spans of one address each, by the thousand, and sorted. */
static size_t find_address(const struct scan_part *part, const struct endpoint *e)
{
	struct prefix wanted = {.family = e->family};
	size_t from = 0, to = part->n_spans;

	memcpy(wanted.address, e->address, sizeof(wanted.address));
	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (prefix_compare(&part->spans[middle].prefix, &wanted) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

bool scan_part_match(const struct scan_part *part, const struct endpoint *e, size_t *at,
                     const struct scan_target **out)
{
	if (!part->particular) {
		if ((*at)++ > 0)
			return false;
		*out = find_narrowest(part, e);
		return true;
	}
	if (part->hosts && *at == 0)
		*at = find_address(part, e);
	for (; *at < part->n_spans; (*at)++) {
		const struct sweep_span *span = &part->spans[*at];

		if (part->hosts && !prefix_contains(&span->prefix, e))
			return false;
		if (!contains(span, e))
			continue;
		*out = part->batch->targets[span->token];
		(*at)++;
		/* `--ports 80` and `--resolve NAME:80:...` may give one endpoint twice. */
		while (*at < part->n_spans && part->spans[*at].token == span->token &&
		       contains(&part->spans[*at], e))
			(*at)++;
		return true;
	}
	return false;
}
