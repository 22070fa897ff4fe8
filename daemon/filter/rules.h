/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules in force, by name, and those that are gone but still in use. Loop's thread only. */
#pragma once

#include "daemon/filter/service.h"

struct rules {
	TAILQ_HEAD(, filter_rule) list;
};

void rules_init(struct rules *r);
/*
 * Puts these in force, and no others; takes the policies, and sets the places to NULL. Those who
 * have a rule by that name go by its new policy. Returns 0, or -ENOMEM and nothing is changed.
 */
int rules_commit(struct rules *r, struct policy **policies, size_t n);
/* In force; NULL: there is none of that name. */
struct filter_rule *rules_find(const struct rules *r, const char *name);
/* Nobody uses them any more. */
void rules_fini(struct rules *r);
