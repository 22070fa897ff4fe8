/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of knocks and guards: listeners on loopback addresses of a network namespace of our
 * own; there port 515 is free, and addresses without a listener answer with RSTs. One thread.
 */
#pragma once

#include "common/cleanup.h"
#include "scanner/knock.h"

enum { GUARD_LAB_LISTENERS_MAX = 16 };

/* Servers that accept, may say something, and count every byte that reaches them. */
struct guard_lab_listener {
	struct event *on_accept;
	struct event *on_byte; /* of the last connection */
	const char *banner;
	unsigned accepted, bytes;
	struct event_base *base;
};

struct guard_lab {
	struct event_base *base;
	struct guard_lab_listener listeners[GUARD_LAB_LISTENERS_MAX];
	size_t n;
	/* What the callbacks said, in their order. */
	struct {
		struct endpoint endpoint;
		bool allowed;
		const char *why;
		enum knock_result result;
		size_t length;
	} said[64];
	size_t n_said, wanted;
	unsigned notes;
	char note[256];
	bool may_not_knock;
};
/* The group's setup; without the right to make a namespace its tests are skipped. */
int guard_lab_enter_namespace(void **state);
struct guard_lab *guard_lab_new(void);
void guard_lab_free(struct guard_lab *lab);
AUTO_CLEANUP(guard_lab, struct guard_lab *, guard_lab_free)
#define auto_guard_lab __attribute__((cleanup(cleanup_guard_lab)))

struct endpoint guard_lab_at(const char *text);
/* Says `banner` to every client; NULL: nothing. */
struct guard_lab_listener *guard_lab_serve(struct guard_lab *lab, const char *where,
                                           const char *banner);
/* Until `wanted` answers came; a hang is a failure. */
void guard_lab_await(struct guard_lab *lab, size_t wanted);

/* Callbacks that note what is said; their `arg` is the lab. */
void guard_lab_on_knock(const struct endpoint *e, enum knock_result result, const uint8_t *banner,
                        size_t length, void *arg);
void guard_lab_on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg);
