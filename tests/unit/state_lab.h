/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of daemon/agent/state.h: a directory for each test, and what lies in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/agent/state.h"

enum { HOUR = 3600 * 1000, PATH_LEN = 256, WAIT_MS = 20000 };

struct state_lab {
	char directory[64];
};

int state_lab_set_up(void **state);
int state_lab_tear_down(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, state_lab_set_up, state_lab_tear_down)

/* Fails the test with the error. */
struct state *state_lab_open(const struct state_lab *f, struct state_snapshot *snapshot);
/* As after an orderly stop. */
struct state *state_lab_reopen(const struct state_lab *f, struct state *st,
                               struct state_snapshot *snapshot);
/* On the file, while no state is open. */
void state_lab_run_sql(const struct state_lab *f, const char *sql);
void state_lab_wait_until_written(struct state *st);

struct endpoint endpoint_of(const char *text);
struct state_breaker breaker_of(const char *endpoint);
struct state_manual manual_of(const char *endpoint, int64_t for_ms);
