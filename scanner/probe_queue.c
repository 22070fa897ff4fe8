/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/probe_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void probe_queue_init(struct probe_queue *queue)
{
	STAILQ_INIT(&queue->waiting);
	STAILQ_INIT(&queue->unused);
}

static void free_list(struct probe_waiting_list *list)
{
	struct probe_waiting *w;

	while ((w = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		free(w);
	}
}

void probe_queue_fini(struct probe_queue *queue)
{
	free_list(&queue->waiting);
	free_list(&queue->unused);
}

bool probe_queue_is_empty(const struct probe_queue *queue)
{
	return STAILQ_EMPTY(&queue->waiting);
}

int probe_queue_put(struct probe_queue *queue, const struct probe_request *request)
{
	struct probe_waiting *w = STAILQ_FIRST(&queue->unused);

	if (w)
		STAILQ_REMOVE_HEAD(&queue->unused, link);
	else
		w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->request = *request;
	STAILQ_INSERT_TAIL(&queue->waiting, w, link);
	return 0;
}

struct probe_waiting *probe_queue_take(struct probe_queue *queue)
{
	struct probe_waiting *w = STAILQ_FIRST(&queue->waiting);

	if (w)
		STAILQ_REMOVE_HEAD(&queue->waiting, link);
	return w;
}

void probe_queue_give_back(struct probe_queue *queue, struct probe_waiting *taken)
{
	STAILQ_INSERT_HEAD(&queue->unused, taken, link);
}
