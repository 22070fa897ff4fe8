/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What verify.c (does anybody answer?) and verify_filter.c (with what?) share. */
#pragma once

#include "daemon/agent/agent.h"

/* verify.c */
/* Texts are static. */
void verify_set_unproven(struct agent *a, struct watch *w, const char *why, int64_t again_ms);
/* A stranger was refused; `how`, for who was told that he was not. */
void verify_take_refusal(struct agent *a, struct watch *w, const char *how);
/* A stranger was not refused: told at the second time in a row. */
void verify_take_connection(struct agent *a, struct watch *w, const char *why);

/* verify_filter.c */
/* Asks the filter in front of it. Returns 0, or -errno when nothing was asked. */
int verify_probe(struct agent *a, struct watch *w);
