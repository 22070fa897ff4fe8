/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configurations that load, and those that do not, for tests with cmocka. */
#pragma once

#include "conf/conf.h"

/* Loads, or fails the test with the error. */
struct conf *conf_lab_load(const char *text);

struct bad_input {
	const char *text;
	size_t length;
	const char *error; /* "LINE:COLUMN: ...", whole; "..." at its end stands for any end */
};

#define BAD(text, error)                                                                           \
	{                                                                                          \
		text, sizeof(text) - 1, error                                                      \
	}

/* Fails the test unless each is refused so, and shows those that are not. */
void conf_lab_expect_refused(const struct bad_input *inputs, size_t count);
