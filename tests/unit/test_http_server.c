/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server runs in a child process; the tests write raw bytes. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "daemon/agent/http_server.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { DEADLINE_MS = 5000, ANSWER_LEN = 16384, BIG_BYTES = 16 * 1024 * 1024 };

struct fixture {
	struct endpoint endpoint;
	pid_t server;
};

static void write_metrics(struct evbuffer *out, void *arg)
{
	(void)arg;
	evbuffer_add_printf(out, "pprofwall_blocks 3\n");
}

static void write_big_metrics(struct evbuffer *out)
{
	char *text = malloc(BIG_BYTES);

	memset(text, '#', BIG_BYTES);
	evbuffer_add(out, text, BIG_BYTES);
	free(text);
}

/* Not ready on every second call; the first says that metrics are big from now on. */
static bool is_ready(struct evbuffer *out, void *arg)
{
	int *calls = arg;

	if (++*calls % 2)
		return true;
	evbuffer_add_printf(out, "prober does not answer\nstate: disk full\n");
	return false;
}

static void metrics(struct evbuffer *out, void *arg)
{
	const int *calls = arg;

	if (*calls == 0)
		write_metrics(out, arg);
	else
		write_big_metrics(out);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static int serve(const struct endpoint *e, int started)
{
	struct event_base *base = event_base_new();
	struct event *term = evsignal_new(base, SIGTERM, on_term, base);
	int calls = 0;
	const struct http_handlers handlers = {metrics, is_ready, &calls};
	struct http_server *server, *second;

	signal(SIGPIPE, SIG_IGN);
	evsignal_add(term, NULL);
	if (http_server_new(base, e, &handlers, &server) != 0 ||
	    http_server_new(base, e, &handlers, &second) != -EADDRINUSE ||
	    write(started, "x", 1) != 1)
		return 1;
	event_base_dispatch(base);
	http_server_free(server);
	event_free(term);
	event_base_free(base);
	return 0;
}

static uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return 0;
	return ntohs(address.sin_port);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int started[2];
	char byte;

	endpoint_parse_address("127.0.0.1", &f->endpoint);
	f->endpoint.port = free_port();
	if (pipe(started) < 0)
		return -1;
	signal(SIGPIPE, SIG_IGN);
	f->server = fork();
	if (f->server == 0)
		exit(serve(&f->endpoint, started[1]));
	close(started[1]);
	*state = f;
	if (read(started[0], &byte, 1) != 1)
		return -1;
	return close(started[0]);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	int status = -1;

	kill(f->server, SIGTERM);
	waitpid(f->server, &status, 0);
	free(f);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int dial(const struct fixture *f)
{
	const struct timeval deadline = {.tv_sec = 20};
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&f->endpoint, &address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
	return fd;
}

/* Reads to the end of the connection, which the server makes. */
static void read_answer(int fd, char answer[ANSWER_LEN])
{
	size_t length = 0;
	ssize_t n;

	while ((n = recv(fd, answer + length, ANSWER_LEN - 1 - length, 0)) > 0)
		length += (size_t)n;
	answer[length] = '\0';
	if (n < 0 && errno != ECONNRESET)
		fail_msg("recv: %s", strerror(errno));
}

static void ask(const struct fixture *f, const char *request, char answer[ANSWER_LEN])
{
	auto_close int fd = dial(f);

	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	read_answer(fd, answer);
}

static void expect(const struct fixture *f, const char *request, const char *start,
                   const char *body)
{
	char answer[ANSWER_LEN];
	const char *got_body;

	ask(f, request, answer);
	got_body = strstr(answer, "\r\n\r\n");
	if (strncmp(answer, start, strlen(start)) != 0 || !got_body ||
	    (body && strcmp(got_body + 4, body) != 0))
		fail_msg("%s -> %s", request, answer);
}

#define LOCAL "Host: 127.0.0.1:9464\r\n\r\n"

static void test_routes(void **state)
{
	char answer[ANSWER_LEN];

	expect(*state, "GET /metrics HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK",
	       "pprofwall_blocks 3\n");
	expect(*state, "GET /metrics?x=1 HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK",
	       "pprofwall_blocks 3\n");
	ask(*state, "GET /metrics HTTP/1.1\r\n" LOCAL, answer);
	assert_non_null(
	    strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	assert_non_null(strstr(answer, "Content-Length: 19\r\n"));
	expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", "ok\n");
	expect(*state, "GET /readyz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", "ready\n");
	expect(*state, "GET /readyz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 503 Service Unavailable",
	       "prober does not answer\nstate: disk full\n");
	expect(*state, "GET / HTTP/1.1\r\n" LOCAL, "HTTP/1.1 404 ", NULL);
	expect(*state, "GET /debug/pprof/ HTTP/1.1\r\n" LOCAL, "HTTP/1.1 404 ", NULL);
	expect(*state, "GET /metrics/ HTTP/1.1\r\n" LOCAL, "HTTP/1.1 404 ", NULL);
	expect(*state, "GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK", "ok\n");
}

static void test_head_has_no_body(void **state)
{
	char answer[ANSWER_LEN];

	expect(*state, "HEAD /metrics HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", "");
	ask(*state, "HEAD /metrics HTTP/1.1\r\n" LOCAL, answer);
	assert_non_null(strstr(answer, "Content-Length: 19\r\n"));
	expect(*state, "HEAD /nothing HTTP/1.1\r\n" LOCAL, "HTTP/1.1 404 ", "");
}

static void test_other_methods(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"};
	char request[256], answer[ANSWER_LEN];

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		snprintf(request, sizeof(request), "%s /metrics HTTP/1.1\r\n" LOCAL, methods[i]);
		expect(*state, request, "HTTP/1.1 405 Method Not Allowed", "");
	}
	ask(*state, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n" LOCAL "x=1", answer);
	assert_int_equal(strncmp(answer, "HTTP/1.1 405 ", 13), 0);
	assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
	ask(*state, "POST /metrics HTTP/1.1\r\nContent-Length: 9999999\r\n" LOCAL, answer);
	assert_int_equal(strncmp(answer, "HTTP/1.1 413 ", 13), 0);
	ask(*state, "BREW /metrics HTTP/1.1\r\n" LOCAL, answer);
	assert_null(strstr(answer, "200 OK"));
}

static void test_hosts(void **state)
{
	static const char *const good[] = {"127.0.0.1",      "10.0.0.7:80", "localhost",
	                                   "LOCALHOST:9464", "[::1]",       "[2001:db8::1]:9464"};
	static const char *const bad[] = {
	    "evil.example",
	    "evil.example:9464",
	    "localhost.evil.example",
	    "127.0.0.1.nip.io",
	    "127.0.0.1:0",
	    "127.0.0.1:80:80",
	    "::1",
	    "[::1",
	    "[127.0.0.1]",
	    "[::1]x",
	    "[::1]:",
	    "0x7f.1",
	    "127.1",
	    "127.0.0.1 evil.com",
	    "",
	    "a,127.0.0.1",
	};
	char request[256];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(request, sizeof(request), "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n",
		         good[i]);
		expect(*state, request, "HTTP/1.1 200 OK", NULL);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(request, sizeof(request), "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n",
		         bad[i]);
		expect(*state, request, "HTTP/1.1 421 Misdirected Request", NULL);
	}
	expect(*state, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
	       "HTTP/1.1 421", NULL);
	expect(*state, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
	       "HTTP/1.1 421", NULL);
	expect(*state, "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
	       "HTTP/1.1 421", NULL);
}

static void test_oversized_headers(void **state)
{
	static const char start[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ";
	char request[32 * 1024], answer[ANSWER_LEN];
	auto_close int fd = dial(*state);

	memset(request, 'x', sizeof(request) - 1);
	memcpy(request, start, strlen(start));
	memcpy(request + sizeof(request) - 5, "\r\n\r\n", 5);
	(void)send(fd, request, strlen(request), 0);
	read_answer(fd, answer);
	assert_null(strstr(answer, "200 OK"));
	expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", NULL);
}

static void test_slow_client_is_cut_at_the_deadline(void **state)
{
	auto_close int fd = dial(*state);
	const struct timeval step = {.tv_usec = 100000};
	int64_t start = clock_monotonic_ms();
	char byte;
	ssize_t n;

	/* A byte every tenth of a second keeps any idle timeout from firing. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
	do {
		(void)send(fd, "x", 1, 0);
		n = recv(fd, &byte, 1, 0);
		assert_true(clock_monotonic_ms() - start < DEADLINE_MS + 5000);
	} while (n < 0 && errno == EAGAIN);
	assert_true(clock_monotonic_ms() - start >= DEADLINE_MS - 500);
	expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", NULL);
}

static void test_slow_reader_is_cut_at_the_deadline(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\n" LOCAL;
	static char buffer[65536];
	int64_t start = clock_monotonic_ms();
	auto_close int fd = -1;
	size_t total = 0;
	ssize_t n;

	expect(*state, "GET /readyz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", NULL);
	fd = dial(*state);
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	while (clock_monotonic_ms() - start < DEADLINE_MS + 1000)
		expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", NULL);
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		total += (size_t)n;
	assert_true(total < BIG_BYTES);
}

static void test_many_connections_are_bounded(void **state)
{
	int fds[100];
	int64_t start = clock_monotonic_ms();

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(*state);
	/* The silent ones hold every slot until their deadline, and no longer. */
	expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", "ok\n");
	assert_in_range(clock_monotonic_ms() - start, DEADLINE_MS - 500, DEADLINE_MS + 5000);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	/* Those that have been served or have left hold none. */
	start = clock_monotonic_ms();
	for (int i = 0; i < 300; i++)
		expect(*state, "GET /healthz HTTP/1.1\r\n" LOCAL, "HTTP/1.1 200 OK", "ok\n");
	assert_true(clock_monotonic_ms() - start < DEADLINE_MS);
}

static void on_byte(evutil_socket_t fd, short what, void *arg)
{
	char byte;

	(void)what;
	if (read(fd, &byte, 1) == 1)
		++*(unsigned *)arg;
}

static void nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* Turns the loop until the client has read its answer to the end. */
static void scrape(struct event_base *base, const struct endpoint *e)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	const struct timeval tick = {.tv_usec = 1000};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(e, &address);
	char answer[1024];
	ssize_t n = -1;

	assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	for (int turns = 0; turns < 2000 && n != 0; turns++) {
		event_base_once(base, -1, EV_TIMEOUT, nothing, NULL, &tick);
		event_base_loop(base, EVLOOP_ONCE);
		n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	}
	assert_int_equal(n, 0);
}

/*
 * A descriptor that was closed while libevent still watched it leaves its number deaf: whatever
 * gets the number next is never put into epoll.
 */
static void test_an_ended_connection_leaves_no_deaf_descriptor(void **state)
{
	enum { PAIRS = 24 };
	struct endpoint e = {.family = AF_INET, .address = {127, 0, 0, 1}, .port = free_port()};
	struct event_base *base = event_base_new();
	int calls = 0, pairs[PAIRS][2];
	const struct http_handlers handlers = {write_metrics, is_ready, &calls};
	struct event *events[PAIRS][2];
	struct http_server *server;
	unsigned heard = 0;

	(void)state;
	assert_int_equal(http_server_new(base, &e, &handlers, &server), 0);
	for (int i = 0; i < 5; i++)
		scrape(base, &e);
	for (size_t i = 0; i < PAIRS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
		for (size_t end = 0; end < 2; end++) {
			events[i][end] = event_new(base, pairs[i][end], EV_READ, on_byte, &heard);
			event_add(events[i][end], NULL);
			assert_int_equal(write(pairs[i][1 - end], "x", 1), 1);
		}
	}
	for (int turns = 0; turns < 20 && heard < 2 * PAIRS; turns++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(heard, 2 * PAIRS);
	for (size_t i = 0; i < PAIRS; i++) {
		for (size_t end = 0; end < 2; end++) {
			event_free(events[i][end]);
			close(pairs[i][end]);
		}
	}
	http_server_free(server);
	event_base_free(base);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_routes),
	    TEST(test_head_has_no_body),
	    TEST(test_other_methods),
	    TEST(test_hosts),
	    TEST(test_oversized_headers),
	    TEST(test_slow_client_is_cut_at_the_deadline),
	    TEST(test_slow_reader_is_cut_at_the_deadline),
	    TEST(test_many_connections_are_bounded),
	    cmocka_unit_test(test_an_ended_connection_leaves_no_deaf_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
