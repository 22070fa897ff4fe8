/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole agent in a process of its own, and the test in the place of everybody around it: parent,
 * firewall, prober, sender, and people at the control socket. What does not come within some
 * seconds fails the test.
 */
#pragma once

#include "common/cleanup.h"
#include "common/finding.h"
#include "common/frame.h"
#include "daemon/firewall/wire.h"
#include "daemon/ipc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

#include <cmocka.h>

enum { BENCH_MAX_BLOCKS = 8 };

struct bench {
	pid_t pid;
	int parent, firewall, prober, sender, inventory, filter; /* our ends */
	uint64_t generation, prober_restarts;
	/* What LIST answers; the test sets it. */
	struct firewall_reply blocks[BENCH_MAX_BLOCKS];
	size_t n_blocks;
	bool deaf; /* the firewall answers nothing of itself, as one that hangs */
	char directory[64], socket[96];
	struct frame frame;
	/* What came in one frame to the firewall, and how much of that was taken. */
	struct firewall_request asked[FIREWALL_AT_ONCE];
	size_t n_asked, n_taken;
	uint64_t asked_seq;
};

struct bench *bench_new(void);
/* Ends the agent in an orderly way, which checks that it was not a sanitizer that ended it. */
void bench_free(struct bench *b);
/* The same as cmocka wants it: the bench is the test's state. */
int bench_set_up(void **state);
int bench_tear_down(void **state);
#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)

/*
 * `extra` are further lines of the configuration; the default is one breaker, "default", that
 * trips at the first exposure of the one target 192.0.2.1:9100, in mode enforce.
 */
void bench_start(struct bench *b, const char *extra);
/* As the OOM killer would; bench_start() then starts another on what it has left. */
void bench_kill(struct bench *b);
void bench_reload(struct bench *b, const char *extra);
/* The two halves of a reload: between them the firewall has the new generation, the agent not. */
void bench_check(struct bench *b, const char *extra);
void bench_commit(struct bench *b);
void bench_new_sender(struct bench *b);
/* The first one, or a successor. */
void bench_new_filter(struct bench *b);
void bench_kill_prober(struct bench *b);
void bench_new_prober(struct bench *b);

/* The next request but LIST and PING, which are answered here unless deaf. */
struct firewall_request bench_request(struct bench *b, enum firewall_verb verb, uint64_t *seq);
void bench_no_request(struct bench *b, int within_ms);
void bench_reply(struct bench *b, uint64_t seq, enum firewall_result result);
void bench_signal_panic(struct bench *b);
struct firewall_reply bench_block(const char *endpoint, uint32_t rule, uint64_t expires_ms);
/* The next BLOCK, which must be of this rule, or UNBLOCK; says yes. */
void bench_grant(struct bench *b, enum firewall_verb verb, uint32_t rule);

/* The next probe, as the prober gets it; returns its seq. */
uint64_t bench_probe(struct bench *b, struct ipc_probe *probe);
void bench_no_probe(struct bench *b, int within_ms);
/* Answers with a finding of 192.0.2.1:9100, or of another endpoint. */
void bench_find(struct bench *b, uint64_t seq, const char *endpoint, enum finding_verdict verdict,
                bool high_risk);
void bench_answer_probe(struct bench *b, uint64_t seq, const struct finding *finding);
void bench_send_to_agent(int sock, uint16_t type, uint64_t seq, const void *body, size_t length);

/* Answers PINGs and no probe until the agent gives the prober up, and tells the parent. */
void bench_lose_probes(struct bench *b);

/* The next event, of this kind, for the one sink there is; the caller's reference. */
#define BENCH_SINK "ops"
json_t *bench_event(struct bench *b, const char *kind);
/* The sink has what bench_event() read last. */
void bench_take_event(struct bench *b);
void bench_no_event(struct bench *b, int within_ms);
uint64_t bench_resolve_question(struct bench *b);

/* People: a request as printf would write it, and later its answer (the caller's reference). */
int bench_ask(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
json_t *bench_answer(int client);
json_t *bench_status(struct bench *b);
/* The endpoint's object in the status, borrowed; NULL when it is not there. */
json_t *bench_endpoint(const json_t *status, const char *endpoint);
bool bench_is_ok(json_t *answer); /* takes the reference */
