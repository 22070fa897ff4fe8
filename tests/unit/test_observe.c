/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent makes of probes, of probers and senders that lie or die, and of names. */
#include "agent_bench.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ENDPOINT "192.0.2.1:9100"

enum { QUIET_MS = 300 };

static const char busy[] = "mode: observe\n"
                           "scan: {targets: [\"192.0.2.1:9100\"], interval: 100ms}\n"
                           "breakers: [{name: default, trip_after: 2, trip_window: 4,\n"
                           "            confirm_interval: 10ms}]\n";

static void expect_event(struct bench *b, const char *kind)
{
	json_decref(bench_event(b, kind));
}

static void find(struct bench *b, enum finding_verdict verdict, bool high_risk)
{
	bench_find(b, bench_probe(b, NULL), NULL, verdict, high_risk);
}

/* A busy server's 503 is no proof that it is clean, nor is one worker's answer. */
static void find_unavailable(struct bench *b)
{
	uint64_t seq = bench_probe(b, NULL);
	struct finding f;

	finding_init(&f);
	assert_int_equal(endpoint_parse(ENDPOINT, &f.endpoint), 0);
	f.verdict = VERDICT_CLEAR;
	f.status = 503;
	bench_answer_probe(b, seq, &f);
	finding_fini(&f);
}

static const char *risk(const json_t *status)
{
	const char *text =
	    json_string_value(json_object_get(bench_endpoint(status, ENDPOINT), "risk"));

	return text ? text : "none";
}

static void test_high_risk_is_told_once_until_clean(void **state)
{
	struct bench *b = *state;
	json_t *status;

	bench_start(b, busy);
	find(b, VERDICT_CONFIRMED, true);
	expect_event(b, "high_risk");
	find_unavailable(b);
	find(b, VERDICT_CLEAR, false);
	status = bench_status(b);
	assert_string_equal(risk(status), "HIGH_RISK");
	json_decref(status);
	find(b, VERDICT_CONFIRMED, true);
	expect_event(b, "opened"); /* two of four; and no second high_risk before it */
}

static void test_high_risk_is_over_when_clean(void **state)
{
	struct bench *b = *state;
	json_t *status;

	bench_start(b, busy);
	find(b, VERDICT_CONFIRMED, true);
	expect_event(b, "high_risk");
	for (int i = 0; i < 4; i++)
		find(b, VERDICT_CLEAR, false);
	bench_probe(b, NULL);
	status = bench_status(b);
	assert_string_equal(risk(status), "none");
	json_decref(status);
}

/* A server names its program in three-byte characters, none of which ends where we cut. */
static void test_a_hostile_name_stops_no_alert(void **state)
{
	struct bench *b = *state;
	char name[3 * 100 + 1] = "";
	struct finding f;
	json_t *status;

	for (int i = 0; i < 100; i++)
		strcat(name, "\u2603");
	bench_start(b, busy);
	finding_init(&f);
	assert_int_equal(endpoint_parse(ENDPOINT, &f.endpoint), 0);
	f.verdict = VERDICT_CONFIRMED;
	f.severity = SEVERITY_HIGH;
	f.high_risk = true;
	assert_int_equal(finding_list_add(&f.command, name, strlen(name)), 0);
	bench_answer_probe(b, bench_probe(b, NULL), &f);
	finding_fini(&f);
	expect_event(b, "high_risk");
	status = bench_status(b);
	assert_non_null(bench_endpoint(status, ENDPOINT));
	json_decref(status);
}

static void test_a_lying_prober_decides_nothing(void **state)
{
	static const char junk[] = "{\"schema\":1,\"verdict\":";
	struct bench *b = *state;
	uint64_t seq;

	bench_start(b, busy);
	for (int i = 0; i < 3; i++) { /* about somebody else, about nothing, twice, unasked */
		seq = bench_probe(b, NULL);
		bench_find(b, seq, "192.0.2.9:22", VERDICT_CONFIRMED, true);
		bench_find(b, seq, NULL, VERDICT_CONFIRMED, true);
		bench_find(b, seq + 1000, NULL, VERDICT_CONFIRMED, true);
		bench_send_to_agent(b->prober, IPC_PROBE_DONE, bench_probe(b, NULL), junk,
		                    sizeof(junk));
	}
	bench_no_event(b, QUIET_MS);
}

static void test_a_death_puts_all_in_flight_under_quarantine(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	uint64_t seq;

	bench_start(b, "scan: {targets: [\"192.0.2.1:9100\", \"192.0.2.2:9100\"], interval: 1h}\n");
	bench_probe(b, NULL);
	bench_probe(b, NULL);
	bench_kill_prober(b);
	expect_event(b, "quarantined");
	expect_event(b, "quarantined");
	bench_new_prober(b);
	bench_probe(b, &probe);
	assert_int_equal(probe.endpoint.address[3], 1);
	bench_no_probe(b, QUIET_MS); /* alone */
	bench_kill_prober(b);        /* this one did it */
	expect_event(b, "quarantined");
	bench_new_prober(b);
	seq = bench_probe(b, &probe);
	assert_int_equal(probe.endpoint.address[3], 2);
	bench_find(b, seq, "192.0.2.2:9100", VERDICT_CLEAR, false);
	bench_no_probe(b, QUIET_MS); /* the killer waits */
}

/* All places are taken by targets that a reload removes: those that wait must get theirs. */
static void get(uint16_t port, const char *path, char *out, size_t size)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t length = 0;
	ssize_t n;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(sock, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_true(dprintf(sock, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
	                    path) > 0);
	while ((n = read(sock, out + length, size - 1 - length)) > 0)
		length += (size_t)n;
	out[length] = '\0';
}

static uint16_t find_free_port(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	auto_close int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(any);

	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(sock, (const struct sockaddr *)&any, length), 0);
	assert_int_equal(getsockname(sock, (struct sockaddr *)&any, &length), 0);
	return ntohs(any.sin_port);
}

/* Alive, as far as PINGs tell, and blind. */
static void test_a_blind_prober_is_noticed(void **state)
{
	struct bench *b = *state;
	uint16_t port = find_free_port();
	static char text[65536];
	char conf[256];

	snprintf(conf, sizeof(conf),
	         "scan: {targets: [\"192.0.2.1:9100\", \"192.0.2.2:9100\"], interval: 1h, "
	         "timeout: 50ms}\nmetrics: {listen: \"127.0.0.1:%u\"}\n",
	         port);
	bench_start(b, conf);
	bench_lose_probes(b);
	get(port, "/readyz", text, sizeof(text));
	if (!strstr(text, " 503 "))
		fail_msg("/readyz: %s", text);
	assert_non_null(strstr(text, "the prober process does not answer its probes\n"));
	get(port, "/metrics", text, sizeof(text));
	assert_non_null(strstr(text, "\npprofwall_probes_lost_total 2\n"));
	bench_new_prober(b);
	bench_find(b, bench_probe(b, NULL), NULL, VERDICT_CLEAR, false);
	bench_probe(b, NULL); /* the other one: the answer was read */
	get(port, "/readyz", text, sizeof(text));
	assert_null(strstr(text, "its probes"));
}

static void test_places_of_the_forgotten_are_free(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;

	bench_start(b, "scan: {targets: [\"192.0.2.1:9100\", \"192.0.2.2:9100\"],\n"
	               "       interval: 1h, concurrency: 1}\n");
	bench_probe(b, &probe);
	bench_no_probe(b, QUIET_MS);
	bench_reload(b, "scan: {targets: [\"192.0.2.2:9100\"], interval: 1h, concurrency: 1}\n");
	bench_probe(b, &probe);
	assert_int_equal(probe.endpoint.address[3], 2);
}

static void test_alerts_survive_the_sender(void **state)
{
	struct bench *b = *state;

	bench_start(b, busy);
	find(b, VERDICT_CONFIRMED, true);
	expect_event(b, "high_risk");
	bench_new_sender(b);
	expect_event(b, "high_risk");
	bench_take_event(b);
	json_decref(bench_status(b));
	bench_new_sender(b);
	bench_no_event(b, QUIET_MS);
}

/* Names */

static const char named[] = "mode: enforce\nscan: {targets: [\"db.example:9100\"], interval: 1h}\n";

static void resolve(struct bench *b, uint64_t seq, const char *address)
{
	struct ipc_addresses a = {.count = 1};

	assert_int_equal(endpoint_parse_address(address, &a.addresses[0]), 0);
	bench_send_to_agent(b->sender, IPC_RESOLVE_RESULT, seq, &a, sizeof(a));
}

/* Who answers for a name must not be able to lift a wall: only clean evidence does. */
static void test_a_new_address_does_not_open_the_old_one(void **state)
{
	struct bench *b = *state;
	struct ipc_probe probe;
	uint64_t question;

	bench_start(b, named);
	question = bench_resolve_question(b);
	resolve(b, question, "192.0.2.1");
	find(b, VERDICT_CONFIRMED, false);
	bench_grant(b, FIREWALL_BLOCK, 1);
	resolve(b, question, "192.0.2.3");
	bench_probe(b, &probe);
	assert_int_equal(probe.endpoint.address[3], 3);
	bench_no_request(b, QUIET_MS);
}

/* A restart with a name that resolves later: its wall, too, is taken over. */
static void test_a_block_waits_for_its_name(void **state)
{
	struct bench *b = *state;

	b->blocks[b->n_blocks++] = bench_block(ENDPOINT, 1, 60000);
	bench_start(b, named);
	resolve(b, bench_resolve_question(b), "192.0.2.1");
	bench_grant(b, FIREWALL_BLOCK, 1);
}

/* The prober ends at a malformed request, so none may be made of a sender's lies. */
static void test_what_is_no_address_is_not_probed(void **state)
{
	struct bench *b = *state;
	struct ipc_addresses a = {.count = 1};
	struct ipc_probe probe;
	uint64_t question;

	bench_start(b, named);
	question = bench_resolve_question(b);
	a.addresses[0].family = 77;
	bench_send_to_agent(b->sender, IPC_RESOLVE_RESULT, question, &a, sizeof(a));
	memset(&a.addresses[0], 1, sizeof(a.addresses[0]));
	a.addresses[0].family = AF_INET; /* with a zone */
	bench_send_to_agent(b->sender, IPC_RESOLVE_RESULT, question, &a, sizeof(a));
	bench_no_probe(b, QUIET_MS);
	a.addresses[0].scope_id = 0; /* and with bytes past the fourth */
	bench_send_to_agent(b->sender, IPC_RESOLVE_RESULT, question, &a, sizeof(a));
	bench_probe(b, &probe);
	assert_int_equal(probe.endpoint.address[4], 0);
	assert_int_equal(probe.endpoint.port, 9100);
}

/* A disk that fails is seen, and nothing else depends on it. */
static void test_without_state(void **state)
{
	struct bench *b = *state;
	char path[128];
	json_t *status;

	snprintf(path, sizeof(path), "%s/state.db", b->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	bench_start(b, NULL);
	status = bench_status(b);
	assert_true(json_is_false(json_object_get(json_object_get(status, "state"), "ok")));
	json_decref(status);
	find(b, VERDICT_CONFIRMED, false);
	bench_grant(b, FIREWALL_BLOCK, 1);
	expect_event(b, "opened");
	(void)rmdir(path);
}

int main(void)
{
#define TEST(name) BENCH_TEST(name)
	const struct CMUnitTest tests[] = {
	    TEST(test_high_risk_is_told_once_until_clean),
	    TEST(test_high_risk_is_over_when_clean),
	    TEST(test_a_hostile_name_stops_no_alert),
	    TEST(test_a_lying_prober_decides_nothing),
	    TEST(test_a_death_puts_all_in_flight_under_quarantine),
	    TEST(test_a_blind_prober_is_noticed),
	    TEST(test_places_of_the_forgotten_are_free),
	    TEST(test_alerts_survive_the_sender),
	    TEST(test_a_new_address_does_not_open_the_old_one),
	    TEST(test_a_block_waits_for_its_name),
	    TEST(test_what_is_no_address_is_not_probed),
	    TEST(test_without_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
