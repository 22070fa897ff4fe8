/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rules that filter may say beyond their keys' types. */
#pragma once

#include "conf/conf_diag.h"

/*
 * What is wrong with a prefix of a path, or NULL: it has to be what a path is after it was
 * decoded once and is plain, or no request would ever match it.
 */
const char *conf_filter_blame_path(const char *text, size_t length);

/*
 * Of a record of `of` ("breakers[]", "filters[]") that begins at `at`: nothing is allowed and
 * denied, and what stands for itself does not stand for everything. Returns 0 or what conf_fail()
 * returned.
 */
int conf_filter_check(const char *of, const struct conf_breaker *breaker, struct conf_mark at,
                      const struct conf_diag *diag);
