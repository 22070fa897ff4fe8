/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process behind keeper.h. Internal to keeper.c. */
#pragma once

#include "scanner/keeper.h"

#include <stdatomic.h>
#include <stdint.h>

enum keeper_file { KEEPER_STATE, KEEPER_METRICS, KEEPER_WRITTEN, KEEPER_STOP = KEEPER_WRITTEN };

enum {
	KEEPER_SLOTS = 3,
	KEEPER_FILES = KEEPER_STOP + 1,
	KEEPER_NAME_LEN = 256, /* NAME_MAX and a NUL */
};

/* Who may touch a slot's bytes: the scan unless it is TAKEN. */
enum keeper_slot_state { KEEPER_EMPTY, KEEPER_FILLING, KEEPER_FULL, KEEPER_TAKEN };

struct keeper_slot {
	_Atomic uint32_t state;
	_Atomic uint32_t length;
	_Atomic uint64_t sequence; /* from 1 */
	char bytes[KEEPER_MAX_BYTES];
};

/*
 * Shared, so that the scan never waits: of a file's slots, one may be on its way to disk and one
 * wait, and a third is filled, after which the second is not needed any more. Whenever the scan
 * dies, the newest that it had filled is there. Pages that are not used cost nothing.
 */
struct keeper_shared {
	struct keeper_slot slots[KEEPER_WRITTEN][KEEPER_SLOTS];
	_Atomic int failed[KEEPER_WRITTEN]; /* -errno of the last write, 0: it succeeded */
};

/* The scan says nothing but these; one byte. */
enum { KEEPER_WAKE = 'w', KEEPER_END = 'e' };
/* The keeper first says this whole; then KEEPER_STOPPED at most once, then KEEPER_ENDED. */
struct keeper_hello {
	int32_t error;
	char why[KEEPER_ERROR_LEN];
};
enum { KEEPER_STOPPED = 's', KEEPER_ENDED = 'd' };

struct keeper_target {
	int directory; /* -1: there is none */
	char name[KEEPER_NAME_LEN];
	const char *path; /* as the user wrote it */
};

struct keeper_child {
	int socket;
	struct keeper_shared *shared;
	struct keeper_target targets[KEEPER_FILES];
	uint64_t written[KEEPER_WRITTEN]; /* the sequence of what is on disk, or was tried */
};

_Noreturn void keeper_child_run(struct keeper_child *c);
