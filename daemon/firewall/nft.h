/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Talking to nf_tables: transactions (batches) with an acknowledgement, and dumps. One socket for
 * everything: its port id is what owns the table. The kernel works synchronously, so an answer lies
 * in the socket when send returns, and nothing here waits. Single-threaded.
 *
 * Opener and sender must both hold CAP_NET_ADMIN: open after having dropped to the final user.
 */
#pragma once

#include "common/endpoint.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

/* Newer than the headers of Debian 12: an owned table that survives its owner (Linux 6.9). */
#ifndef NFT_TABLE_F_PERSIST
#define NFT_TABLE_F_PERSIST 0x4
#endif
#define NFT_TABLE_F_OWNED_PERSISTENT (0x2 | NFT_TABLE_F_PERSIST)

#define NFT_TABLE_NAME            "pprofwall"
#define NFT_STANDALONE_TABLE_NAME "pprofwall-standalone" /* of hosts without the daemon */

enum { NFT_BUFFER_BYTES = 128 * 1024 }; /* one message: the longest attribute is 64 KB */

struct nft {
	struct mnl_socket *socket;
	uint32_t portid;
	uint32_t seq;
	uint8_t *buffer; /* NFT_BUFFER_BYTES, for receiving */
	/* Transactions fail with ERESTART when anybody has changed any rule since this; 0: no
	 * matter. */
	uint32_t expected_generation;
	const char *table; /* "our table": NFT_TABLE_NAME, until the caller says otherwise */
	bool bridge;       /* and that it has a companion in the family bridge; false at first */
	bool owned;        /* nobody else can change it; false at first */
};

/* Both return 0 or -errno. On failure nothing is left open. */
int nft_open(struct nft *nft);
void nft_close(struct nft *nft);

/* 1: our table is there, 0: it is not, or -errno. */
int nft_table_exists(struct nft *nft);
/* The same for its companion. */
int nft_bridge_table_exists(struct nft *nft);

/* Which state of all of the namespace's rules is in force. Returns 0 or -errno. */
int nft_get_generation(struct nft *nft, uint32_t *out);

/* One transaction being written. Running out of memory is remembered and told by the commit. */
struct nft_batch {
	uint8_t *bytes;
	size_t used, size;
	uint32_t seq;
	size_t last; /* offset of the last message */
	bool failed;
	const char *table;
	bool bridge;    /* as that of struct nft */
	bool exclusive; /* elements that are added must not be there yet: EEXIST */
	bool uncounted; /* blocks come without their counters: set_put_hits() */
	uint8_t family; /* of the messages to come: NFPROTO_INET at first, or NFPROTO_BRIDGE */
};

void nft_batch_init(struct nft *nft, struct nft_batch *batch);
void nft_batch_fini(struct nft_batch *batch);
#define auto_batch __attribute__((cleanup(nft_batch_fini)))
/*
 * Begins a message NFT_MSG_*, for up to NFT_BUFFER_BYTES; NULL when memory is out.
 * nft_batch_end_message() makes it part of the batch.
 */
struct nlmsghdr *nft_batch_message(struct nft_batch *batch, uint16_t type, uint16_t flags);
void nft_batch_end_message(struct nft_batch *batch, const struct nlmsghdr *message);
/* Removes our table of the batch's family, with all that is in it. */
void nft_batch_delete_table(struct nft_batch *batch);
/* Sends the transaction and reads the verdict: 0, or -errno of the first message that failed. */
int nft_batch_commit(struct nft *nft, struct nft_batch *batch);

/* Questions that are not transactions */

/* Begins a message NFT_MSG_* in the socket's buffer; for nft_ask(). */
struct nlmsghdr *nft_request(struct nft *nft, uint16_t type, uint16_t flags);
/*
 * Sends it and runs `see` over the answers. Returns 0 at their end, or -errno; after an error what
 * is still in the socket belongs to an answer that was given up: nft_drain().
 */
int nft_ask(struct nft *nft, const struct nlmsghdr *message, mnl_cb_t see, void *closure);
/*
 * The same in steps, for long answers: sends it, and then runs `see` over one part of the answer at
 * a time, 1: there is more, 0: that was the end. The kernel makes each part when it is asked for.
 */
int nft_send(struct nft *nft, const struct nlmsghdr *message);
int nft_receive(struct nft *nft, uint32_t seq, mnl_cb_t see, void *closure);
void nft_drain(struct nft *nft);

/* The key of an endpoint in our sets: address, protocol and port, each padded to 32 bits. */
enum { NFT_KEY4_BYTES = 12, NFT_KEY6_BYTES = 24 };
struct nft_key {
	uint8_t bytes[NFT_KEY6_BYTES];
	uint32_t length;
};
struct nft_key nft_key_from_endpoint(const struct endpoint *e);

/* A client and the endpoint that it has connected to: address, address, port. */
enum { NFT_PEER_KEY_BYTES = 36 };
struct nft_peer_key {
	uint8_t bytes[NFT_PEER_KEY_BYTES];
	uint32_t length;
};
uint32_t nft_peer_key_length(sa_family_t family);
struct nft_peer_key nft_peer_key_from(const struct endpoint *e, const uint8_t peer[static 16]);
