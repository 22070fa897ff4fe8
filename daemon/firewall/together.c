/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many BLOCKs in one transaction. The kernel goes through the whole map in each that adds to it, so
 * that what all of them cost depends on how many transactions there are.
 */
#include "common/cleanup.h"
#include "daemon/firewall/dump.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/state.h"

#include <errno.h>

enum { RESTORE_FROM = 4096 }; /* new blocks */

static const sa_family_t families[] = {AF_INET, AF_INET6};

/* What one of them is to do. */
struct change {
	enum firewall_result result; /* what is not OK changes nothing */
	bool was_there;
	struct block before, next; /* `before` if it was there */
};

/*
 * What is refused is in c->result; the rest is in the shadow at once, as the cap and the next of
 * them are to see it.
 */
static int judge(struct firewall *fw, const struct firewall_request *request, struct change *c,
                 int64_t now_ms)
{
	const struct endpoint e = policy_request_endpoint(request);
	const struct block *present = blocks_find(fw->shadow.blocks, &e);

	c->result = firewall_check_block(fw, request, present, now_ms);
	if (c->result)
		return 0;
	c->next = firewall_make_block(fw, request, present, now_ms);
	c->was_there = present != NULL;
	if (present) {
		c->before = *present;
		c->next.packets = present->packets;
		c->next.bytes = present->bytes;
	} else if (!firewall_is_restored(fw, request, now_ms))
		policy_rate_record(&fw->rate, now_ms);
	firewall_note_change(fw, &c->next, present);
	return blocks_put(fw->shadow.blocks, &c->next);
}

/* From the end: what came first for an endpoint is what it was before. */
static void undo(struct firewall *fw, const struct change *changes, size_t count)
{
	for (size_t i = count; i-- > 0;) {
		const struct change *c = &changes[i];

		if (c->result)
			continue;
		if (c->was_there)
			(void)blocks_put(fw->shadow.blocks, &c->before); /* its place is there */
		else
			blocks_remove(fw->shadow.blocks, &c->next.endpoint);
	}
}

/* Those that are there go on counting; what cannot be read counts from the last known. */
static int carry_hits(struct firewall *fw, struct change *changes, size_t count)
{
	auto_free struct block **present = calloc(count, sizeof(struct block *));
	size_t n = 0;

	if (!present)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!changes[i].result && changes[i].was_there)
			present[n++] = &changes[i].before;
	for (size_t i = 0; n && i < ARRAY_LEN(families); i++)
		(void)dump_hits_of(&fw->table.nft, families[i], present, n);
	for (size_t i = 0; n && i < count; i++) {
		struct change *c = &changes[i];

		if (c->result || !c->was_there)
			continue;
		c->next.packets = c->before.packets;
		c->next.bytes = c->before.bytes;
		(void)blocks_put(fw->shadow.blocks, &c->next); /* its place is there */
	}
	return 0;
}

static int commit(struct firewall *fw, struct change *changes, size_t count, int64_t now_ms)
{
	auto_free struct ruleset_change *lines = calloc(count, sizeof(*lines));
	auto_batch struct nft_batch batch = {0};
	size_t n = 0;
	int err = lines ? carry_hits(fw, changes, count) : -ENOMEM;

	for (size_t i = 0; !err && i < count; i++)
		if (!changes[i].result)
			lines[n++] = (struct ruleset_change){
			    .present = changes[i].was_there ? &changes[i].before : NULL,
			    .next = &changes[i].next};
	if (err || !n)
		return err;
	nft_batch_init(&fw->table.nft, &batch);
	ruleset_put_blocks(&batch, fw->running, lines, n, now_ms);
	table_stamp(&fw->table, &batch);
	return nft_batch_commit(&fw->table.nft, &batch);
}

int firewall_add_counters(struct firewall *fw, int64_t now_ms)
{
	return table_add_counters(&fw->table, fw->running, &fw->shadow, now_ms);
}

bool firewall_is_uncounted(const struct firewall *fw)
{
	return fw->table.uncounted;
}

/*
 * So many new blocks, and more than there were, come after somebody has taken the table away, or
 * after a reboot. What refuses goes first, with a table that has room for it. The counters, which
 * take as long again, follow when the agent has its answers: firewall_add_counters().
 */
static bool are_restored(const struct firewall *fw, const struct change *changes, size_t count)
{
	size_t n_new = 0;

	for (size_t i = 0; i < count; i++)
		n_new += !changes[i].result && !changes[i].was_there;
	return n_new >= RESTORE_FROM && n_new > blocks_count(fw->shadow.blocks) / 2;
}

/* Returns 0, or -errno and nothing has changed. */
static int serve_together(struct firewall *fw, const struct firewall_request *requests,
                          struct firewall_reply *replies, size_t count, int64_t now_ms)
{
	auto_free struct change *changes = calloc(count, sizeof(*changes));
	const struct policy_rate rate = fw->rate;
	const size_t n_cuts = fw->n_cuts;
	size_t judged = 0;
	int err = 0;

	if (!changes)
		return -ENOMEM;
	/* While the shadow has those alone that have counters. */
	if (count >= RESTORE_FROM && count > blocks_count(fw->shadow.blocks))
		(void)table_read_hits(&fw->table, fw->shadow.blocks);
	for (; !err && judged < count; judged++)
		err = judge(fw, &requests[judged], &changes[judged], now_ms);
	if (!err)
		err = are_restored(fw, changes, count)
		          ? table_restore(&fw->table, fw->running, &fw->shadow, now_ms)
		          : commit(fw, changes, count, now_ms);
	if (err) {
		undo(fw, changes, judged);
		fw->n_cuts = n_cuts;
		fw->rate = rate;
		return err;
	}
	for (size_t i = 0; i < count; i++)
		replies[i] = firewall_make_reply(fw, &requests[i], changes[i].result, 0, now_ms);
	return 0;
}

void firewall_serve_blocks(struct firewall *fw, const struct firewall_request *requests,
                           struct firewall_reply *replies, size_t count, int64_t now_ms)
{
	size_t at_once = count;

	blocks_expire(fw->shadow.blocks, now_ms);
	/* What the kernel refuses together is tried in halves, down to the one that it refuses. */
	for (size_t i = 0; i < count;) {
		if (at_once > count - i)
			at_once = count - i;
		if (at_once == 1 || !fw->table.installed) {
			replies[i] = firewall_serve(fw, &requests[i], now_ms);
			at_once = 1;
		} else if (serve_together(fw, &requests[i], &replies[i], at_once, now_ms)) {
			at_once /= 2;
			continue;
		}
		i += at_once;
		at_once *= 2;
	}
}
