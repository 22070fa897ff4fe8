/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Printers are not printed on. Ports 9100 to 9107 are JetDirect on printers: whatever is sent there
 * comes out on paper, a GET as well. So before any byte is sent there, the host is looked at for
 * signs of a printer: 515 (LPD), 631 (IPP) or 9101 (the second port of a JetDirect box) open, or a
 * server on the port that speaks first. Where none can be told, it is a printer.
 *
 * All knocks at a host are at once, are shared by its ports, and are remembered for the last
 * GUARD_PRINTER_HOSTS hosts. One thread: that of the event loop.
 */
#pragma once

#include "scanner/guard.h"
#include "scanner/knock.h"

enum {
	GUARD_PRINTER_FIRST_PORT = 9100,
	GUARD_PRINTER_LAST_PORT = 9107,
	GUARD_PRINTER_HOSTS = 1024,
	GUARD_PRINTER_PENDING = 1024, /* endpoints at once */
};

struct guard_printer_conf {
	int64_t connect_ms; /* for a door to answer */
	int64_t banner_ms;  /* for a server to speak first */
	/*
	 * Endpoints that are asked about are known to be open. Otherwise their own port is tried
	 * first and alone, so that a sweep of addresses where nobody lives costs one knock each;
	 * one that is not open is allowed: there is nothing that a byte could reach.
	 */
	bool found_open;
	struct pacer *pacer; /* of its knocks; outlives it. NULL: no limit */
};
/* 1,500 ms (a lost SYN goes out again after one second), 250 ms, found open */
extern const struct guard_printer_conf guard_printer_conf_default;

struct guard_printer;

/* `route` must outlive it; with a proxy nothing can be told. Returns 0 or -ENOMEM. */
int guard_printer_new(struct event_base *base, const struct guard_printer_conf *conf,
                      const struct probe_route *route, struct guard_printer **out);
/* Forgets what is pending. NULL is allowed. */
void guard_printer_free(struct guard_printer *g);

static inline bool guard_printer_concerns(const struct endpoint *e)
{
	return e->port >= GUARD_PRINTER_FIRST_PORT && e->port <= GUARD_PRINTER_LAST_PORT;
}

/* *why is set with GUARD_REFUSED. What guard_printer_concerns() is not true of is allowed. */
enum guard_answer guard_printer_ask(struct guard_printer *g, const struct endpoint *e,
                                    const char **why, guard_cb *done, void *arg);
