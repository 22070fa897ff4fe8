/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's answers as tables for people. Whatever is missing is shown as "-". */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

void verbs_print_status(const json_t *status, FILE *out);
void verbs_print_blocks(const json_t *answer, FILE *out);
/* test-alert's answer */
void verbs_print_tests(const json_t *answer, FILE *out);
/* explain's answer (verbs_explain.c) */
void verbs_print_explanation(const json_t *answer, FILE *out);
/* Some of it comes from servers and processes: a terminal must not obey it. "-" for nothing. */
void verbs_print_visible(FILE *out, const char *text);
/* "3d4h", "1h05m", "4m10s", "12s". Returns text. */
const char *verbs_format_span(int64_t ms, char text[static 32]);
