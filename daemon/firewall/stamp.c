/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/stamp.h"

#include "common/cleanup.h"
#include "daemon/firewall/dump.h"
#include "daemon/firewall/set.h"

#include <errno.h>
#include <sha2.h>
#include <string.h>

_Static_assert(sizeof(struct stamp) == SET_STAMP_BYTES, "the key of the set");

/* There are no rules for them; what the table may hold depends on them nevertheless. */
static void hash_limits(SHA2_CTX *sha, const struct conf *conf)
{
	const uint16_t own = conf->metrics.enabled ? conf->metrics.listen.port : 0;
	const uint32_t most = conf->firewall.max_blocks; /* what sets of many have room for */

	SHA256Update(sha, (const uint8_t *)conf->protect.ports.items,
	             conf->protect.ports.count * sizeof(*conf->protect.ports.items));
	SHA256Update(sha, (const uint8_t *)&own, sizeof(own));
	SHA256Update(sha, (const uint8_t *)&most, sizeof(most));
}

int stamp_take_fingerprint(const struct ruleset_spec *spec, bool bridge,
                           uint8_t out[static STAMP_FINGERPRINT_BYTES])
{
	const struct ledger_peers none = {0};
	struct nft nowhere = {.table = NFT_TABLE_NAME, .bridge = bridge};
	struct ruleset_spec fixed = *spec;
	auto_batch struct nft_batch batch;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX sha;

	fixed.allowed = NULL;
	fixed.listeners = NULL;
	fixed.ledger = NULL;
	fixed.n_ledger = 0;
	fixed.peers = spec->peers ? &none : NULL;
	nft_batch_init(&nowhere, &batch);
	ruleset_add_table(&batch, &fixed, NULL, 0, 0);
	if (batch.failed)
		return -ENOMEM;
	SHA256Init(&sha);
	SHA256Update(&sha, batch.bytes, batch.used);
	/* A rule that has no list of its own any more must not keep what was said of it. */
	for (size_t i = 0; i < spec->conf->n_breakers; i++) {
		const uint8_t dynamic = spec->conf->breakers[i].allow_dynamic;

		SHA256Update(&sha, &dynamic, sizeof(dynamic));
	}
	hash_limits(&sha, spec->conf);
	SHA256Final(digest, &sha);
	memcpy(out, digest, STAMP_FINGERPRINT_BYTES);
	return 0;
}

void stamp_put(struct nft_batch *batch, const struct stamp *stamp)
{
	uint8_t key[SET_STAMP_BYTES];

	memcpy(key, stamp, sizeof(key));
	set_put_stamp(batch, key);
}

int stamp_read(struct nft *nft, struct stamp *out)
{
	uint8_t key[SET_STAMP_BYTES];
	int err = dump_stamp(nft, key);

	if (!err)
		memcpy(out, key, sizeof(*out));
	return err;
}
