/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent_bench.h"

#include "common/clock.h"
#include "daemon/agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { SOON_MS = 8000 };

static const char default_target[] = "192.0.2.1:9100";

/* Nobody is logged in here, but a block waits until that is said. */
static void answer_inventory(struct bench *b)
{
	static struct frame f;
	struct pollfd wait = {.fd = b->inventory, .events = POLLIN};
	const struct inventory_answer nobody = {.version = INVENTORY_WIRE_VERSION,
	                                        .result = INVENTORY_OK};

	while (poll(&wait, 1, 0) > 0 && frame_recv(b->inventory, &f) == 1) {
		struct inventory_request request;

		if (f.type != INVENTORY_REQUEST || f.length != sizeof(request))
			continue;
		memcpy(&request, f.body, sizeof(request));
		if (request.verb == INVENTORY_LOGINS)
			(void)frame_send(b->inventory, INVENTORY_ANSWER, f.seq, &nobody,
			                 sizeof(nobody), -1);
	}
}

static bool receive(struct bench *b, int sock, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd wait[] = {{.fd = sock, .events = POLLIN},
		                        {.fd = b->inventory, .events = POLLIN}};
		int64_t left = deadline_ms - clock_monotonic_ms();

		if (left < 0)
			left = 0;
		if (poll(wait, ARRAY_LEN(wait), (int)left) == 0)
			return false;
		answer_inventory(b);
		if (!wait[0].revents && left == 0)
			return false;
		if (!wait[0].revents)
			continue;
		assert_int_equal(frame_recv(sock, &b->frame), 1);
		if (b->frame.type != IPC_PING)
			return true;
		/* Nobody to hear it: the agent has gone to another prober or sender. */
		(void)frame_send(sock, IPC_PONG, b->frame.seq, NULL, 0, -1);
	}
}

static void receive_type(struct bench *b, int sock, uint16_t type)
{
	int64_t deadline = clock_monotonic_ms() + SOON_MS;

	do {
		if (!receive(b, sock, deadline))
			fail_msg("no frame of type %u", type);
	} while (b->frame.type != type);
}

void bench_send_to_agent(int sock, uint16_t type, uint64_t seq, const void *body, size_t length)
{
	assert_int_equal(frame_send(sock, type, seq, body, length, -1), 0);
}

/* The configuration */

static int make_conf(const struct bench *b, const char *extra)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (!extra)
		extra = "mode: enforce\nscan: {targets: [\"192.0.2.1:9100\"], interval: 1h}\n";
	assert_true(dprintf(fd,
	                    "%s%s"
	                    "%s"
	                    "%s"
	                    "control: {socket: %s}\n"
	                    "state: {directory: %s}\n",
	                    extra,
	                    strstr(extra, "breakers:")
	                        ? ""
	                        : "breakers: [{name: default, trip_after: 1, open_for: 1h}]\n",
	                    strstr(extra, "metrics:") ? "" : "metrics: {listen: off}\n",
	                    strstr(extra, "alerts:") ? ""
	                                             : "alerts: [{name: " BENCH_SINK
	                                               ", type: webhook, url: "
	                                               "\"http://192.0.2.9/\"}]\n",
	                    b->socket, b->directory) > 0);
	return fd;
}

static void take_result(struct bench *b)
{
	struct ipc_result result;

	receive_type(b, b->parent, IPC_CHILD_CONF);
	assert_int_equal(b->frame.length, sizeof(result));
	memcpy(&result, b->frame.body, sizeof(result));
	if (result.error)
		fail_msg("configuration: %s", result.text);
}

void bench_check(struct bench *b, const char *extra)
{
	struct ipc_conf conf = {.generation = ++b->generation};
	int fd = make_conf(b, extra);

	assert_int_equal(
	    frame_send(b->parent, IPC_PARENT_CONF, conf.generation, &conf, sizeof(conf), fd), 0);
	close(fd);
	take_result(b);
}

void bench_commit(struct bench *b)
{
	struct ipc_conf conf = {.generation = b->generation};

	bench_send_to_agent(b->parent, IPC_PARENT_COMMIT, conf.generation, &conf, sizeof(conf));
	take_result(b);
}

void bench_reload(struct bench *b, const char *extra)
{
	bench_check(b, extra);
	bench_commit(b);
}

/* Start and end */

struct bench *bench_new(void)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->parent = b->firewall = b->prober = b->sender = b->inventory = b->filter = -1;
	snprintf(b->directory, sizeof(b->directory), "/tmp/pprofwall-unit-XXXXXX");
	assert_non_null(mkdtemp(b->directory));
	snprintf(b->socket, sizeof(b->socket), "%s/control.sock", b->directory);
	return b;
}

static int introduce(struct bench *b, enum ipc_role role, unsigned restarts)
{
	const struct ipc_peer peer = {.role = role, .restarts = restarts, .pid = getpid()};
	int pair[2];

	assert_int_equal(frame_socketpair(pair), 0);
	assert_int_equal(frame_send(b->parent, IPC_PARENT_PEER, 0, &peer, sizeof(peer), pair[1]),
	                 0);
	close(pair[1]);
	return pair[0];
}

static void give_control_socket(struct bench *b)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, b->socket, sizeof(b->socket));
	(void)unlink(b->socket);
	assert_int_equal(bind(sock, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(sock, 32), 0);
	assert_int_equal(frame_send(b->parent, IPC_PARENT_CONTROL, 0, NULL, 0, sock), 0);
	close(sock);
}

static void send_list(struct bench *b, uint64_t seq)
{
	struct firewall_reply end = {.version = FIREWALL_WIRE_VERSION, .result = FIREWALL_END};

	for (size_t i = 0; i < b->n_blocks; i++)
		bench_send_to_agent(b->firewall, FIREWALL_REPLY, seq, &b->blocks[i],
		                    sizeof(b->blocks[i]));
	bench_send_to_agent(b->firewall, FIREWALL_REPLY, seq, &end, sizeof(end));
}

void bench_start(struct bench *b, const char *extra)
{
	struct firewall_request request;
	int pair[2];

	assert_int_equal(frame_socketpair(pair), 0);
	fflush(NULL);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(pair[0]);
		exit(agent_run(pair[1], "test.yaml"));
	}
	close(pair[1]);
	b->parent = pair[0];
	give_control_socket(b);
	b->firewall = introduce(b, IPC_ROLE_FIREWALL, 0);
	b->prober = introduce(b, IPC_ROLE_PROBER, 0);
	b->sender = introduce(b, IPC_ROLE_SENDER, 0);
	b->inventory = introduce(b, IPC_ROLE_INVENTORY, 0);
	bench_reload(b, extra);
	receive_type(b, b->firewall, FIREWALL_REQUEST);
	memcpy(&request, b->frame.body, sizeof(request));
	assert_int_equal(request.verb, FIREWALL_LIST);
	send_list(b, b->frame.seq);
	receive_type(b, b->parent, IPC_CHILD_READY);
}

static void end_agent(struct bench *b)
{
	int status = 0;

	if (!b->pid)
		return;
	(void)frame_send(b->parent, IPC_PARENT_STOP, 0, NULL, 0, -1);
	assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void close_peers(struct bench *b)
{
	cleanup_close(&b->parent);
	cleanup_close(&b->firewall);
	cleanup_close(&b->prober);
	cleanup_close(&b->sender);
	cleanup_close(&b->inventory);
	cleanup_close(&b->filter);
	b->parent = b->firewall = b->prober = b->sender = b->inventory = b->filter = -1;
	b->n_asked = b->n_taken = 0;
}

void bench_kill(struct bench *b)
{
	assert_int_equal(kill(b->pid, SIGKILL), 0);
	assert_int_equal(waitpid(b->pid, NULL, 0), b->pid);
	close_peers(b);
}

void bench_free(struct bench *b)
{
	static const char *const files[] = {"state.db", "state.db-wal", "state.db-shm", "panic",
	                                    "control.sock"};
	char path[128];

	end_agent(b);
	close_peers(b);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", b->directory, files[i]);
		(void)unlink(path);
	}
	(void)rmdir(b->directory);
	free(b);
}

int bench_set_up(void **state)
{
	*state = bench_new();
	return 0;
}

int bench_tear_down(void **state)
{
	bench_free(*state);
	return 0;
}

void bench_new_sender(struct bench *b)
{
	close(b->sender);
	b->sender = introduce(b, IPC_ROLE_SENDER, 1);
}

void bench_new_filter(struct bench *b)
{
	cleanup_close(&b->filter);
	b->filter = introduce(b, IPC_ROLE_FILTER, 0);
}

void bench_kill_prober(struct bench *b)
{
	close(b->prober);
	b->prober = -1;
}

void bench_new_prober(struct bench *b)
{
	b->prober = introduce(b, IPC_ROLE_PROBER, (unsigned)++b->prober_restarts);
}

/* The firewall */

struct firewall_reply bench_block(const char *endpoint, uint32_t rule, uint64_t expires_ms)
{
	struct firewall_reply reply = {
	    .version = FIREWALL_WIRE_VERSION, .rule = rule, .expires_ms = expires_ms};
	struct endpoint e;

	assert_int_equal(endpoint_parse(endpoint, &e), 0);
	reply.family = (uint8_t)e.family;
	reply.port = e.port;
	memcpy(reply.address, e.address, sizeof(reply.address));
	return reply;
}

/* Who connects is of no interest here: answered, and passed over. */
static bool is_of_ledger(const struct firewall_request *r)
{
	return r->verb == FIREWALL_LEDGER_ADD || r->verb == FIREWALL_LEDGER_REMOVE ||
	       r->verb == FIREWALL_LEDGER_LIST;
}

static bool take_asked(struct bench *b, struct firewall_request *out)
{
	if (b->n_taken == b->n_asked)
		return false;
	*out = b->asked[b->n_taken++];
	b->frame.seq = b->asked_seq;
	return true;
}

static bool next_request(struct bench *b, int within_ms, struct firewall_request *out)
{
	int64_t deadline = clock_monotonic_ms() + within_ms;

	if (take_asked(b, out))
		return true;
	while (receive(b, b->firewall, deadline)) {
		assert_int_equal(b->frame.type, FIREWALL_REQUEST);
		b->n_asked = firewall_wire_read_blocks(b->frame.body, b->frame.length, b->asked);
		b->n_taken = 0;
		b->asked_seq = b->frame.seq;
		if (take_asked(b, out))
			return true;
		assert_int_equal(firewall_wire_check(b->frame.body, b->frame.length, out),
		                 FIREWALL_OK);
		if (out->verb != FIREWALL_LIST && !is_of_ledger(out))
			return true;
		if (b->deaf)
			continue;
		if (out->verb == FIREWALL_LIST)
			send_list(b, b->frame.seq);
		else
			bench_reply(b, b->frame.seq,
			            out->verb == FIREWALL_LEDGER_LIST ? FIREWALL_END : FIREWALL_OK);
	}
	return false;
}

struct firewall_request bench_request(struct bench *b, enum firewall_verb verb, uint64_t *seq)
{
	struct firewall_request request;

	if (!next_request(b, SOON_MS, &request))
		fail_msg("no request to the firewall");
	assert_int_equal(request.verb, verb);
	*seq = b->frame.seq;
	return request;
}

void bench_no_request(struct bench *b, int within_ms)
{
	struct firewall_request request;

	if (next_request(b, within_ms, &request))
		fail_msg("request %u to the firewall", request.verb);
}

void bench_reply(struct bench *b, uint64_t seq, enum firewall_result result)
{
	const struct firewall_reply reply = {.version = FIREWALL_WIRE_VERSION,
	                                     .result = (uint16_t)result,
	                                     .expires_ms = 3600 * 1000,
	                                     .panicked = result == FIREWALL_PANICKED};

	bench_send_to_agent(b->firewall, FIREWALL_REPLY, seq, &reply, sizeof(reply));
}

void bench_signal_panic(struct bench *b)
{
	const struct firewall_reply event = {
	    .version = FIREWALL_WIRE_VERSION, .result = FIREWALL_PANICKED, .panicked = 1};

	bench_send_to_agent(b->firewall, FIREWALL_EVENT, 0, &event, sizeof(event));
}

void bench_grant(struct bench *b, enum firewall_verb verb, uint32_t rule)
{
	uint64_t seq;
	struct firewall_request request = bench_request(b, verb, &seq);

	assert_int_equal(request.rule, rule);
	bench_reply(b, seq, FIREWALL_OK);
}

/* The prober */

uint64_t bench_probe(struct bench *b, struct ipc_probe *probe)
{
	receive_type(b, b->prober, IPC_PROBE_START);
	if (probe)
		memcpy(probe, b->frame.body, sizeof(*probe));
	return b->frame.seq;
}

void bench_no_probe(struct bench *b, int within_ms)
{
	if (receive(b, b->prober, clock_monotonic_ms() + within_ms))
		fail_msg("a probe was asked for");
}

void bench_answer_probe(struct bench *b, uint64_t seq, const struct finding *finding)
{
	char *line = finding_to_line(finding);

	assert_non_null(line);
	bench_send_to_agent(b->prober, IPC_PROBE_DONE, seq, line, strlen(line));
	free(line);
}

void bench_find(struct bench *b, uint64_t seq, const char *endpoint, enum finding_verdict verdict,
                bool high_risk)
{
	struct finding f;

	finding_init(&f);
	assert_int_equal(endpoint_parse(endpoint ? endpoint : default_target, &f.endpoint), 0);
	f.verdict = verdict;
	f.high_risk = high_risk;
	if (verdict == VERDICT_CONFIRMED) {
		f.severity = SEVERITY_HIGH;
		f.status = 200;
		assert_int_equal(finding_set(&f.kind, "go-pprof"), 0);
	}
	bench_answer_probe(b, seq, &f);
	finding_fini(&f);
}

void bench_lose_probes(struct bench *b)
{
	int64_t deadline = clock_monotonic_ms() + 2 * SOON_MS;

	for (;;) {
		struct pollfd wait = {.fd = b->prober, .events = POLLIN};

		if (clock_monotonic_ms() > deadline)
			fail_msg("the prober was not given up");
		if (poll(&wait, 1, 100) <= 0)
			continue;
		if (frame_recv(b->prober, &b->frame) != 1)
			break;
		if (b->frame.type == IPC_PING)
			(void)frame_send(b->prober, IPC_PONG, b->frame.seq, NULL, 0, -1);
	}
	receive_type(b, b->parent, IPC_CHILD_BLIND);
	bench_kill_prober(b);
}

/* The sender */

json_t *bench_event(struct bench *b, const char *kind)
{
	json_t *envelope, *event, *sinks;

	receive_type(b, b->sender, IPC_SEND_EVENT);
	envelope = json_loadb((const char *)b->frame.body, b->frame.length, 0, NULL);
	event = json_incref(json_object_get(envelope, "event"));
	sinks = json_object_get(envelope, "sinks");
	assert_non_null(event);
	assert_string_equal(json_string_value(json_object_get(event, "event")), kind);
	assert_int_equal(json_array_size(sinks), 1);
	assert_string_equal(json_string_value(json_array_get(sinks, 0)), BENCH_SINK);
	json_decref(envelope);
	return event;
}

void bench_take_event(struct bench *b)
{
	const struct ipc_send_result result = {.sink = BENCH_SINK};

	bench_send_to_agent(b->sender, IPC_SEND_RESULT, b->frame.seq, &result, sizeof(result));
}

void bench_no_event(struct bench *b, int within_ms)
{
	if (receive(b, b->sender, clock_monotonic_ms() + within_ms))
		fail_msg("to the sender: %s", (const char *)b->frame.body);
}

uint64_t bench_resolve_question(struct bench *b)
{
	receive_type(b, b->sender, IPC_RESOLVE_NAME);
	return b->frame.seq;
}

/* People */

int bench_ask(struct bench *b, const char *format, ...)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	va_list args;

	memcpy(sun.sun_path, b->socket, sizeof(b->socket));
	assert_int_equal(connect(sock, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	va_start(args, format);
	assert_true(vdprintf(sock, format, args) > 0);
	va_end(args);
	assert_int_equal(write(sock, "\n", 1), 1);
	return sock;
}

json_t *bench_answer(int client)
{
	const struct timeval soon = {.tv_sec = SOON_MS / 1000};
	FILE *stream = fdopen(client, "r");
	json_error_t error;
	json_t *answer;

	assert_non_null(stream);
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	answer = json_loadf(stream, JSON_DISABLE_EOF_CHECK, &error);
	if (!answer)
		fail_msg("no answer: %s", error.text);
	fclose(stream);
	return answer;
}

json_t *bench_status(struct bench *b)
{
	return bench_answer(bench_ask(b, "{\"verb\":\"status\"}"));
}

json_t *bench_endpoint(const json_t *status, const char *endpoint)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(status, "endpoints"), i, item) {
		if (strcmp(json_string_value(json_object_get(item, "endpoint")), endpoint) == 0)
			return item;
	}
	return NULL;
}

bool bench_is_ok(json_t *answer)
{
	bool ok = json_is_true(json_object_get(answer, "ok"));

	json_decref(answer);
	return ok;
}
