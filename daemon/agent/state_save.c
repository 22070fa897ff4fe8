/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be saved: for each kind of row, how it becomes an item of the queue. */
#include "daemon/agent/state.h"

#include "common/cleanup.h"
#include "daemon/agent/state_internal.h"

#include <errno.h>
#include <string.h>

static struct state_item *new_item(const struct state_item *what, const char *text)
{
	size_t length = strlen(text) + 1;
	struct state_item *item = malloc(sizeof(*item) + length);

	if (item) {
		*item = *what;
		memcpy(item->text, text, length);
	}
	return item;
}

static int save_with_text(struct state *st, const struct state_item *what, const char *text)
{
	struct state_item *item;

	if (!st)
		return -ENODEV;
	item = new_item(what, text);
	return item ? state_queue_item(st, item) : -ENOMEM;
}

static int save(struct state *st, const struct state_item *what)
{
	return save_with_text(st, what, "");
}

int state_save_breaker(struct state *st, const struct state_breaker *b)
{
	return save(st, &(struct state_item){
	                    .kind = STATE_KIND_BREAKER, .endpoint = b->endpoint, .breaker = *b});
}

int state_delete_breaker(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_BREAKER, .remove = true, .endpoint = *e});
}

int state_save_manual(struct state *st, const struct state_manual *m)
{
	return save(st, &(struct state_item){
	                    .kind = STATE_KIND_MANUAL, .endpoint = m->endpoint, .manual = *m});
}

int state_delete_manual(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_MANUAL, .remove = true, .endpoint = *e});
}

int state_save_ack(struct state *st, const struct state_manual *ack)
{
	return save(st, &(struct state_item){
	                    .kind = STATE_KIND_ACK, .endpoint = ack->endpoint, .manual = *ack});
}

int state_delete_ack(struct state *st, const struct endpoint *e)
{
	return save(st,
	            &(struct state_item){.kind = STATE_KIND_ACK, .remove = true, .endpoint = *e});
}

int state_save_ledger(struct state *st, const struct state_ledger *l)
{
	return save_with_text(
	    st,
	    &(struct state_item){.kind = STATE_KIND_LEDGER, .endpoint = l->endpoint, .ledger = *l},
	    l->peers);
}

int state_delete_ledger(struct state *st, const struct endpoint *e)
{
	return save(
	    st, &(struct state_item){.kind = STATE_KIND_LEDGER, .remove = true, .endpoint = *e});
}

int state_save_source(struct state *st, const char *text, const char *prefixes, int64_t good_ms)
{
	auto_free char *both = NULL;

	if (asprintf(&both, "%s\n%s", text, prefixes) < 0)
		return -ENOMEM;
	return save_with_text(
	    st, &(struct state_item){.kind = STATE_KIND_SOURCE, .source_good_ms = good_ms}, both);
}

int state_delete_source(struct state *st, const char *text)
{
	return save_with_text(st, &(struct state_item){.kind = STATE_KIND_SOURCE, .remove = true},
	                      text);
}

int state_save_event(struct state *st, const struct state_event *event)
{
	const size_t bytes = event->n_deliveries * sizeof(*event->deliveries);
	struct state_item *item;

	if (!st)
		return -ENODEV;
	item =
	    new_item(&(struct state_item){.kind = STATE_KIND_EVENT, .event = *event}, event->json);
	if (!item)
		return -ENOMEM;
	item->event.json = NULL;
	item->event.deliveries = malloc(bytes);
	if (!item->event.deliveries) {
		state_item_free(item);
		return -ENOMEM;
	}
	memcpy(item->event.deliveries, event->deliveries, bytes);
	return state_queue_item(st, item);
}

int state_delete_delivery(struct state *st, uint64_t seq, const char *sink)
{
	return save_with_text(
	    st,
	    &(struct state_item){.kind = STATE_KIND_DELIVERY, .remove = true, .delivery_seq = seq},
	    sink);
}

int state_save_loss(struct state *st, const struct state_loss *loss)
{
	return save_with_text(st, &(struct state_item){.kind = STATE_KIND_LOSS, .loss = *loss},
	                      loss->sink);
}

int state_delete_loss(struct state *st, const char *sink)
{
	return save_with_text(st, &(struct state_item){.kind = STATE_KIND_LOSS, .remove = true},
	                      sink);
}
