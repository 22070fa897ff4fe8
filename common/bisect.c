/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/bisect.h"

size_t bisect_find(const void *items, size_t count, bisect_compare_cb *compare, const void *key,
                   bool *found)
{
	size_t low = 0, high = count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(items, middle, key);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
