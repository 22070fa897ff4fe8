/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/blocks.h"

#include "common/cleanup.h"

#include <errno.h>
#include <search.h>

struct blocks {
	void *root; /* of tsearch(3), a red-black tree in glibc */
	size_t count;
	int64_t next_deadline_ms; /* no block expires before it */
};

static int compare(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return endpoint_compare(&x->endpoint, &y->endpoint);
}

struct blocks *blocks_new(void)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	if (blocks)
		blocks->next_deadline_ms = INT64_MAX;
	return blocks;
}

void blocks_free(struct blocks *blocks)
{
	if (!blocks)
		return;
	blocks_clear(blocks);
	free(blocks);
}

size_t blocks_count(const struct blocks *blocks)
{
	return blocks->count;
}

struct block *blocks_find(const struct blocks *blocks, const struct endpoint *e)
{
	struct block key = {.endpoint = *e};
	struct block **found = tfind(&key, &blocks->root, compare);

	return found ? *found : NULL;
}

int blocks_put(struct blocks *blocks, const struct block *block)
{
	auto_free struct block *added = malloc(sizeof(*added));
	struct block **place;

	if (!added)
		return -ENOMEM;
	*added = *block;
	place = tsearch(added, &blocks->root, compare);
	if (!place)
		return -ENOMEM;
	if (block->deadline_ms < blocks->next_deadline_ms)
		blocks->next_deadline_ms = block->deadline_ms;
	if (*place != added) {
		**place = *block;
		return 0;
	}
	(void)steal_ptr(&added);
	blocks->count++;
	return 0;
}

void blocks_remove(struct blocks *blocks, const struct endpoint *e)
{
	struct block *present = blocks_find(blocks, e);

	if (!present)
		return;
	tdelete(present, &blocks->root, compare);
	free(present);
	blocks->count--;
}

void blocks_clear(struct blocks *blocks)
{
	tdestroy(blocks->root, free);
	blocks->root = NULL;
	blocks->count = 0;
	blocks->next_deadline_ms = INT64_MAX;
}

struct walk {
	struct block **items;
	size_t count;
};

static void collect(const void *node, VISIT which, void *closure)
{
	struct walk *walk = closure;

	if (which == postorder || which == leaf) /* glibc's "postorder" is in order */
		walk->items[walk->count++] = *(struct block *const *)node;
}

int blocks_list(const struct blocks *blocks, struct block ***out, size_t *count)
{
	struct walk walk = {0};

	if (blocks->count) {
		walk.items = calloc(blocks->count, sizeof(struct block *));
		if (!walk.items)
			return -ENOMEM;
		twalk_r(blocks->root, collect, &walk);
	}
	*out = walk.items;
	*count = walk.count;
	return 0;
}

struct search {
	bool (*is)(const struct block *, const void *);
	const void *closure;
	bool found;
};

static void look_at(const void *node, VISIT which, void *closure)
{
	struct search *search = closure;

	if (!search->found && (which == postorder || which == leaf))
		search->found = search->is(*(struct block *const *)node, search->closure);
}

bool blocks_any(const struct blocks *blocks, bool (*is)(const struct block *, const void *),
                const void *closure)
{
	struct search search = {.is = is, .closure = closure};

	twalk_r(blocks->root, look_at, &search);
	return search.found;
}

void blocks_expire(struct blocks *blocks, int64_t now_ms)
{
	auto_free struct block **list = NULL;
	int64_t next = INT64_MAX;
	size_t count;

	if (now_ms < blocks->next_deadline_ms || blocks_list(blocks, &list, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (list[i]->deadline_ms <= now_ms)
			blocks_remove(blocks, &list[i]->endpoint);
		else if (list[i]->deadline_ms < next)
			next = list[i]->deadline_ms;
	}
	blocks->next_deadline_ms = next;
}
