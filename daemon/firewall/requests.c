/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/clients.h"
#include "daemon/firewall/dump.h"
#include "daemon/firewall/ruleset.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/state.h"

#include <errno.h>
#include <string.h>

static const sa_family_t families[] = {AF_INET, AF_INET6};

static enum firewall_result from_kernel(int err, int *error)
{
	*error = -err;
	return err ? FIREWALL_KERNEL : FIREWALL_OK;
}

/*
 * Commits a change that is in the batch. Where the kernel refuses it, the table is not what we
 * take it for, or gone: it is restored, and -EAGAIN says that the change may be tried again.
 */
static int commit_change(struct firewall *fw, struct nft_batch *batch, bool again, int64_t now_ms)
{
	int err;

	table_stamp(&fw->table, batch);
	err = nft_batch_commit(&fw->table.nft, batch);
	if (!err || !again || firewall_install(fw, now_ms))
		return err;
	fw->table.reconciliations++;
	return -EAGAIN;
}

static int change_block(struct firewall *fw, const struct block *block, const struct block *present,
                        bool remove, int64_t now_ms)
{
	int err = -EAGAIN;

	for (unsigned i = 0; err == -EAGAIN && i < 2; i++) {
		auto_batch struct nft_batch batch;

		nft_batch_init(&fw->table.nft, &batch);
		if (remove)
			ruleset_remove_block(&batch, fw->running, block, now_ms);
		else
			ruleset_put_block(&batch, fw->running, block, present, now_ms);
		err = commit_change(fw, &batch, i == 0, now_ms);
	}
	return err;
}

bool firewall_is_restored(const struct firewall *fw, const struct firewall_request *request,
                          int64_t now_ms)
{
	return request->restored && now_ms < fw->restore_until_ms;
}

enum firewall_result firewall_check_block(const struct firewall *fw,
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
	if (firewall_is_restored(fw, request, now_ms))
		return policy_check_room(fw->running, blocks_count(fw->shadow.blocks));
	return policy_check_caps(fw->running, &fw->rate, blocks_count(fw->shadow.blocks), now_ms);
}

/* A renewal finds nothing to end, and what is filtered is left to drain. */
void firewall_note_change(struct firewall *fw, const struct block *block,
                          const struct block *present)
{
	if (present && present->rule == block->rule && present->fallback == block->fallback)
		return;
	if (!set_is_filtered(fw->running, block))
		firewall_note_cut(fw, block);
}

struct block firewall_make_block(struct firewall *fw, const struct firewall_request *request,
                                 const struct block *present, int64_t now_ms)
{
	struct block block = {.endpoint = policy_request_endpoint(request),
	                      .rule = request->rule,
	                      .fallback = request->fallback,
	                      .deadline_ms = now_ms + (int64_t)request->timeout_ms};

	if (present && set_is_filtered(fw->running, present))
		block.drain_until_ms = present->drain_until_ms;
	else
		firewall_begin_drain(fw, &block, now_ms);
	return block;
}

static enum firewall_result serve_block(struct firewall *fw, const struct firewall_request *request,
                                        int64_t now_ms, int *error)
{
	const struct endpoint e = policy_request_endpoint(request);
	const struct block *present = blocks_find(fw->shadow.blocks, &e);
	enum firewall_result result = firewall_check_block(fw, request, present, now_ms);
	struct block block;
	int err;

	if (result)
		return result;
	block = firewall_make_block(fw, request, present, now_ms);
	if (present && dump_get_hits(&fw->table.nft, &e, &block.packets, &block.bytes)) {
		block.packets = present->packets;
		block.bytes = present->bytes;
	}
	err = change_block(fw, &block, present, false, now_ms);
	if (err)
		return from_kernel(err, error);
	if (!present && !firewall_is_restored(fw, request, now_ms))
		policy_rate_record(&fw->rate, now_ms);
	firewall_note_change(fw, &block, present);
	return from_kernel(blocks_put(fw->shadow.blocks, &block), error);
}

static enum firewall_result serve_unblock(struct firewall *fw, const struct endpoint *e,
                                          int64_t now_ms, int *error)
{
	const struct block *present = blocks_find(fw->shadow.blocks, e);
	int err;

	if (!present)
		return FIREWALL_NOT_FOUND;
	err = change_block(fw, present, present, true, now_ms);
	if (!err)
		blocks_remove(fw->shadow.blocks, e);
	return from_kernel(err, error);
}

/* The ledger */

static int change_ledger(struct firewall *fw, const struct block *endpoint, bool remove,
                         int64_t now_ms)
{
	int err = -EAGAIN;

	for (unsigned i = 0; err == -EAGAIN && i < 2; i++) {
		auto_batch struct nft_batch batch;

		nft_batch_init(&fw->table.nft, &batch);
		if (remove)
			ruleset_remove_ledger(&batch, endpoint, now_ms);
		else
			ruleset_put_ledger(&batch, endpoint, now_ms);
		err = commit_change(fw, &batch, i == 0, now_ms);
	}
	return err;
}

static enum firewall_result serve_ledger_add(struct firewall *fw, const struct endpoint *e,
                                             int64_t now_ms, int *error)
{
	const struct block endpoint = {.endpoint = *e,
	                               .deadline_ms = now_ms + (int64_t)FIREWALL_LEDGER_MS};
	int err;

	if (fw->panicked)
		return FIREWALL_PANICKED;
	if (policy_check_ledger(e))
		return FIREWALL_BAD_ADDRESS;
	if (!blocks_find(fw->shadow.ledger, e) &&
	    blocks_count(fw->shadow.ledger) >= FIREWALL_LEDGER_MAX)
		return FIREWALL_TOO_MANY;
	err = change_ledger(fw, &endpoint, false, now_ms);
	return from_kernel(err ? err : blocks_put(fw->shadow.ledger, &endpoint), error);
}

static enum firewall_result serve_ledger_remove(struct firewall *fw, const struct endpoint *e,
                                                int64_t now_ms, int *error)
{
	const struct block *present = blocks_find(fw->shadow.ledger, e);
	int err;

	if (!present)
		return FIREWALL_NOT_FOUND;
	err = fw->panicked ? 0 : change_ledger(fw, present, true, now_ms);
	if (!err)
		blocks_remove(fw->shadow.ledger, e);
	return from_kernel(err, error);
}

static bool is_wanted(const struct firewall *fw, const struct firewall_request *request,
                      const struct endpoint *e)
{
	const struct endpoint asked = policy_request_endpoint(request);

	if (request->family && endpoint_compare(&asked, e) != 0)
		return false;
	return blocks_find(fw->shadow.ledger, e) != NULL;
}

static struct firewall_peer make_peer(const struct ledger_peer *from)
{
	struct firewall_peer peer = {.version = FIREWALL_WIRE_VERSION,
	                             .port = from->endpoint.port,
	                             .family = (uint8_t)from->endpoint.family,
	                             .connections = from->connections,
	                             .expires_ms = from->expires_ms};

	if (from->expires_ms < FIREWALL_LEDGER_MS)
		peer.idle_ms = FIREWALL_LEDGER_MS - from->expires_ms;
	memcpy(peer.address, from->endpoint.address, sizeof(peer.address));
	memcpy(peer.peer, from->peer, sizeof(peer.peer));
	return peer;
}

int firewall_list_peers(struct firewall *fw, const struct firewall_request *request,
                        struct firewall_peer **out, size_t *count, struct firewall_reply *end)
{
	auto_peers struct ledger_peers read = {0};
	struct firewall_peer *peers;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; !err && fw->table.installed && i < ARRAY_LEN(families); i++)
		if (!request->family || request->family == families[i])
			err = dump_peers(&fw->table.nft, families[i], &read);
	peers = calloc(read.count + 1, sizeof(*peers));
	if (!peers)
		return -ENOMEM;
	for (size_t i = 0; i < read.count; i++)
		if (is_wanted(fw, request, &read.items[i].endpoint))
			peers[n++] = make_peer(&read.items[i]);
	*out = peers;
	*count = n;
	*end = firewall_status(fw);
	end->result = err ? FIREWALL_KERNEL : FIREWALL_END;
	end->error = -err;
	return 0;
}

/* Whom a rule lets through */

static int change_allowed(struct firewall *fw, uint32_t rule, struct allowed *before,
                          int64_t now_ms)
{
	auto_batch struct nft_batch batch;
	bool in_place = true;
	int err;

	nft_batch_init(&fw->table.nft, &batch);
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const struct conf_prefixes from = allowed_get(before, rule, families[i]);
		const struct conf_prefixes to = allowed_get(fw->shadow.allowed, rule, families[i]);

		in_place &= clients_have_sets_for(families[i], &from, &to);
		clients_change(&batch, fw->running, rule, families[i], &from, &to);
	}
	if (!in_place)
		return firewall_install(fw, now_ms);
	/* A restored table has the new list in it. */
	err = commit_change(fw, &batch, true, now_ms);
	return err == -EAGAIN ? 0 : err;
}

static enum firewall_result serve_allow(struct firewall *fw, const struct firewall_allow *request,
                                        const struct prefix *entries, int64_t now_ms, int *error)
{
	struct allowed *before = fw->shadow.allowed, *after;
	int err;

	if (request->generation != fw->running_id.generation)
		return FIREWALL_STALE;
	if (policy_check_allow(fw->running, request->rule))
		return FIREWALL_BAD_RULE;
	after = allowed_translate(before, fw->running, fw->running);
	if (!after || allowed_set(after, request->rule, entries, request->count)) {
		allowed_free(after);
		return from_kernel(-ENOMEM, error);
	}
	fw->shadow.allowed = after;
	/* While there is no table, it is only kept for the next. */
	err = fw->panicked ? 0 : change_allowed(fw, request->rule, before, now_ms);
	if (err)
		fw->shadow.allowed = before;
	allowed_free(err ? after : before);
	return from_kernel(err, error);
}

struct firewall_reply firewall_allow(struct firewall *fw, const struct firewall_allow *request,
                                     const struct prefix *entries, int64_t now_ms)
{
	int error = 0;
	enum firewall_result result = serve_allow(fw, request, entries, now_ms, &error);
	struct firewall_reply reply = firewall_status(fw);

	reply.result = (uint16_t)result;
	reply.error = error;
	reply.rule = request->rule;
	return reply;
}

/* Answers */

static void name_block(struct firewall_reply *reply, const struct block *block)
{
	reply->family = (uint8_t)block->endpoint.family;
	reply->port = block->endpoint.port;
	memcpy(reply->address, block->endpoint.address, sizeof(reply->address));
	reply->rule = block->rule;
	reply->fallback = block->fallback;
	reply->packets = block->packets;
	reply->bytes = block->bytes;
}

struct firewall_reply firewall_make_reply(const struct firewall *fw,
                                          const struct firewall_request *request,
                                          enum firewall_result result, int error, int64_t now_ms)
{
	struct firewall_reply reply = firewall_status(fw);
	const struct endpoint e = policy_request_endpoint(request);
	const struct block *block = blocks_find(fw->shadow.blocks, &e);

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
	struct firewall_reply reply;
	int error = 0;

	blocks_expire(fw->shadow.blocks, now_ms);
	blocks_expire(fw->shadow.ledger, now_ms);
	switch (request->verb) {
	case FIREWALL_BLOCK: result = serve_block(fw, request, now_ms, &error); break;
	case FIREWALL_UNBLOCK: result = serve_unblock(fw, &e, now_ms, &error); break;
	case FIREWALL_PANIC: result = from_kernel(firewall_panic(fw), &error); break;
	case FIREWALL_RESUME: result = from_kernel(firewall_resume(fw, now_ms), &error); break;
	case FIREWALL_LEDGER_ADD: result = serve_ledger_add(fw, &e, now_ms, &error); break;
	case FIREWALL_LEDGER_REMOVE: result = serve_ledger_remove(fw, &e, now_ms, &error); break;
	case FIREWALL_STATUS: break;
	default: result = FIREWALL_MALFORMED;
	}
	reply = firewall_make_reply(fw, request, result, error, now_ms);
	if (request->verb == FIREWALL_STATUS)
		reply.recent = (uint32_t)policy_rate_count(&fw->rate, now_ms);
	return reply;
}

struct listing {
	struct firewall *fw;
	int64_t now_ms;
};

/*
 * In a table that is ours alone, a block that is not in the shadow was passed over at the start: in
 * a long dump, the kernel leaves out one element for each that it has removed meanwhile.
 */
static int take_expiration(const struct dump_element *e, void *closure)
{
	struct listing *l = closure;
	struct block *block = blocks_find(l->fw->shadow.blocks, &e->endpoint);
	bool taken;

	if (!block && l->fw->table.nft.owned)
		return table_adopt_block(l->fw->running, l->fw->shadow.blocks, e, l->now_ms,
		                         &taken);
	if (block && e->is_tcp && e->expires_ms)
		block->deadline_ms = l->now_ms + (int64_t)e->expires_ms;
	return 0;
}

static int list_endpoints(struct listing *l, sa_family_t family)
{
	struct nft *nft = &l->fw->table.nft;
	int err = dump_endpoints(nft, set_map_name(family), take_expiration, l);

	if (!err && conf_has_filter(l->fw->running))
		err = dump_endpoints(nft, set_filter_name(family), take_expiration, l);
	return err;
}

int firewall_list(struct firewall *fw, int64_t now_ms, struct firewall_reply **out, size_t *count)
{
	auto_free struct block **list = NULL;
	auto_free struct firewall_reply *replies = NULL;
	struct listing l = {fw, now_ms};
	size_t n;
	int err = 0;

	blocks_expire(fw->shadow.blocks, now_ms);
	if (fw->table.installed && blocks_count(fw->shadow.blocks)) {
		err = table_read_hits(&fw->table, fw->shadow.blocks);
		for (size_t i = 0; !err && i < ARRAY_LEN(families); i++)
			err = list_endpoints(&l, families[i]);
	}
	if (blocks_list(fw->shadow.blocks, &list, &n))
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
