/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is refused before a document is built from the bytes: whatever makes a line number a lie
 * (stray line breaks, other encodings), and whatever makes a small file large (aliases, depth).
 */
#pragma once

#include "conf/conf_diag.h"

#include <yaml.h>

/* `least` is what an empty document lacks: "mode: observe". */
int conf_guard(const struct conf_diag *diag, const unsigned char *bytes, size_t length,
               const char *least);

/* Reports libyaml's own error, at its place. Returns -EINVAL or -ENOMEM. */
int conf_fail_yaml(const struct conf_diag *diag, const yaml_parser_t *parser);

/* libyaml counts from 0. */
static inline struct conf_mark conf_mark_from(yaml_mark_t mark)
{
	return (struct conf_mark){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

/* Wipes the parser's buffers, which may hold a secret, and releases it. */
void conf_parser_wipe(yaml_parser_t *parser);
