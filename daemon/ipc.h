/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon's processes say to each other, in frames (common/frame.h) over SEQPACKET socket
 * pairs that the parent makes:
 *
 *	parent  <-> each child   IPC_PARENT_*, IPC_CHILD_*    (descriptor 3 of the child)
 *	agent   <-> prober       IPC_PROBE_*                  (descriptor 4 of the prober)
 *	agent   <-> firewall     daemon/firewall/wire.h       (descriptor 4 of the firewall)
 *	agent   <-> sender       IPC_SEND_*, IPC_RESOLVE_*,   (descriptor 4 of the sender)
 *	                         IPC_REVERSE_*
 *	agent   <-> inventory    daemon/inventory/wire.h      (descriptor 4 of the inventory)
 *	filter  --> agent        daemon/filter/wire.h         (descriptor 4 of the filter)
 *	firewall <-> filter      daemon/filter/wire.h         (both get it by IPC_PARENT_PEER)
 *	sender  <-> runner       IPC_RUN_*                    (descriptor 4 of the runner)
 *
 * The prober finds the shipped signatures on descriptor 5, unless the parent could not open them.
 * A restarted inventory finds there what the first one sent along with READY: its own namespace.
 * The agent gets its ends with IPC_PARENT_PEER, at the start and whenever a child was restarted; so
 * does the sender that of the runner, which is started when it asks for one.
 * Bodies are the fixed-size structs below unless JSON is stated; padding is named and zero.
 * Numbers are host byte order: both ends run on one machine from one build.
 */
#pragma once

#include "scanner/probe.h"

#include <stdint.h>
#include <string.h>

enum { IPC_PARENT_FD = 3, IPC_PEER_FD = 4, IPC_DATA_FD = 5, IPC_TEXT_LEN = 512 };

enum ipc_role {
	IPC_ROLE_AGENT = 0,
	IPC_ROLE_FIREWALL,
	IPC_ROLE_PROBER,
	IPC_ROLE_SENDER,
	IPC_ROLE_INVENTORY,
	IPC_ROLE_FILTER, /* only where a rule filters */
	IPC_ROLE_RUNNER, /* none of the agent's peers; all before it are */
	IPC_ROLE_COUNT
};

enum ipc_type {
	/* parent -> child */
	IPC_PARENT_CONF =
	    1, /* struct ipc_conf + memfd of the file: check it; IPC_CHILD_CONF answers */
	IPC_PARENT_COMMIT, /* struct ipc_conf: what was checked is now in force; answered likewise
	                    */
	IPC_PARENT_ABORT,  /* struct ipc_conf: forget what was checked; no answer */
	/*
	 * struct ipc_peer + socket: agent, sender; and of each other firewall (role FILTER) and
	 * filter (role FIREWALL), a new pair for each filter process
	 */
	IPC_PARENT_PEER,
	IPC_PARENT_CONTROL, /* agent only: listening control socket */
	IPC_PARENT_STOP, /* end in an orderly way: agent and sender flush, firewall obeys on_stop */
	IPC_PARENT_RELOADED, /* agent only: struct ipc_result of a reload, when it is over */
	/* child -> parent */
	IPC_CHILD_READY = 32, /* empty: serving (after the first COMMIT); inventory: may carry a
	                         descriptor, which the parent hands to the next one */
	IPC_CHILD_CONF,       /* struct ipc_result for CONF and COMMIT; seq as asked */
	IPC_CHILD_ALIVE,      /* agent only, empty, about every second: for the watchdog */
	IPC_CHILD_RELOAD,     /* agent only, empty: somebody asked for a reload */
	IPC_CHILD_BLIND,      /* agent only, empty: the prober answers no probes; restart it */
	IPC_CHILD_RUNNER,     /* sender only, empty: it has programs to run */
	IPC_CHILD_DEAF,       /* firewall only, empty: the filter does not answer; restart it */

	/* agent -> prober */
	IPC_PROBE_START = 64, /* struct ipc_probe; seq names the probe */
	/* prober -> agent */
	IPC_PROBE_DONE, /* JSON: a finding; seq as asked */
	/* empty: the probe of this seq, asked for with from_inside, needs a socket; answered */
	IPC_PROBE_ASK_SOCKET,
	/* agent -> prober */
	IPC_PROBE_SOCKET, /* struct ipc_socket + socket if there is one; seq as asked */

	/* agent -> sender */
	/*
	 * JSON: {"sinks": [names], "queued_ms": wall time from which give_up_after counts, "event":
	 * {docs/alerts.md}}; seq names it in the answers. "best_effort": true is tried once, and
	 * gives way to the next of its endpoint; "test": true is tried once, at once.
	 */
	IPC_SEND_EVENT = 96,
	IPC_RESOLVE_NAME, /* struct ipc_name; seq names the question */
	/* sender -> agent */
	/*
	 * struct ipc_send_result: of each sink one for each event's end, and one for each attempt
	 * that failed and is made again, with the seq of the first event that was in it.
	 */
	IPC_SEND_RESULT,
	IPC_SEND_DONE,      /* empty; seq: nothing more comes of this frame; another may have the
	                       event for other sinks, so that the agent ends nothing by it */
	IPC_RESOLVE_RESULT, /* struct ipc_addresses; seq as asked */
	/* agent -> sender */
	IPC_REVERSE_ASK, /* struct endpoint, port 0: what is its name? seq names the question */
	/* sender -> agent */
	IPC_REVERSE_RESULT, /* struct ipc_name; "" for none; seq as asked */

	/* sender -> runner */
	IPC_RUN_START = 112, /* struct ipc_run + pipe that the program reads; seq names the run */
	/* runner -> sender */
	IPC_RUN_DONE, /* struct ipc_run_done; seq as asked */

	/* both ways */
	IPC_PING = 120, /* empty, any peer; answered with IPC_PONG, same seq */
	IPC_PONG,
};

struct ipc_conf {
	uint64_t generation; /* counts from 1; +1 for each reload that is tried */
	uint32_t crc32;      /* of the file's bytes */
	uint8_t panic;       /* of the first: the panic marker exists, enforcement stays off */
	uint8_t again;       /* to one that was restarted: the others have it in force */
	uint8_t zero[2];
};

struct ipc_result {
	int32_t error; /* 0 or a negative errno */
	uint32_t zero;
	char text[IPC_TEXT_LEN]; /* one line, NUL-terminated */
};

struct ipc_peer {
	uint32_t role;     /* enum ipc_role */
	uint32_t restarts; /* of that child, so far */
	int32_t pid;
	int32_t exit_status; /* wait(2) status of the one before, 0 at the start */
};

struct ipc_probe {
	struct endpoint endpoint;
	int64_t timeout_ms;
	uint8_t tls_first, tls_only, plain_only, asks_serves;
	uint8_t from_inside; /* the endpoint is another namespace's: on sockets from there alone */
	uint8_t zero[3];
	char host[256];
	char prefix[128];
};

/* A TCP socket of the endpoint's namespace, not connected. */
struct ipc_socket {
	int32_t error; /* 0, or why there is none: a negative errno; -EAGAIN: ask again */
	uint32_t zero;
};

enum ipc_send_outcome { IPC_SEND_DELIVERED = 0, IPC_SEND_RETRY, IPC_SEND_GAVE_UP };

struct ipc_send_result {
	uint32_t outcome; /* enum ipc_send_outcome */
	int32_t status;   /* HTTP status, 0 when there was none */
	char sink[64];
	char text[128]; /* why; never the URL */
	/* The sink is given a rest: 1 until an attempt goes well. */
	uint32_t circuit_open;
};

/* The runner knows the command by itself: it cannot be asked for any other. */
struct ipc_run {
	int64_t timeout_ms; /* 1..300000 */
	char sink[64];
	char event[64]; /* [a-z_]* */
};

enum { IPC_RUN_NOT_STARTED = 126 }; /* exit status of what is no program, as of a shell's */

struct ipc_run_done {
	int32_t error; /* 0, -ETIMEDOUT (it was killed), or another -errno: it did not run */
	int32_t wait_status;
};

struct ipc_name {
	char name[256];
};

/*
 * What host names are made of. An address's name is chosen by whoever has the address: neither the
 * sender nor the agent lets anything else through.
 */
static inline bool ipc_is_host_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                             "0123456789.-_");

	return length > 0 && length < sizeof(struct ipc_name) && name[length] == '\0';
}

enum { IPC_MAX_ADDRESSES = 32 };

struct ipc_addresses {
	int32_t error; /* 0 or a negative errno; -ENOENT for no such name */
	uint32_t count;
	uint32_t ttl_s;      /* how long it holds; 0: not known, as of /etc/hosts */
	uint16_t unanswered; /* AF_INET or AF_INET6: of that family nothing was learnt; or 0 */
	uint16_t zero;
	struct endpoint addresses[IPC_MAX_ADDRESSES]; /* port 0 */
	char text[128];
};
