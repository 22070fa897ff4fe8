/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's protocol: a Unix stream socket; the client writes one JSON object on one
 * line, the agent answers with one JSON object on one line and closes.
 *
 *	{"verb":"block","endpoint":"10.0.0.7:9100","reason":"...","for_ms":7200000}
 *	{"ok":true, ...}    or    {"ok":false,"error":"one line"}
 *
 * verb       further keys                             answers
 * status     -                                        see docs/control.md
 * blocks     -                                        "blocks": [...]
 * impact     endpoint (or all)                        "endpoints": [...]
 * block      endpoint, reason, for_ms                 "endpoint", "expires_ms"
 * block_list endpoints, reason, for_ms, dry_run       "blocked", "already", "refused": [...]
 * unblock    endpoint, reason, for_ms                 "endpoint", "until"
 * ack        endpoint, reason, for_ms                 "endpoint", "saved", "until"
 * unack      endpoint                                 "endpoint", "saved"
 * reload     -                                        -
 * panic      reason                                   -
 * resume     reason                                   -
 * test-alert sink (or each)                           "sinks": [...]
 */
#pragma once

enum {
	CONTROL_LIST_MAX = 2048,                /* endpoints; what the state can take in at once */
	CONTROL_REQUEST_MAX_BYTES = 128 * 1024, /* such a list, of the longest addresses */
	CONTROL_ANSWER_MAX_BYTES = 64 * 1024 * 1024,
	CONTROL_MAX_CLIENTS = 32,
	CONTROL_CLIENT_DEADLINE_MS = 5000,
	CONTROL_REASON_MAX_BYTES = 512,
	CONTROL_TEST_MAX_MS = 60 * 1000, /* the answer to test-alert */
};

#define CONTROL_DEFAULT_SOCKET    "/run/pprofwall/control.sock"
#define PPROFWALL_STATE_DIRECTORY "/var/lib/pprofwall"
/* In the state directory; while it exists nothing is enforced. */
#define PPROFWALL_PANIC_MARKER "panic"
/* Beside the control socket: the firewall helper's pid, for `pprofwall panic`. */
#define PPROFWALL_FIREWALL_PIDFILE "firewall.pid"
