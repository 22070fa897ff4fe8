/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The listeners of this host and its containers as the inventory helper tells of them
 * (daemon/inventory/wire.h), and the watches that they make: one for each address that reaches
 * them. No I/O here: frames come in, watches are marked, handlers are called. Times are
 * CLOCK_MONOTONIC and passed in. Loop's thread.
 *
 * - A wildcard listener is reached at every address of its namespace, but not at service addresses
 *   (kube-ipvs0, keepalived), which others answer for; link-local ones cannot be asked without a
 *   zone. Loopback is asked only where there is nothing else, or where a rule seals it.
 * - Another namespace's loopback reaches nobody outside of it. An address that the host has, too,
 * is the host's; one that a container and some other namespace have is the container's. One that
 * two containers have is asked, but never blocked: whom a block would cut cannot be told
 *   (`ambiguous`).
 * - What the host does not reach is asked from inside, where the configuration says so: another
 *   namespace's loopback, its addresses that the host has, too, those of two containers, and those
 *   at which nobody answered the host. The last two are asked from the host as well.
 * - A listener that is gone is kept for LISTENERS_GRACE_MS: a server that restarts closes its
 *   socket and opens another one, which must not lift a block.
 * - Nothing is watched before the first SYNCED: what a container has may turn out to be the host's.
 * - A helper that is lost changes nothing: all is kept until its successor has told everything.
 */
#pragma once

#include "daemon/agent/rules.h"
#include "daemon/agent/watch.h"
#include "daemon/inventory/wire.h"

#include <stddef.h>

enum {
	LISTENERS_MAX = 65536,
	LISTENERS_MAX_NAMESPACES = 8192,
	LISTENERS_GRACE_MS = 3000,
};

/* Why a listener makes no watches. */
enum listener_skip {
	LISTENER_PROBED = 0,
	LISTENER_PROTECTED,  /* its port is never blocked */
	LISTENER_OWN,        /* one of our processes */
	LISTENER_SPEAKS,     /* a service that speaks first: a request would disturb it */
	LISTENER_LINK_LOCAL, /* at an address that needs a zone */
	LISTENER_UNREACHED,  /* only from within its own namespace */
	LISTENER_OVER_CAP,   /* there are CONF_MAX_TARGETS watches */
	LISTENER_SKIP_COUNT
};

struct netns;

struct listener {
	LIST_ENTRY(listener) link; /* of its namespace */
	struct netns *netns;
	struct endpoint bound; /* 0.0.0.0 or :: for a wildcard */
	bool v6only, wildcard;
	enum listener_skip skip;
	uint32_t sockets;
	struct owner *owner; /* with its texts in one piece of memory */
	int64_t seen_ns;     /* when it began to listen, as the kernel told */
	int64_t seen_wall_ms;
	int64_t gone_ms; /* 0: it listens */
	bool confirmed;  /* by the present helper */
	bool stale;      /* its claims are to be made anew */
	uint64_t mark;   /* of claims, while they are made anew */
	struct claim_list claims;
};

/* That a listener is reached at a watch's endpoint. */
struct claim {
	LIST_ENTRY(claim) of_listener, of_watch;
	struct listener *listener;
	struct watch *watch;
	bool unreached; /* asked from the host, nobody answered there */
	uint64_t mark;
};

struct listeners_handlers {
	/*
	 * Somebody listens where nobody did, or anew: ask at once. `seen_ns` as in struct listener,
	 * or 0 for one that listened before we looked.
	 */
	void (*appeared)(struct watch *w, int64_t seen_ns, void *arg);
	/* Whom it belongs to, or whether it is ambiguous, has changed. */
	void (*changed)(struct watch *w, void *arg);
	/* Nobody listens there any more; the watch may be freed. */
	void (*gone)(struct watch *w, void *arg);
	/* Is this one of our own processes? */
	bool (*is_own)(int pid, void *arg);
	void *arg;
};

struct listeners_conf {
	const uint16_t *protected_ports;
	size_t n_protected;
	struct endpoint metrics; /* our own; port 0: none */
	bool seals_loopback;     /* some rule cuts local clients: loopback of wildcards counts */
	enum conf_inside inside; /* who is asked from inside */
};

struct listeners;

int listeners_new(struct watch_set *watches, const struct listeners_handlers *handlers,
                  struct listeners **out);
/* The watches must be gone, or be gone before anybody looks at their claims. */
void listeners_free(struct listeners *l);
/* `conf` is copied, its ports too; everything is looked at anew. Returns 0 or -ENOMEM. */
int listeners_configure(struct listeners *l, const struct listeners_conf *conf);

/*
 * Takes a frame's body. Returns 0, -ENOMEM, or -EPROTO when it is malformed: the helper is not to
 * be believed any more, and the table stays as it was. What does not fit in, or is of a namespace
 * that we do not know, is counted as ignored.
 */
int listeners_take_namespace(struct listeners *l, const void *body, size_t length, int64_t now_ms);
int listeners_take_listener(struct listeners *l, const void *body, size_t length, int64_t now_ms);
int listeners_take_synced(struct listeners *l, const void *body, size_t length, int64_t now_ms);
/* The helper is gone: what it told stays, until the next one's SYNCED. */
void listeners_lose_helper(struct listeners *l);
/* Asked from the host, its listener has answered, or nobody has. */
void listeners_note_reach(struct listeners *l, struct watch *w, bool reached, int64_t now_ms);
/* Lets those go that have been gone for long enough. */
void listeners_expire(struct listeners *l, int64_t now_ms);
/* scan.listeners is off now: forgets everything. */
void listeners_clear(struct listeners *l);

/* Has the present helper told everything there is? */
bool listeners_is_synced(const struct listeners *l);
const struct inventory_status *listeners_status(const struct listeners *l);

struct listeners_stats {
	size_t listeners, namespaces, in_host, in_containers, gone;
	size_t skipped[LISTENER_SKIP_COUNT]; /* by reason; [LISTENER_PROBED] those probed */
	uint64_t over_cap;                   /* endpoints that were not watched, so far */
	uint64_t ignored; /* listeners beyond LISTENERS_MAX and the like, so far */
};
void listeners_get_stats(const struct listeners *l, struct listeners_stats *out);

/* Every listener, namespace by namespace. */
void listeners_walk(const struct listeners *l,
                    void (*visit)(const struct listener *listener, void *arg), void *arg);
/* Those that would be reached at this endpoint but are not probed; NULL: there is none. */
const struct listener *listeners_find_skipped(const struct listeners *l, const struct endpoint *e);

/* Is it an address of the host or of a container, whether or not somebody listens there? */
bool listeners_has_address(const struct listeners *l, const struct endpoint *e);

uint64_t listener_netns(const struct listener *listener);
bool listener_is_in_host(const struct listener *listener);
/* "it speaks first", ...; NULL for LISTENER_PROBED. */
const char *listener_skip_text(enum listener_skip skip);
/* One word, for metrics: "probed", "protected", ... */
const char *listener_skip_name(enum listener_skip skip);
/* Would it be reached by the host alone? */
bool listener_is_loopback_only(const struct listener *listener);
/* Does a service on this port, or of this command, speak before it is spoken to? (speaks.c) */
bool speaks_first(uint16_t port, const char *command);
