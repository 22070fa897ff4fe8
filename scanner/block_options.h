/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of `pprofwall block`, checked as a whole: no option is taken and ignored. */
#pragma once

#include "common/prefix.h"
#include "scanner/block_input.h"

enum { BLOCK_MAX_ENDPOINTS = 2048, BLOCK_MAX_ALLOW = 1024, BLOCK_DEFAULT_FOR_MS = 3600 * 1000 };

enum block_way { BLOCK_BY_DAEMON = 0, BLOCK_STANDALONE, BLOCK_PRINT_NFT, BLOCK_PRINT_POLICY };

struct block_options {
	enum block_way way;
	const char *socket; /* never NULL */
	const char *reason; /* NULL: none was given */
	const char *from;   /* NULL: the endpoints stand on the command line */
	int64_t for_ms;
	bool for_given, json, dry_run, even_ssh, beside_daemon;
	struct block_filter filter;
	struct prefix *allow; /* owned */
	size_t n_allow;
	struct endpoint *endpoints; /* owned; with `from` NULL as yet */
	size_t n_endpoints;
	char found_reason[128]; /* room for a reason that is made up from the findings */
};

/* Returns -1 to go on, or the exit status, having said why. Fini in either case. */
int block_options_parse(int argc, char **argv, struct block_options *o);
void block_options_fini(struct block_options *o);
