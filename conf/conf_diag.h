/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the loader's parts report: one line, "FILE:LINE:COLUMN: what was wrong; expected what".
 * Values are shown only through conf_quote(), which hides what may be a secret.
 */
#pragma once

#include "conf/conf.h"

struct conf_diag {
	const char *file;
	char *error; /* CONF_ERROR_LEN bytes */
};

/* Writes the error and returns -EINVAL. Control characters become '?'. */
int conf_fail(const struct conf_diag *diag, struct conf_mark at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int conf_fail_memory(const struct conf_diag *diag, struct conf_mark at);

enum { CONF_QUOTE_LEN = 96 };

/* A URL in the wrong place is still a URL, with a token or a password in it. */
bool conf_may_be_secret(const char *text, size_t length);
/* A value as text for a message: cut, printable, in quotes; URLs and userinfo are hidden. */
const char *conf_quote(const char *text, size_t length, char out[static CONF_QUOTE_LEN]);

/*
 * The length of the UTF-8 character at `p`, or 0 if it is malformed or one that YAML does not
 * allow (YAML 1.1, 5.1). NEL, LS and PS are refused too: libyaml ends a line there, an editor
 * does not, and every line number after them would be wrong.
 */
size_t conf_utf8_next(const unsigned char *p, size_t left);
/* Every character as above, and no line break or tab. */
bool conf_text_is_clean(const char *text, size_t length);
