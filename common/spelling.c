/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/spelling.h"

#include <ctype.h>
#include <string.h>

static unsigned least_of(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

/* One row of the table at a time. */
unsigned spelling_edits(const char *word, const char *known)
{
	unsigned row[SPELLING_WORD_MAX_LEN + 1];
	size_t n = strlen(known);

	if (n > SPELLING_WORD_MAX_LEN || strlen(word) > SPELLING_WORD_MAX_LEN)
		return SPELLING_WORD_MAX_LEN;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; word[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			unsigned above = row[j];

			row[j] = least_of(
			    above + 1, row[j - 1] + 1,
			    diagonal + (tolower((unsigned char)word[i - 1]) != known[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}
