/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internationalised names (IDNA2008, UTS 46) in targets as people write them. Names are ASCII from
 * here on, also where they are shown again: a name in Unicode may look like another one. Pure.
 */
#pragma once

#include "scanner/target.h"

enum { IDN_TEXT_LEN = 1024 };

/*
 * Copies a target, or a lone name, with the host in its xn-- form; what is ASCII already stays as
 * it is. Returns 0, or -EINVAL and one line in `why`.
 */
int idn_to_ascii(const char *text, char out[static IDN_TEXT_LEN],
                 char why[static TARGET_ERROR_LEN]);
