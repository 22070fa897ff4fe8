/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/firewall.h"

#include "common/host_id.h"
#include "conf/conf_rollout.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/monitor.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/set.h"

#include <errno.h>
#include <string.h>

enum { INSTALL_TRIES = 4 };

struct firewall {
	struct nft nft;
	uid_t prober_uid;
	char host_id[HOST_ID_LEN]; /* for enforce_percent */
	int monitor_fd;            /* -1 while the table is owned, or there is none */
	bool persist;   /* the kernel takes owned, persistent tables, and the configuration too */
	bool installed; /* our table is in the kernel, as far as we know */
	bool panicked;
	uint32_t reconciliations;
	struct blocks *blocks;
	struct policy_rate rate;
	struct conf *running, *candidate;
	struct ipc_conf running_id, candidate_id;
};

static const sa_family_t families[] = {AF_INET, AF_INET6};

int firewall_new(uid_t prober_uid, struct firewall **out)
{
	struct firewall *fw = calloc(1, sizeof(*fw));
	int err;

	if (!fw)
		return -ENOMEM;
	fw->prober_uid = prober_uid;
	host_id_read(fw->host_id);
	fw->monitor_fd = -1;
	fw->blocks = blocks_new();
	err = fw->blocks ? nft_open(&fw->nft) : -ENOMEM;
	if (err) {
		firewall_free(fw);
		return err;
	}
	*out = fw;
	return 0;
}

void firewall_free(struct firewall *fw)
{
	if (!fw)
		return;
	cleanup_close(&fw->monitor_fd);
	nft_close(&fw->nft);
	blocks_free(fw->blocks);
	conf_free(fw->running);
	conf_free(fw->candidate);
	free(fw);
}

int firewall_monitor_fd(const struct firewall *fw)
{
	return fw->monitor_fd;
}

/* The table */

static int delete_table(struct firewall *fw)
{
	auto_batch struct nft_batch batch;
	int err;

	nft_batch_init(&fw->nft, &batch);
	nft_batch_delete_table(&batch);
	err = nft_batch_commit(&fw->nft, &batch);
	if (!err || err == -ENOENT)
		fw->installed = false;
	return err == -ENOENT ? 0 : err;
}

static int take_hits(const struct nft_element *e, void *closure)
{
	struct firewall *fw = closure;
	struct block *block = blocks_find(fw->blocks, &e->endpoint);

	if (block && e->is_tcp) {
		block->packets = e->packets;
		block->bytes = e->bytes;
	}
	return 0;
}

/* Reads the counters of all blocks into the shadow. */
static int read_hits(struct firewall *fw)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
		err = nft_dump_set(&fw->nft, set_hits_name(families[i]), take_hits, fw);
	return err;
}

static int try_install(struct firewall *fw, const struct conf *conf, int64_t now_ms)
{
	const struct ruleset_spec spec = {conf, fw->prober_uid, fw->persist};
	auto_free struct block **list = NULL;
	auto_batch struct nft_batch batch = {0};
	size_t count;
	int exists = nft_table_exists(&fw->nft);
	int err;

	if (exists < 0)
		return exists;
	/* Without counters, and counting from the last known, when somebody took the sets away. */
	if (exists)
		(void)read_hits(fw);
	err = blocks_list(fw->blocks, &list, &count);
	if (err)
		return err;
	nft_batch_init(&fw->nft, &batch);
	if (exists)
		nft_batch_delete_table(&batch);
	ruleset_add_table(&batch, &spec, list, count, now_ms);
	return nft_batch_commit(&fw->nft, &batch);
}

/*
 * Puts the whole table in place of the present one, if any, in one transaction: no packet meets
 * half of it. A kernel before 6.9 refuses owned and persistent tables, with EOPNOTSUPP or EINVAL;
 * then a plain one is made and watched.
 */
static int install(struct firewall *fw, const struct conf *conf, int64_t now_ms)
{
	int err = -ENOENT;

	blocks_expire(fw->blocks, now_ms);
	/* Others may add or delete a plain table between our look and the transaction. */
	for (unsigned i = 0; i < INSTALL_TRIES && (err == -ENOENT || err == -EEXIST); i++) {
		err = try_install(fw, conf, now_ms);
		if ((err == -EOPNOTSUPP || err == -EINVAL) && fw->persist && !fw->installed) {
			fw->persist = false;
			err = try_install(fw, conf, now_ms);
		}
	}
	if (err)
		return err;
	fw->installed = true;
	if (!fw->persist && fw->monitor_fd < 0) {
		err = monitor_open(fw->nft.portid, &fw->monitor_fd);
		/* What happened until now went unheard: once more, while somebody listens. */
		if (!err)
			err = try_install(fw, conf, now_ms);
	}
	return err;
}

int firewall_read_monitor(struct firewall *fw, int64_t now_ms, bool *restored)
{
	bool touched = false;
	int err = monitor_read(fw->monitor_fd, &touched);

	if (err || !touched || !fw->running || fw->panicked)
		return err;
	err = install(fw, fw->running, now_ms);
	if (!err) {
		fw->reconciliations++;
		*restored = true;
	}
	return err;
}

/* Adoption: what an earlier helper has left in the kernel */

struct adoption {
	struct firewall *fw;
	const struct conf *conf;
	int64_t now_ms;
};

static int adopt_element(const struct nft_element *e, void *closure)
{
	struct adoption *a = closure;
	struct block block = {.endpoint = e->endpoint,
	                      .rule = chain_rule_from_name(a->conf, e->chain)};
	uint64_t left_ms = e->expires_ms;

	/* We make none that never expire, nor any that the policy would not let us make. */
	if (!e->is_tcp || !left_ms || policy_check_endpoint(a->conf, &e->endpoint, block.rule))
		return 0;
	if (left_ms > FIREWALL_TIMEOUT_MAX_MS)
		left_ms = FIREWALL_TIMEOUT_MAX_MS;
	block.deadline_ms = a->now_ms + (int64_t)left_ms;
	return blocks_put(a->fw->blocks, &block);
}

static int adopt(struct firewall *fw, const struct conf *conf, int64_t now_ms)
{
	struct adoption a = {fw, conf, now_ms};
	int exists = nft_table_exists(&fw->nft);

	if (exists <= 0)
		return exists;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		int err = nft_dump_set(&fw->nft, set_map_name(families[i]), adopt_element, &a);

		if (err && err != -ENOENT) /* a table of ours without the map: not of our make */
			return err;
	}
	return 0;
}

/* Configurations */

static void refuse(struct ipc_result *result, int error, const char *what, const char *why)
{
	*result = (struct ipc_result){.error = error};
	snprintf(result->text, sizeof(result->text), "%s%s", what, why);
}

void firewall_check_conf(struct firewall *fw, const struct ipc_conf *id, int fd,
                         struct ipc_result *result)
{
	char error[CONF_ERROR_LEN];
	auto_conf struct conf *conf = NULL;
	const char *why;

	firewall_abort_conf(fw);
	if (fd < 0 || !id->generation) {
		refuse(result, -EINVAL, "no file, or generation 0", "");
		return;
	}
	conf = conf_load_fd("configuration", fd, error);
	if (!conf) {
		refuse(result, -EINVAL, error, "");
		return;
	}
	conf_forget_secrets(conf);
	conf_rollout_apply(conf, fw->host_id);
	why = policy_find_conf_error(conf);
	if (why) {
		refuse(result, -EINVAL, why, "");
		return;
	}
	why = fw->running ? conf_find_fixed_change(fw->running, conf) : NULL;
	if (why) {
		refuse(result, -EINVAL, why, ": cannot change without a restart");
		return;
	}
	fw->candidate = steal_ptr(&conf);
	fw->candidate_id = *id;
	*result = (struct ipc_result){0};
}

void firewall_abort_conf(struct firewall *fw)
{
	conf_free(fw->candidate);
	fw->candidate = NULL;
}

/* The rule of a block under the next configuration: that of the same name. */
static uint32_t translate_rule(const struct conf *from, const struct conf *to, uint32_t rule)
{
	char chain[NFT_NAME_MAXLEN];

	return chain_rule_from_name(to, chain_name_of_rule(from, rule, chain));
}

/* The blocks as they are to be under `next`; NULL when memory is out. */
static struct blocks *translate_blocks(const struct firewall *fw, const struct conf *next)
{
	auto_free struct block **list = NULL;
	struct blocks *translated = blocks_new();
	size_t count;
	int err = translated ? blocks_list(fw->blocks, &list, &count) : -ENOMEM;

	for (size_t i = 0; !err && i < count; i++) {
		struct block block = *list[i];

		block.rule = translate_rule(fw->running, next, block.rule);
		if (policy_check_endpoint(next, &block.endpoint, block.rule) == FIREWALL_OK)
			err = blocks_put(translated, &block);
	}
	if (err) {
		blocks_free(translated);
		return NULL;
	}
	return translated;
}

/* The kernel's side of a commit. On failure the running configuration and its blocks stay. */
static int switch_table(struct firewall *fw, const struct conf *next, bool panic, int64_t now_ms)
{
	struct blocks *before = fw->blocks;
	struct blocks *after;
	int err;

	if (!fw->running)
		fw->persist = next->firewall.persist == CONF_PERSIST_AUTO;
	if (panic || fw->panicked)
		return firewall_panic(fw);
	if (!fw->running) {
		err = adopt(fw, next, now_ms);
		return err ? err : install(fw, next, now_ms);
	}
	(void)read_hits(fw);
	after = translate_blocks(fw, next);
	if (!after)
		return -ENOMEM;
	fw->blocks = after;
	err = install(fw, next, now_ms);
	if (err)
		fw->blocks = before;
	blocks_free(err ? after : before);
	return err;
}

void firewall_commit_conf(struct firewall *fw, const struct ipc_conf *id, int64_t now_ms,
                          struct ipc_result *result, bool *first)
{
	int err;

	if (!fw->candidate || id->generation != fw->candidate_id.generation ||
	    id->crc32 != fw->candidate_id.crc32) {
		refuse(result, -ESTALE, "this configuration was not checked before", "");
		return;
	}
	err = switch_table(fw, fw->candidate, id->panic, now_ms);
	if (err == -EPERM) {
		refuse(result, err,
		       "nftables: ", "table inet " NFT_TABLE_NAME " belongs to another process");
		return;
	}
	if (err) {
		refuse(result, err, "nftables: ", strerror(-err));
		return;
	}
	*first = !fw->running;
	conf_free(fw->running);
	fw->running = steal_ptr(&fw->candidate);
	fw->running_id = *id;
	*result = (struct ipc_result){0};
}

/* Panic and the end */

int firewall_panic(struct firewall *fw)
{
	fw->panicked = true;
	blocks_clear(fw->blocks);
	return delete_table(fw);
}

static int resume(struct firewall *fw, int64_t now_ms)
{
	int err = 0;

	if (fw->panicked)
		err = install(fw, fw->running, now_ms);
	if (!err)
		fw->panicked = false;
	return err;
}

int firewall_stop(struct firewall *fw)
{
	return fw->running && fw->running->on_stop == CONF_ON_STOP_REMOVE ? delete_table(fw) : 0;
}

/* Requests */

struct firewall_reply firewall_status(const struct firewall *fw)
{
	return (struct firewall_reply){
	    .version = FIREWALL_WIRE_VERSION,
	    .result = FIREWALL_OK,
	    .blocks = (uint32_t)blocks_count(fw->blocks),
	    .reconciliations = fw->reconciliations,
	    .persist = fw->installed && fw->persist,
	    .panicked = fw->panicked,
	};
}

static enum firewall_result from_kernel(int err, int *error)
{
	*error = -err;
	return err ? FIREWALL_KERNEL : FIREWALL_OK;
}

/* Commits a change of one block. Is the table gone, it is restored and the change tried again. */
static int change_block(struct firewall *fw, const struct block *block, const struct block *present,
                        bool remove, int64_t now_ms)
{
	int err = 0;

	for (unsigned i = 0; i < 2; i++) {
		auto_batch struct nft_batch batch;

		nft_batch_init(&fw->nft, &batch);
		if (remove)
			ruleset_remove_block(&batch, fw->running, block, now_ms);
		else
			ruleset_put_block(&batch, fw->running, block,
			                  present ? present->rule : block->rule, now_ms);
		err = nft_batch_commit(&fw->nft, &batch);
		if (!err || i)
			break;
		if (install(fw, fw->running, now_ms))
			break;
		fw->reconciliations++;
	}
	return err;
}

static enum firewall_result check_block(const struct firewall *fw,
                                        const struct firewall_request *request,
                                        const struct block *present, int64_t now_ms)
{
	enum firewall_result result;

	if (fw->panicked)
		return FIREWALL_PANICKED;
	if (request->generation != fw->running_id.generation)
		return FIREWALL_STALE;
	result = policy_check_block(fw->running, request);
	if (result || present)
		return result;
	return policy_check_caps(fw->running, &fw->rate, blocks_count(fw->blocks), now_ms);
}

static enum firewall_result serve_block(struct firewall *fw, const struct firewall_request *request,
                                        int64_t now_ms, int *error)
{
	const struct endpoint e = policy_request_endpoint(request);
	const struct block *present = blocks_find(fw->blocks, &e);
	enum firewall_result result = check_block(fw, request, present, now_ms);
	struct block block = {.endpoint = e, .rule = request->rule};
	int err;

	if (result)
		return result;
	block.deadline_ms = now_ms + (int64_t)request->timeout_ms;
	if (present && nft_get_hits(&fw->nft, &e, &block.packets, &block.bytes)) {
		block.packets = present->packets;
		block.bytes = present->bytes;
	}
	err = change_block(fw, &block, present, false, now_ms);
	if (err)
		return from_kernel(err, error);
	if (!present)
		policy_rate_record(&fw->rate, now_ms);
	return from_kernel(blocks_put(fw->blocks, &block), error);
}

static enum firewall_result serve_unblock(struct firewall *fw, const struct endpoint *e,
                                          int64_t now_ms, int *error)
{
	const struct block *present = blocks_find(fw->blocks, e);
	int err;

	if (!present)
		return FIREWALL_NOT_FOUND;
	err = change_block(fw, present, present, true, now_ms);
	if (!err)
		blocks_remove(fw->blocks, e);
	return from_kernel(err, error);
}

static void name_block(struct firewall_reply *reply, const struct block *block)
{
	reply->family = (uint8_t)block->endpoint.family;
	reply->port = block->endpoint.port;
	memcpy(reply->address, block->endpoint.address, sizeof(reply->address));
	reply->rule = block->rule == BLOCKS_RULE_ORPHAN ? FIREWALL_RULE_MANUAL : block->rule;
	reply->packets = block->packets;
	reply->bytes = block->bytes;
}

static struct firewall_reply make_reply(const struct firewall *fw,
                                        const struct firewall_request *request,
                                        enum firewall_result result, int error, int64_t now_ms)
{
	struct firewall_reply reply = firewall_status(fw);
	const struct endpoint e = policy_request_endpoint(request);
	const struct block *block = blocks_find(fw->blocks, &e);

	reply.result = (uint16_t)result;
	reply.error = error;
	reply.family = request->family;
	reply.port = request->port;
	memcpy(reply.address, request->address, sizeof(reply.address));
	reply.rule = request->rule;
	if (request->verb == FIREWALL_BLOCK && result == FIREWALL_OK && block) {
		name_block(&reply, block);
		reply.expires_ms = (uint64_t)(block->deadline_ms - now_ms);
	}
	return reply;
}

struct firewall_reply firewall_serve(struct firewall *fw, const struct firewall_request *request,
                                     int64_t now_ms)
{
	const struct endpoint e = policy_request_endpoint(request);
	enum firewall_result result = FIREWALL_OK;
	int error = 0;

	blocks_expire(fw->blocks, now_ms);
	switch (request->verb) {
	case FIREWALL_BLOCK: result = serve_block(fw, request, now_ms, &error); break;
	case FIREWALL_UNBLOCK: result = serve_unblock(fw, &e, now_ms, &error); break;
	case FIREWALL_PANIC: result = from_kernel(firewall_panic(fw), &error); break;
	case FIREWALL_RESUME: result = from_kernel(resume(fw, now_ms), &error); break;
	case FIREWALL_STATUS: break;
	default: result = FIREWALL_MALFORMED;
	}
	return make_reply(fw, request, result, error, now_ms);
}

struct listing {
	struct firewall *fw;
	int64_t now_ms;
};

static int take_expiration(const struct nft_element *e, void *closure)
{
	struct listing *l = closure;
	struct block *block = blocks_find(l->fw->blocks, &e->endpoint);

	if (block && e->is_tcp && e->expires_ms)
		block->deadline_ms = l->now_ms + (int64_t)e->expires_ms;
	return 0;
}

int firewall_list(struct firewall *fw, int64_t now_ms, struct firewall_reply **out, size_t *count)
{
	auto_free struct block **list = NULL;
	auto_free struct firewall_reply *replies = NULL;
	struct listing l = {fw, now_ms};
	size_t n;
	int err = 0;

	blocks_expire(fw->blocks, now_ms);
	if (fw->installed && blocks_count(fw->blocks)) {
		err = read_hits(fw);
		for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
			err =
			    nft_dump_set(&fw->nft, set_map_name(families[i]), take_expiration, &l);
	}
	if (blocks_list(fw->blocks, &list, &n))
		return -ENOMEM;
	replies = calloc(n + 1, sizeof(*replies));
	if (!replies)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		replies[i] = firewall_status(fw);
		name_block(&replies[i], list[i]);
		replies[i].expires_ms = (uint64_t)(list[i]->deadline_ms - now_ms);
	}
	replies[n] = firewall_status(fw);
	replies[n].result = err ? FIREWALL_KERNEL : FIREWALL_END;
	replies[n].error = -err;
	*count = n + 1;
	*out = steal_ptr(&replies);
	return 0;
}
