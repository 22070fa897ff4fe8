/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of firewall.h that is about connections which are to end: at once, of what is blocked
 * now, and when they have had their time, of what is filtered.
 */
#include "daemon/firewall/set.h"
#include "daemon/firewall/state.h"

#include <errno.h>

enum {
	/* Of what is idle for as long as this nobody waits for the end, ... */
	DRAIN_LOOK_MS = 200,
	/* ... and what is not is given so much time more. */
	DRAIN_GRACE_MS = 5000,
};

/* Its connections are to be ended; without memory, the wall stands nevertheless. */
void firewall_note_cut(struct firewall *fw, const struct block *block)
{
	struct block *cuts = realloc(fw->cuts, (fw->n_cuts + 1) * sizeof(*cuts));

	if (!cuts)
		return;
	fw->cuts = cuts;
	fw->cuts[fw->n_cuts++] = *block;
}

static int compare_ports(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	if (x->endpoint.port != y->endpoint.port)
		return x->endpoint.port < y->endpoint.port ? -1 : 1;
	return endpoint_compare(&x->endpoint, &y->endpoint);
}

/* One walk through the kernel's table for each port. */
static int end_connections(struct firewall *fw, struct block *blocks, size_t count,
                           enum sever_kind kind, size_t *ended)
{
	struct sever_rule rule = {.conf = fw->running,
	                          .allowed = fw->shadow.allowed,
	                          .prober_uid = fw->table.prober_uid,
	                          .filter_uid = fw->table.filter_uid,
	                          .kind = kind};
	int err = 0;

	if (count)
		qsort(blocks, count, sizeof(*blocks), compare_ports);
	for (size_t i = 0, n; i < count; i += n) {
		size_t of_these = 0;
		int failed;

		for (n = 1;
		     i + n < count && blocks[i + n].endpoint.port == blocks[i].endpoint.port;)
			n++;
		failed =
		    sever_connections(fw->diag, &fw->table.nft, &blocks[i], n, &rule, &of_these);
		*ended += of_these;
		err = err ? err : failed;
	}
	return err;
}

int firewall_sever(struct firewall *fw, size_t *ended)
{
	int err;

	*ended = 0;
	err = end_connections(fw, fw->cuts, fw->n_cuts, SEVER_ALL, ended);
	free(fw->cuts);
	fw->cuts = NULL;
	fw->n_cuts = 0;
	return err;
}

/* Connections from before */

static void wake_by(struct firewall *fw, int64_t when_ms)
{
	if (!fw->drain_wake_ms || when_ms < fw->drain_wake_ms)
		fw->drain_wake_ms = when_ms;
}

void firewall_begin_drain(struct firewall *fw, struct block *block, int64_t now_ms)
{
	int64_t drain_ms;

	if (!set_is_filtered(fw->running, block))
		return;
	drain_ms = fw->running->breakers[block->rule - 1].filter.drain_ms;
	block->drain_until_ms = now_ms + drain_ms + (drain_ms ? DRAIN_GRACE_MS : 0);
	wake_by(fw, now_ms + drain_ms);
}

int64_t firewall_drain_wake_ms(const struct firewall *fw)
{
	return fw->drain_wake_ms;
}

/* Those whose time has come are copied to one of the two lists; the next wake is noted. */
static void sort_drains(struct firewall *fw, struct block **list, size_t count, int64_t now_ms,
                        struct block *idle, size_t *n_idle, struct block *late, size_t *n_late)
{
	fw->drain_wake_ms = 0;
	for (size_t i = 0; i < count; i++) {
		const int64_t until_ms = list[i]->drain_until_ms;

		if (!until_ms)
			continue;
		if (until_ms <= now_ms) {
			late[(*n_late)++] = *list[i];
			list[i]->drain_until_ms = 0;
		} else if (until_ms - DRAIN_GRACE_MS <= now_ms) {
			idle[(*n_idle)++] = *list[i];
			wake_by(fw, now_ms + DRAIN_LOOK_MS);
		} else {
			wake_by(fw, until_ms - DRAIN_GRACE_MS);
		}
	}
}

int firewall_drain(struct firewall *fw, int64_t now_ms, size_t *ended)
{
	auto_free struct block **list = NULL;
	auto_free struct block *idle = NULL, *late = NULL;
	size_t count, n_idle = 0, n_late = 0;
	int err, failed;

	*ended = 0;
	if (!fw->drain_wake_ms || now_ms < fw->drain_wake_ms)
		return 0;
	err = blocks_list(fw->shadow.blocks, &list, &count);
	if (err)
		return err;
	idle = calloc(count + 1, sizeof(*idle));
	late = calloc(count + 1, sizeof(*late));
	if (!idle || !late)
		return -ENOMEM;
	sort_drains(fw, list, count, now_ms, idle, &n_idle, late, &n_late);
	err = end_connections(fw, idle, n_idle, SEVER_IDLE, ended);
	failed = end_connections(fw, late, n_late, SEVER_UNFILTERED, ended);
	return err ? err : failed;
}
