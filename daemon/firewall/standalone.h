/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of hosts without the daemon: `inet pprofwall-standalone`, a plain one, which no process
 * owns, and whose elements expire in the kernel. It has the same rules as the daemon's but for
 * those that let a prober through; the blocks of one call share a chain, rule_NUMBER, with the
 * clients that this call lets through. Single-threaded; a change by somebody else in between is
 * noticed by the kernel, and the whole is tried again.
 *
 * Functions that return a string return why it could not be done, in one line, or NULL.
 */
#pragma once

#include "common/prefix.h"
#include "daemon/firewall/nft.h"

enum {
	STANDALONE_MAX_ENDPOINTS = 2048, /* in one call */
	STANDALONE_MAX_ALLOW = 1024,
	STANDALONE_MAX_BLOCKS = 16384, /* in the table */
};

struct standalone_request {
	struct endpoint *endpoints;
	size_t n_endpoints;
	struct prefix *allow;
	size_t n_allow;
	uint64_t timeout_ms;
	bool even_ssh; /* port 22 is not protected */
};

/* `nft` is open, and its table is NFT_STANDALONE_TABLE_NAME. All of the endpoints or none. */
const char *standalone_block(struct nft *nft, const struct standalone_request *request);
/* All of the endpoints or none; the last block takes the table with it. */
const char *standalone_unblock(struct nft *nft, const struct standalone_request *request);
/* The table with all that is in it; it need not be there. */
const char *standalone_delete(struct nft *nft);
/* "ENDPOINT EXPIRES_MS PACKETS BYTES\n" for each, to a descriptor. */
const char *standalone_list(struct nft *nft, int fd);

/*
 * pprofwall-firewall as a tool, `argv` from the program's name: checks the arguments, gives up all
 * but CAP_NET_ADMIN, and does it. Returns the exit status: 0, 1 refused, 2 usage.
 */
int standalone_main(int argc, char **argv);
bool standalone_is_meant(int argc, char **argv);
