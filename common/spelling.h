/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For "did you mean": how far a word is from one that we know. Pure. */
#pragma once

enum { SPELLING_WORD_MAX_LEN = 32, SPELLING_MAX_EDITS = 2 };

/*
 * Levenshtein's distance: how many letters to put in, take out or change. `word` in either case,
 * `known` in lower case. One longer than SPELLING_WORD_MAX_LEN is that far from everything.
 */
unsigned spelling_edits(const char *word, const char *known);
