/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/addresses.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct address {
	struct endpoint endpoint; /* the key comes first, so that it can be looked for */
	unsigned count;
};

static int compare(const void *a, const void *b)
{
	return endpoint_compare(a, b);
}

struct endpoint addresses_of_client(const struct endpoint *client)
{
	struct endpoint key = *client;

	key.port = 0;
	if (key.family == AF_INET6)
		memset(key.address + 8, 0, 8);
	return key;
}

int addresses_add(struct addresses *a, const struct endpoint *e)
{
	struct address **found = tfind(e, &a->root, compare), *added;

	if (found)
		return (*found)->count < INT_MAX ? (int)++(*found)->count : -ENOMEM;
	added = malloc(sizeof(*added));
	if (!added)
		return -ENOMEM;
	*added = (struct address){.endpoint = *e, .count = 1};
	if (!tsearch(added, &a->root, compare)) {
		free(added);
		return -ENOMEM;
	}
	return 1;
}

void addresses_remove(struct addresses *a, const struct endpoint *e)
{
	struct address **found = tfind(e, &a->root, compare), *removed;

	if (!found || --(*found)->count > 0)
		return;
	removed = *found;
	tdelete(removed, &a->root, compare);
	free(removed);
}

unsigned addresses_count(const struct addresses *a, const struct endpoint *e)
{
	struct address **found = tfind(e, &a->root, compare);

	return found ? (*found)->count : 0;
}

void addresses_fini(struct addresses *a)
{
	tdestroy(a->root, free);
	a->root = NULL;
}
