/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_gate.h"

#include "scanner/guard_printer.h"

#include <errno.h>
#include <stdlib.h>

struct scan_gate {
	struct scan_gate_conf conf;
	struct scan_item_list waiting; /* for a guard's answer */
	struct scan_item_list held;    /* for room in a guard */
	unsigned n_waiting;            /* in both */
	struct guard_printer *printer;
	struct guard_accept_all *accept_all;
};

static void put_in_line(struct scan_gate *gate, struct scan_item_list *list, struct scan_item *item)
{
	TAILQ_INSERT_TAIL(list, item, link);
	gate->n_waiting++;
}

static void on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg);

/* Asks the guards that the item has not passed yet. */
void scan_gate_enter(struct scan_gate *gate, struct scan_item *item)
{
	item->gate = gate;
	while (item->stage < SCAN_ITEM_PASSED) {
		const char *why = "";
		enum guard_answer answer = GUARD_ALLOWED;

		if (item->stage == SCAN_ITEM_ACCEPT_ALL && gate->accept_all)
			answer = guard_accept_all_seen(gate->accept_all, &item->endpoint, &why,
			                               on_guard, item);
		else if (item->stage == SCAN_ITEM_PRINTER && gate->printer &&
		         guard_printer_concerns(&item->endpoint))
			answer =
			    guard_printer_ask(gate->printer, &item->endpoint, &why, on_guard, item);
		switch (answer) {
		case GUARD_ALLOWED: item->stage++; break;
		case GUARD_REFUSED: gate->conf.refused(item, why, gate->conf.arg); return;
		case GUARD_PENDING: put_in_line(gate, &gate->waiting, item); return;
		case GUARD_FULL: put_in_line(gate, &gate->held, item); return;
		}
	}
	gate->conf.passed(item, gate->conf.arg);
}

/*
 * A guard has room again. The first that does not get in ends it: there may be thousands behind it
 * each time, and its guard owes an answer that brings us here again.
 */
static void ask_for_held(struct scan_gate *gate)
{
	struct scan_item *item;

	while ((item = TAILQ_FIRST(&gate->held))) {
		TAILQ_REMOVE(&gate->held, item, link);
		gate->n_waiting--;
		scan_gate_enter(gate, item);
		if (TAILQ_LAST(&gate->held, scan_item_list) == item)
			return;
	}
}

static void on_guard(const struct endpoint *e, bool allowed, const char *why, void *arg)
{
	struct scan_item *item = arg;
	struct scan_gate *gate = item->gate;

	(void)e;
	TAILQ_REMOVE(&gate->waiting, item, link);
	gate->n_waiting--;
	item->stage++;
	if (allowed)
		scan_gate_enter(gate, item);
	else
		gate->conf.refused(item, why, gate->conf.arg);
	ask_for_held(gate);
	gate->conf.moved(gate->conf.arg);
}

static int make_guards(struct scan_gate *gate)
{
	const struct scan_options *o = gate->conf.options;
	struct guard_printer_conf printer = guard_printer_conf_default;
	const struct guard_accept_all_conf accept_all = {.ports = o->ports.ports,
	                                                 .n_ports = o->ports.count,
	                                                 .connect_ms = o->timeout_ms,
	                                                 .note = gate->conf.note,
	                                                 .may_knock = gate->conf.may_knock,
	                                                 .pacer = gate->conf.pacer,
	                                                 .arg = gate->conf.arg};
	int err = 0;

	printer.found_open = gate->conf.found_open;
	printer.pacer = gate->conf.pacer;
	if (gate->conf.printer)
		err = guard_printer_new(gate->conf.base, &printer, &o->route.probe, &gate->printer);
	if (!err && gate->conf.accept_all)
		err = guard_accept_all_new(gate->conf.base, &accept_all, &o->route.probe,
		                           &gate->accept_all);
	return err;
}

int scan_gate_new(const struct scan_gate_conf *conf, struct scan_gate **out)
{
	struct scan_gate *gate = calloc(1, sizeof(*gate));
	int err;

	if (!gate)
		return -ENOMEM;
	gate->conf = *conf;
	TAILQ_INIT(&gate->waiting);
	TAILQ_INIT(&gate->held);
	err = make_guards(gate);
	if (err) {
		scan_gate_free(gate);
		return err;
	}
	*out = gate;
	return 0;
}

void scan_item_list_free(struct scan_item_list *list)
{
	struct scan_item *item;

	while ((item = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, item, link);
		free(item);
	}
}

void scan_gate_free(struct scan_gate *gate)
{
	if (!gate)
		return;
	guard_printer_free(gate->printer);
	guard_accept_all_free(gate->accept_all);
	scan_item_list_free(&gate->waiting);
	scan_item_list_free(&gate->held);
	free(gate);
}

unsigned scan_gate_waiting(const struct scan_gate *gate)
{
	return gate->n_waiting;
}

void scan_gate_each(const struct scan_gate *gate,
                    void (*each)(const struct scan_item *item, void *arg), void *arg)
{
	const struct scan_item *item;

	TAILQ_FOREACH (item, &gate->waiting, link)
		each(item, arg);
	TAILQ_FOREACH (item, &gate->held, link)
		each(item, arg);
}

void scan_gate_get_stats(const struct scan_gate *gate, struct guard_accept_all_stats *out)
{
	*out = (struct guard_accept_all_stats){0};
	if (gate->accept_all)
		guard_accept_all_get_stats(gate->accept_all, out);
}
