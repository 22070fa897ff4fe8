/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways in which `pprofwall block` goes about it, one a file. Each prints what it did and
 * returns the exit status (scanner/verbs.h). The options are complete: endpoints are there, at
 * least one.
 */
#pragma once

#include "scanner/block_options.h"

/* Over the control socket: all of them or none. */
int block_by_daemon(const struct block_options *o);
/* By the firewall helper's program, on a host without a daemon; needs root. */
int block_standalone(const struct block_options *o);
/* For people to paste; needs nothing. */
int block_print_nft(const struct block_options *o, FILE *out);
int block_print_policy(const struct block_options *o, FILE *out);

/* `pprofwall unblock --standalone [ADDRESS:PORT]...`, `pprofwall blocks --standalone [--json]` */
bool standalone_is_meant(int argc, char **argv);
int standalone_unblock_main(int argc, char **argv);
int standalone_blocks_main(int argc, char **argv);
