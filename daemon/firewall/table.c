/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/table.h"

#include "daemon/firewall/monitor.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/set.h"

#include <errno.h>
#include <string.h>

enum {
	INSTALL_TRIES = 4,
	KEY_BY_KEY_FROM = 1024, /* blocks whose counters are read; a dump is as good below */
};

static const sa_family_t families[] = {AF_INET, AF_INET6};

int table_open(struct table *t, uid_t prober_uid, uid_t filter_uid)
{
	*t = (struct table){.prober_uid = prober_uid, .filter_uid = filter_uid, .monitor_fd = -1};
	return nft_open(&t->nft);
}

void table_close(struct table *t)
{
	table_stop_reading(t);
	cleanup_close(&t->monitor_fd);
	t->monitor_fd = -1;
	nft_close(&t->nft);
}

int table_delete_of(struct nft *nft, uint8_t family)
{
	auto_batch struct nft_batch batch;
	int err;

	nft_batch_init(nft, &batch);
	batch.family = family;
	nft_batch_delete_table(&batch);
	err = nft_batch_commit(nft, &batch);
	return err == -ENOENT ? 0 : err;
}

int table_delete(struct table *t)
{
	int err, companion;

	table_stop_reading(t);
	err = table_delete_of(&t->nft, NFPROTO_INET);
	companion = table_delete_of(&t->nft, NFPROTO_BRIDGE);
	if (!err)
		t->installed = t->nft.owned = t->uncounted = false;
	/* A kernel that knows no such tables has none. */
	return err ? err : t->nft.bridge ? companion : 0;
}

static int take_hits(const struct dump_element *e, void *closure)
{
	struct block *block = blocks_find(closure, &e->endpoint);

	if (block && e->is_tcp) {
		block->packets = e->packets;
		block->bytes = e->bytes;
	}
	return 0;
}

static int read_hits_by_key(struct table *t, const struct blocks *blocks)
{
	auto_free struct block **list = NULL;
	size_t count;
	int err = blocks_list(blocks, &list, &count);

	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
		err = dump_hits_of(&t->nft, families[i], list, count);
	return err;
}

int table_read_hits(struct table *t, struct blocks *blocks)
{
	int err = 0;

	if (t->uncounted)
		return 0;
	if (blocks_count(blocks) >= KEY_BY_KEY_FROM)
		return read_hits_by_key(t, blocks);
	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
		err = dump_endpoints(&t->nft, set_hits_name(families[i]), take_hits, blocks);
	return err;
}

/* Peers of endpoints that are no longer counted are not carried over. */
static void keep_known_peers(struct ledger_peers *peers, const struct blocks *ledger)
{
	size_t kept = 0;

	for (size_t i = 0; i < peers->count; i++)
		if (blocks_find(ledger, &peers->items[i].endpoint))
			peers->items[kept++] = peers->items[i];
	peers->count = kept;
}

/* Without counters, or counting from the last known, when somebody took the sets away. */
static void read_counters(struct table *t, const struct shadow *shadow, struct ledger_peers *peers)
{
	(void)table_read_hits(t, shadow->blocks);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		(void)dump_peers(&t->nft, families[i], peers);
	keep_known_peers(peers, shadow->ledger);
}

void table_stamp(struct table *t, struct nft_batch *batch)
{
	struct stamp stamp = {0};

	/* Who dies before the counters are there has not left a good table. */
	if (t->uncounted)
		return;
	/* The transaction is the next state. Should others come before it, the stamp is wrong, and
	 * a successor makes the table anew: no harm. */
	if (!nft_get_generation(&t->nft, &stamp.generation))
		stamp.generation++;
	memcpy(stamp.fingerprint, t->fingerprint, sizeof(stamp.fingerprint));
	stamp_put(batch, &stamp);
	t->stamped = stamp.generation;
}

int table_refresh_stamp(struct table *t)
{
	auto_batch struct nft_batch batch = {0};
	uint32_t now;
	int err;

	if (!t->installed || !t->nft.owned || t->uncounted)
		return 0;
	err = nft_get_generation(&t->nft, &now);
	if (err || now == t->stamped)
		return err;
	nft_batch_init(&t->nft, &batch);
	table_stamp(t, &batch);
	return nft_batch_commit(&t->nft, &batch);
}

static struct ruleset_spec make_spec(const struct table *t, const struct conf *conf,
                                     const struct shadow *shadow)
{
	return (struct ruleset_spec){.conf = conf,
	                             .prober_uid = t->prober_uid,
	                             .filter_uid = t->filter_uid,
	                             .persist = t->persist,
	                             .allowed = shadow->allowed,
	                             .listeners = shadow->deaf ? NULL : shadow->listeners};
}

int table_replace_filters(struct table *t, const struct conf *conf, const struct shadow *shadow)
{
	const struct ruleset_spec spec = make_spec(t, conf, shadow);
	auto_batch struct nft_batch batch = {0};

	nft_batch_init(&t->nft, &batch);
	ruleset_replace_filters(&batch, &spec);
	table_stamp(t, &batch);
	return nft_batch_commit(&t->nft, &batch);
}

static int try_install(struct table *t, const struct conf *conf, const struct shadow *shadow,
                       int64_t now_ms)
{
	struct ruleset_spec spec = make_spec(t, conf, shadow);
	auto_free struct block **blocks = NULL, **ledger = NULL;
	auto_batch struct nft_batch batch = {0};
	auto_peers struct ledger_peers peers = {0};
	size_t count;
	int exists = nft_table_exists(&t->nft);
	int companion = nft_bridge_table_exists(&t->nft);
	int err;

	if (exists < 0)
		return exists;
	if (nft_get_generation(&t->nft, &t->generation))
		t->generation = 0;
	if (exists)
		read_counters(t, shadow, &peers);
	err = blocks_list(shadow->blocks, &blocks, &count);
	if (!err)
		err = blocks_list(shadow->ledger, &ledger, &spec.n_ledger);
	if (err)
		return err;
	spec.ledger = ledger;
	spec.peers = &peers;
	err = stamp_take_fingerprint(&spec, t->nft.bridge, t->fingerprint);
	if (err)
		return err;
	nft_batch_init(&t->nft, &batch);
	batch.uncounted = t->uncounted;
	if (exists)
		nft_batch_delete_table(&batch);
	if (companion > 0) {
		batch.family = NFPROTO_BRIDGE;
		nft_batch_delete_table(&batch);
		batch.family = NFPROTO_INET;
	}
	ruleset_add_table(&batch, &spec, blocks, count, now_ms);
	table_stamp(t, &batch);
	return nft_batch_commit(&t->nft, &batch);
}

static int put_counters(struct table *t, const struct shadow *shadow, int64_t now_ms)
{
	auto_free struct block **blocks = NULL;
	auto_batch struct nft_batch batch = {0};
	size_t count;
	int err = blocks_list(shadow->blocks, &blocks, &count);

	if (err)
		return err;
	nft_batch_init(&t->nft, &batch);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		set_put_hits(&batch, families[i], blocks, count, now_ms);
	table_stamp(t, &batch);
	return nft_batch_commit(&t->nft, &batch);
}

int table_add_counters(struct table *t, const struct conf *conf, const struct shadow *shadow,
                       int64_t now_ms)
{
	int err;

	if (!t->uncounted)
		return 0;
	t->uncounted = false;
	err = t->installed ? put_counters(t, shadow, now_ms) : 0;
	if (err)
		err = table_install(t, conf, shadow, now_ms);
	t->uncounted = err != 0;
	return err;
}

/* Others may add or delete a plain table between our look and the transaction. */
static int install_as_is(struct table *t, const struct conf *conf, const struct shadow *shadow,
                         int64_t now_ms)
{
	int err = -ENOENT;

	for (unsigned i = 0; i < INSTALL_TRIES && (err == -ENOENT || err == -EEXIST); i++)
		err = try_install(t, conf, shadow, now_ms);
	return err;
}

/* What this kernel can: it is found out at the first table. */
static int install_what_goes(struct table *t, const struct conf *conf, const struct shadow *shadow,
                             int64_t now_ms)
{
	const bool persist = t->persist;
	int err = -EINVAL;

	for (unsigned i = 0; i < 4 && err && err != -EPERM && err != -ENOMEM; i++) {
		if (i & 1 && !persist)
			continue;
		t->nft.bridge = i < 2;
		t->persist = persist && !(i & 1);
		err = install_as_is(t, conf, shadow, now_ms);
	}
	return err;
}

/* Since the last installation began there was one transaction: ours. */
static bool is_undisturbed(struct table *t)
{
	uint32_t now;

	return t->generation && !nft_get_generation(&t->nft, &now) && now == t->generation + 1;
}

int table_watch(struct table *t, const struct conf *conf, const struct shadow *shadow,
                int64_t now_ms)
{
	int err;

	if (t->persist || t->monitor_fd >= 0)
		return 0;
	err = monitor_open(t->nft.portid, &t->monitor_fd);
	/* What others did until now went unheard: once more, while somebody listens. */
	if (!err && !is_undisturbed(t))
		err = try_install(t, conf, shadow, now_ms);
	return err;
}

int table_install(struct table *t, const struct conf *conf, const struct shadow *shadow,
                  int64_t now_ms)
{
	int err;

	blocks_expire(shadow->blocks, now_ms);
	blocks_expire(shadow->ledger, now_ms);
	err = t->known ? install_as_is(t, conf, shadow, now_ms)
	               : install_what_goes(t, conf, shadow, now_ms);
	if (err)
		return err;
	t->installed = t->known = true;
	t->nft.owned = t->persist;
	return table_watch(t, conf, shadow, now_ms);
}

int table_restore(struct table *t, const struct conf *conf, const struct shadow *shadow,
                  int64_t now_ms)
{
	const bool before = t->uncounted;
	int err;

	t->uncounted = true;
	err = table_install(t, conf, shadow, now_ms);
	if (err)
		t->uncounted = before;
	return err;
}

int table_read_monitor(struct table *t, bool *touched)
{
	return monitor_read(t->monitor_fd, &t->touched, touched);
}
