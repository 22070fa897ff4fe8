/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server runs in a child process; this one, or further children with other ids, are clients. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/control.h"
#include "daemon/agent/control_server.h"
#include "scanner/control_client.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { GROUP = 64998, STRANGER = 64999, BIG_BYTES = 10 * 1024 * 1024, SLOW_MS = 100 };

struct fixture {
	char directory[32];
	char path[64];
	pid_t server;
};

/* In place of the C library's: it may wait for a directory service, and the loop with it. */
struct passwd *getpwuid(uid_t uid)
{
	(void)uid;
	_exit(EXIT_FAILURE);
}

static void answer_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	control_answer(arg, json_pack("{s:s}", "said", "later"));
}

static void handle(struct control_request *cr, const struct control_peer *peer,
                   const json_t *request, void *arg)
{
	const struct timeval slow = {.tv_usec = SLOW_MS * 1000};
	const char *verb = json_string_value(json_object_get(request, "verb"));

	if (!verb) {
		control_answer_error(cr, "no verb");
	} else if (strcmp(verb, "big") == 0) {
		char *text = malloc(BIG_BYTES);

		memset(text, 'x', BIG_BYTES);
		control_answer(cr, json_pack("{s:s%}", "big", text, (size_t)BIG_BYTES));
		free(text);
	} else if (strcmp(verb, "slow") == 0) {
		event_base_once(arg, -1, EV_TIMEOUT, answer_later, cr, &slow);
	} else if (strcmp(verb, "bad-text") == 0) {
		control_answer_error(cr, "name %s", "\xff");
	} else {
		control_answer(cr, json_pack("{s:s, s:I, s:I}", "who", peer->who, "uid",
		                             (json_int_t)peer->uid, "pid", (json_int_t)peer->pid));
	}
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static int serve(int fd)
{
	struct event_base *base = event_base_new();
	struct event *term = evsignal_new(base, SIGTERM, on_term, base);
	struct control_server *server;

	signal(SIGPIPE, SIG_IGN);
	evsignal_add(term, NULL);
	if (control_server_new(base, fd, GROUP, handle, base, &server) != 0)
		return 1;
	event_base_dispatch(base);
	control_server_free(server);
	event_free(term);
	event_base_free(base);
	return 0;
}

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct fixture *f = calloc(1, sizeof(*f));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(f->directory, sizeof(f->directory), "/tmp/pw-control-XXXXXX");
	if (!mkdtemp(f->directory) || chmod(f->directory, 0755) < 0)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/control.sock", f->directory);
	memcpy(address.sun_path, f->path, strlen(f->path));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(f->path, 0666) < 0 || listen(fd, 128) < 0)
		return -1;
	f->server = fork();
	if (f->server == 0)
		exit(serve(fd));
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	int status = -1;

	kill(f->server, SIGTERM);
	waitpid(f->server, &status, 0);
	unlink(f->path);
	rmdir(f->directory);
	free(f);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int dial(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval deadline = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, f->path, strlen(f->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
	return fd;
}

/* Sends, optionally shuts down its half, and reads to the end. */
static void raw(const struct fixture *f, const char *request, bool half_close, char answer[512])
{
	auto_close int fd = dial(f);
	size_t length = 0;
	ssize_t n;

	if (send(fd, request, strlen(request), 0) < 0 && errno != EPIPE) /* refused unread */
		fail_msg("send: %s", strerror(errno));
	if (half_close)
		shutdown(fd, SHUT_WR);
	while ((n = recv(fd, answer + length, 511 - length, 0)) > 0)
		length += (size_t)n;
	answer[length] = '\0';
	if (n < 0 && errno != ECONNRESET)
		fail_msg("recv: %s", strerror(errno));
}

static json_t *ask(const struct fixture *f, const char *verb)
{
	json_t *request = json_pack("{s:s}", "verb", verb), *answer = NULL;
	char why[CONTROL_CLIENT_ERROR_LEN];
	int error = control_client_ask(f->path, request, 10000, &answer, why);

	json_decref(request);
	if (error)
		fail_msg("%s: %d %s", verb, error, why);
	return answer;
}

static void expect_alive(const struct fixture *f)
{
	json_t *answer = ask(f, "who");

	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), getpid());
	assert_int_equal(json_integer_value(json_object_get(answer, "uid")), geteuid());
	json_decref(answer);
}

static void test_names_wait_for_no_directory_service(void **state)
{
	auto_fclose FILE *file = fopen("/etc/passwd", "re");
	json_t *answer = ask(*state, "who");
	const char *who = json_string_value(json_object_get(answer, "who"));
	const struct passwd *user;

	assert_non_null(file);
	while ((user = fgetpwent(file)) && user->pw_uid != geteuid())
		;
	/* With a login uid it is "alice as root". */
	assert_non_null(who);
	assert_non_null(strstr(who, user ? user->pw_name : "uid "));
	json_decref(answer);
}

static void test_answers_now_and_later(void **state)
{
	json_t *answer;
	char text[512];

	expect_alive(*state);
	answer = ask(*state, "slow");
	assert_string_equal(json_string_value(json_object_get(answer, "said")), "later");
	json_decref(answer);
	raw(*state, "{\"verb\":\"slow\"}\n", true, text);
	assert_string_equal(text, "{\"said\":\"later\",\"ok\":true}\n");
	raw(*state, "{\"verb\":\"bad-text\"}\n{\"verb\":\"second\"}\n", false, text);
	assert_string_equal(text, "{\"ok\":false,\"error\":\"name ?\"}\n");
}

static void test_client_gone_before_the_answer(void **state)
{
	for (int i = 0; i < 3 * CONTROL_MAX_CLIENTS; i++) {
		int fd = dial(*state);

		assert_int_equal(send(fd, "{\"verb\":\"slow\"}\n", 16, 0), 16);
		close(fd);
	}
	expect_alive(*state);
}

static void test_garbage(void **state)
{
	static const char *const requests[] = {
	    "\n",
	    "nonsense\n",
	    "[1]\n",
	    "\"verb\"\n",
	    "{\"verb\":\"a\",\"verb\":\"b\"}\n",
	    "{\"verb\":\"\xff\"}\n",
	    "{\"verb\":1}\n",
	};
	char text[512];

	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		raw(*state, requests[i], false, text);
		if (strncmp(text, "{\"ok\":false,\"error\":\"", 21) != 0)
			fail_msg("%s -> %s", requests[i], text);
	}
	raw(*state, "{\"verb\":\"who\"}", true, text);
	assert_non_null(strstr(text, "does not end with a newline"));
	raw(*state, "", true, text);
	assert_non_null(strstr(text, "does not end with a newline"));
	expect_alive(*state);
}

static void test_too_long(void **state)
{
	auto_free char *request = malloc(4 * CONTROL_REQUEST_MAX_BYTES + 1);
	char text[512];

	memset(request, '[', 4 * CONTROL_REQUEST_MAX_BYTES);
	request[4 * CONTROL_REQUEST_MAX_BYTES] = '\0';
	raw(*state, request, false, text);
	assert_non_null(strstr(text, "longer than 131072 bytes"));
	memset(request, ' ', CONTROL_REQUEST_MAX_BYTES + 10);
	memcpy(request, "{\"verb\":\"who\"}", 14);
	request[CONTROL_REQUEST_MAX_BYTES + 10] = '\n';
	request[CONTROL_REQUEST_MAX_BYTES + 11] = '\0';
	raw(*state, request, false, text);
	assert_non_null(strstr(text, "longer than 131072 bytes"));
	expect_alive(*state);
}

static void test_half_a_line_ends_at_the_deadline(void **state)
{
	auto_close int fd = dial(*state);
	int64_t start = clock_monotonic_ms();
	char byte;

	assert_int_equal(send(fd, "{\"verb\"", 7, 0), 7);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	assert_in_range(clock_monotonic_ms() - start, CONTROL_CLIENT_DEADLINE_MS - 500,
	                CONTROL_CLIENT_DEADLINE_MS + 5000);
}

static void test_big_answer(void **state)
{
	json_t *answer = ask(*state, "big");

	assert_int_equal(json_string_length(json_object_get(answer, "big")), BIG_BYTES);
	json_decref(answer);
}

static void test_one_that_never_reads_costs_nobody_else(void **state)
{
	auto_close int fd = dial(*state);
	int64_t start = clock_monotonic_ms();
	char buffer[65536];
	size_t total = 0;
	ssize_t n;

	assert_int_equal(send(fd, "{\"verb\":\"big\"}\n", 15, 0), 15);
	while (clock_monotonic_ms() - start < CONTROL_CLIENT_DEADLINE_MS + 1000)
		expect_alive(*state);
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		total += (size_t)n;
	assert_true(total < BIG_BYTES); /* cut off */
}

static void test_many_clients_are_bounded(void **state)
{
	int fds[100];
	int64_t start = clock_monotonic_ms();
	char answer[512];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(*state);
	/* All slots are taken by silent clients; this one waits until their deadline. */
	raw(*state, "{\"verb\":\"who\"}\n", false, answer);
	assert_non_null(strstr(answer, "\"ok\":true"));
	assert_true(clock_monotonic_ms() - start >= CONTROL_CLIENT_DEADLINE_MS - 500);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	expect_alive(*state);
}

/* Asks as somebody else; returns whether admitted. */
static bool admitted(const struct fixture *f, uid_t uid, gid_t gid, gid_t supplementary)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		gid_t groups[] = {supplementary, STRANGER + 1};
		char answer[512];

		if (setgroups(2, groups) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
			_exit(2);
		raw(f, "{\"verb\":\"who\"}\n", false, answer);
		if (strstr(answer, "\"ok\":true"))
			_exit(strstr(answer, "uid 64999") ? 1 : 3);
		_exit(strstr(answer, "permission denied") ? 0 : 4);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_in_range(WEXITSTATUS(status), 0, 1);
	return WEXITSTATUS(status) == 1;
}

static void test_who_is_admitted(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_false(admitted(*state, STRANGER, STRANGER, STRANGER));
	assert_true(admitted(*state, STRANGER, STRANGER, GROUP));
	assert_true(admitted(*state, STRANGER, GROUP, STRANGER));
}

static void test_client_errors(void **state)
{
	const struct fixture *f = *state;
	json_t *request = json_pack("{s:s}", "verb", "who"), *answer = NULL;
	char why[CONTROL_CLIENT_ERROR_LEN];
	int64_t start;

	assert_int_equal(control_client_ask("/tmp/pw-none.sock", request, 1000, &answer, why),
	                 -ENOENT);
	assert_non_null(strstr(why, "not running"));
	kill(f->server, SIGSTOP);
	start = clock_monotonic_ms();
	assert_int_equal(control_client_ask(f->path, request, 200, &answer, why), -ETIMEDOUT);
	assert_in_range(clock_monotonic_ms() - start, 200, 1500);
	assert_non_null(strstr(why, "does not answer"));
	kill(f->server, SIGCONT);
	assert_null(answer);
	json_decref(request);
	expect_alive(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_names_wait_for_no_directory_service),
	    TEST(test_answers_now_and_later),
	    TEST(test_client_gone_before_the_answer),
	    TEST(test_garbage),
	    TEST(test_too_long),
	    TEST(test_half_a_line_ends_at_the_deadline),
	    TEST(test_big_answer),
	    TEST(test_one_that_never_reads_costs_nobody_else),
	    TEST(test_many_clients_are_bounded),
	    TEST(test_who_is_admitted),
	    TEST(test_client_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
