/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/firewall.h"

#include "conf/conf_rollout.h"
#include "daemon/firewall/chain.h"
#include "daemon/firewall/set.h"
#include "daemon/firewall/state.h"

#include <errno.h>
#include <string.h>

int firewall_new(uid_t prober_uid, uid_t filter_uid, struct firewall **out)
{
	struct firewall *fw = calloc(1, sizeof(*fw));
	int err;

	if (!fw)
		return -ENOMEM;
	host_id_read(fw->host_id);
	err = table_open(&fw->table, prober_uid, filter_uid);
	if (!err)
		err = sever_open(&fw->diag);
	if (!err)
		err = road_open(&fw->road);
	fw->shadow.blocks = blocks_new();
	fw->shadow.ledger = blocks_new();
	if (!err && (!fw->shadow.blocks || !fw->shadow.ledger))
		err = -ENOMEM;
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
	table_close(&fw->table);
	if (fw->diag)
		mnl_socket_close(fw->diag);
	road_close(&fw->road);
	free(fw->cuts);
	blocks_free(fw->shadow.blocks);
	blocks_free(fw->shadow.ledger);
	allowed_free(fw->shadow.allowed);
	listeners_free(fw->shadow.listeners);
	conf_free(fw->running);
	conf_free(fw->candidate);
	free(fw);
}

int firewall_monitor_fd(const struct firewall *fw)
{
	return fw->table.monitor_fd;
}

bool firewall_is_reading(const struct firewall *fw)
{
	return fw->table.reading != NULL;
}

int firewall_read_on(struct firewall *fw, int64_t now_ms)
{
	int more = table_read_on(&fw->table, fw->running, &fw->shadow, now_ms);

	return more > 0 ? 0 : more;
}

static int finish_reading(struct firewall *fw, int64_t now_ms)
{
	int err = 0;

	while (!err && firewall_is_reading(fw))
		err = firewall_read_on(fw, now_ms);
	return err;
}

int firewall_install(struct firewall *fw, int64_t now_ms)
{
	int err = finish_reading(fw, now_ms);

	return err ? err : table_install(&fw->table, fw->running, &fw->shadow, now_ms);
}

int firewall_read_monitor(struct firewall *fw, int64_t now_ms, bool *restored)
{
	bool touched = false;
	int err = table_read_monitor(&fw->table, &touched);

	if (err || !touched || !fw->running || fw->panicked)
		return err;
	err = firewall_install(fw, now_ms);
	if (!err) {
		fw->table.reconciliations++;
		*restored = true;
	}
	return err;
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
	char error[CONF_ERROR_LEN], reason[ROAD_REASON_LEN];
	auto_conf struct conf *conf = NULL;
	const char *why;
	int err;

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
	err = firewall_check_road(fw, conf, reason);
	if (err) {
		refuse(result, err, reason, "");
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
	int err = translated ? blocks_list(fw->shadow.blocks, &list, &count) : -ENOMEM;

	for (size_t i = 0; !err && i < count; i++) {
		struct block block = *list[i];

		block.rule = translate_rule(fw->running, next, block.rule);
		block.fallback &= policy_may_fall_back(next, block.rule);
		/* Nobody ever asked that it be refused. */
		if (block.rule == BLOCKS_RULE_ORPHAN && set_is_filtered(fw->running, list[i]))
			continue;
		if (policy_check_endpoint(next, &block.endpoint, block.rule) == FIREWALL_OK)
			err = blocks_put(translated, &block);
	}
	if (err) {
		blocks_free(translated);
		return NULL;
	}
	return translated;
}

static void free_own_parts(const struct shadow *shadow)
{
	blocks_free(shadow->blocks);
	allowed_free(shadow->allowed);
	listeners_free(shadow->listeners);
}

/* What the agent asked for, as it is to be under `next`. */
static int translate_shadow(const struct firewall *fw, const struct conf *next, struct shadow *out)
{
	int err = 0;

	*out = fw->shadow;
	out->blocks = translate_blocks(fw, next);
	out->allowed = allowed_translate(fw->shadow.allowed, fw->running, next);
	out->listeners = listeners_new(next, fw->shadow.listeners);
	if (!out->blocks || !out->allowed || !out->listeners)
		err = -ENOMEM;
	if (!err && fw->has_filter)
		err = listeners_open(out->listeners, next->firewall.mark);
	if (err)
		free_own_parts(out);
	return err;
}

/* What was filtered and is refused from now on: the filter's connections end. */
static void cut_converted(struct firewall *fw, const struct conf *next, const struct shadow *after)
{
	auto_free struct block **list = NULL;
	size_t count;

	if (!conf_has_filter(fw->running) || blocks_list(after->blocks, &list, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct block *before = blocks_find(fw->shadow.blocks, &list[i]->endpoint);

		if (before && set_is_filtered(fw->running, before) &&
		    !set_is_filtered(next, list[i]))
			firewall_note_cut(fw, list[i]);
	}
}

/* Puts one of two shadows in force and forgets the other's own parts. */
static void choose_shadow(struct firewall *fw, const struct shadow *chosen,
                          const struct shadow *other)
{
	free_own_parts(other);
	fw->shadow = *chosen;
}

static int switch_first(struct firewall *fw, const struct conf *next, bool panic, int64_t now_ms)
{
	struct allowed *allowed = allowed_new(next);
	struct listeners *listeners = listeners_new(next, NULL);
	int err;

	if (!allowed || !listeners) {
		allowed_free(allowed);
		listeners_free(listeners);
		return -ENOMEM;
	}
	/* Those of an attempt that failed. */
	allowed_free(fw->shadow.allowed);
	listeners_free(fw->shadow.listeners);
	fw->shadow.allowed = allowed;
	fw->shadow.listeners = listeners;
	err = fw->has_filter ? listeners_open(listeners, next->firewall.mark) : 0;
	if (err)
		return err;
	fw->table.persist = next->firewall.persist == CONF_PERSIST_AUTO;
	if (panic || fw->panicked)
		return firewall_panic(fw);
	fw->drain_wake_ms = now_ms; /* some of what is found there may have begun to drain */
	err = table_take_over(&fw->table, next, &fw->shadow, now_ms);
	/* One that is taken as it was leads to where the filter of before has listened. */
	if (!err && conf_has_filter(next))
		err = table_replace_filters(&fw->table, next, &fw->shadow);
	return err;
}

/* The kernel's side of a commit. On failure the running configuration and its shadow stay. */
static int switch_table(struct firewall *fw, const struct conf *next, bool panic, int64_t now_ms)
{
	const struct shadow before = fw->shadow;
	struct shadow after;
	int err;

	if (!fw->running)
		return switch_first(fw, next, panic, now_ms);
	err = panic ? 0 : finish_reading(fw, now_ms);
	if (err)
		return err;
	(void)table_read_hits(&fw->table, fw->shadow.blocks);
	err = translate_shadow(fw, next, &after);
	if (err)
		return err;
	if (panic || fw->panicked) {
		choose_shadow(fw, &after, &before);
		return firewall_panic(fw);
	}
	err = table_install(&fw->table, next, &after, now_ms);
	if (err) {
		choose_shadow(fw, &before, &after);
		return err;
	}
	cut_converted(fw, next, &after);
	choose_shadow(fw, &after, &before);
	return 0;
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
	err = firewall_open_road(fw, fw->candidate);
	if (err) {
		refuse(result, err, "policy routing: ", strerror(-err));
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
	if (*first)
		fw->restore_until_ms = now_ms + FIREWALL_RESTORE_MS;
	conf_free(fw->running);
	fw->running = steal_ptr(&fw->candidate);
	fw->running_id = *id;
	/* What it would leave meets no packet: no rule of ours sets the marks. */
	(void)firewall_close_road(fw, fw->running);
	*result = (struct ipc_result){0};
}

/* Panic and the end */

int firewall_panic(struct firewall *fw)
{
	int err;

	fw->panicked = true;
	blocks_clear(fw->shadow.blocks);
	err = table_delete(&fw->table);
	return err ? err : firewall_remove_road(fw);
}

int firewall_resume(struct firewall *fw, int64_t now_ms)
{
	int err = 0;

	if (fw->panicked)
		err = firewall_open_road(fw, fw->running);
	if (fw->panicked && !err)
		err = firewall_install(fw, now_ms);
	if (!err)
		fw->panicked = false;
	return err;
}

void firewall_refresh_stamp(struct firewall *fw)
{
	/* Without it, the successor makes the table anew. */
	(void)table_refresh_stamp(&fw->table);
}

int firewall_stop(struct firewall *fw)
{
	if (fw->running && fw->running->on_stop == CONF_ON_STOP_REMOVE) {
		int err = table_delete(&fw->table);

		return err ? err : firewall_remove_road(fw);
	}
	firewall_refresh_stamp(fw);
	return 0;
}

struct firewall_reply firewall_status(const struct firewall *fw)
{
	return (struct firewall_reply){
	    .version = FIREWALL_WIRE_VERSION,
	    .result = FIREWALL_OK,
	    .blocks = (uint32_t)blocks_count(fw->shadow.blocks),
	    .reconciliations = fw->table.reconciliations,
	    .persist = fw->table.installed && fw->table.persist,
	    .panicked = fw->panicked,
	};
}
