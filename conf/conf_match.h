/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a match may say beyond its keys' types. */
#pragma once

#include "conf/conf_diag.h"

/*
 * Of a record of `of`: "breakers[]" or "filters[]". Ports, containers, users and verdicts can be
 * read, and a rule that is to block, or to filter, what listens on loopback has seal_local, without
 * which that would concern nobody. Resolves no user. `at` is the place of the match. Returns 0 or
 * what conf_fail() returned.
 */
int conf_match_check(const char *of, const struct conf_breaker *breaker, struct conf_mark at,
                     const struct conf_diag *diag);

/* Of any match, that of `of`: "breakers[]". */
int conf_match_check_lists(const char *of, const struct conf_match *match,
                           const struct conf_diag *diag);
int conf_match_check_texts(const char *path, const struct conf_strings *list,
                           bool (*is_sound)(const char *text), const char *expected,
                           const struct conf_diag *diag);
