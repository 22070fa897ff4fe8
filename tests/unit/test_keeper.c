/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that keeps a sweep's files, in a folder of this test's own. What needs root (another
 * owner, a small tmpfs in an own mount namespace) is skipped without.
 */
/* Its commands are its own. NOLINTBEGIN(cert-env33-c) */
#include "common/cleanup.h"
#include "common/clock.h"
#include "scanner/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
	char folder[64];
	char state[96], stop[96], metrics[96];
};

static struct keeper *start(const struct keeper_conf *conf)
{
	char why[KEEPER_ERROR_LEN] = "";
	struct keeper *k = NULL;

	if (keeper_start(conf, &k, why) != 0)
		fail_msg("%s", why);
	return k;
}

static struct keeper *start_all(const struct place *p)
{
	const struct keeper_conf conf = {.state = p->state, .stop = p->stop, .metrics = p->metrics};

	return start(&conf);
}

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	*state = p;
	if (!p)
		return -1;
	strcpy(p->folder, "/tmp/test_keeper.XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	snprintf(p->state, sizeof(p->state), "%s/state.json", p->folder);
	snprintf(p->stop, sizeof(p->stop), "%s/stop", p->folder);
	snprintf(p->metrics, sizeof(p->metrics), "%s/sweep.prom", p->folder);
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", p->folder);
	free(p);
	return system(command);
}

static char *read_file(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 2 * KEEPER_MAX_BYTES, length = 0;
	char *text;
	ssize_t n;

	if (fd < 0)
		return NULL;
	text = malloc(size);
	assert_non_null(text);
	while ((n = read(fd, text + length, size - 1 - length)) > 0)
		length += (size_t)n;
	text[length] = '\0';
	return text;
}

static void check_file(const char *path, const char *expected)
{
	auto_free char *text = read_file(path);

	assert_non_null(text);
	assert_string_equal(text, expected);
}

static unsigned count_files(const char *folder)
{
	auto_closedir DIR *dir = opendir(folder);
	unsigned count = 0;

	while (readdir(dir))
		count++;
	return count - 2;
}

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static bool is_readable(const struct keeper *k, int timeout_ms)
{
	struct pollfd ready = {.fd = keeper_descriptor(k), .events = POLLIN};

	return poll(&ready, 1, timeout_ms) == 1;
}

static void files_are_written_with_their_modes(void **state)
{
	struct place *p = *state;
	struct keeper *k;
	struct stat st;
	mode_t old = umask(0077);

	k = start_all(p);
	umask(old);
	assert_int_equal(count_files(p->folder), 0);
	assert_int_equal(keeper_put_state(k, "one", 3), 0);
	assert_int_equal(keeper_put_metrics(k, "up 1\n", 5), 0);
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "one");
	check_file(p->metrics, "up 1\n");
	assert_int_equal(stat(p->state, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(p->metrics, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	/* and again, nothing being left beside them */
	assert_int_equal(keeper_put_state(k, "2", 1), 0);
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "2");
	assert_int_equal(count_files(p->folder), 2);
	keeper_free(k);
}

static void the_latest_wins(void **state)
{
	struct place *p = *state;
	struct keeper *k = start_all(p);
	char text[32];

	for (int i = 0; i <= 20000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(keeper_put_state(k, text, strlen(text)), 0);
	}
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "20000");
	keeper_free(k);
}

static void only_what_is_configured_is_kept(void **state)
{
	struct place *p = *state;
	const struct keeper_conf conf = {.metrics = p->metrics};
	struct keeper *k = start(&conf);
	auto_free char *big = calloc(1, KEEPER_MAX_BYTES + 1);

	assert_int_equal(keeper_put_state(k, "x", 1), -ENOENT);
	assert_int_equal(keeper_put_metrics(k, big, KEEPER_MAX_BYTES + 1), -EMSGSIZE);
	assert_int_equal(keeper_put_metrics(k, big, KEEPER_MAX_BYTES), 0);
	assert_int_equal(keeper_end(k), 0);
	assert_int_equal(count_files(p->folder), 1);
	make_file(p->stop);
	assert_false(is_readable(k, 700));
	keeper_free(k);
}

static void a_stop_file_is_seen(void **state)
{
	struct place *p = *state;
	struct keeper *k = start_all(p);
	int64_t began;

	assert_false(is_readable(k, 700));
	assert_false(keeper_was_stopped(k));
	began = clock_monotonic_ms();
	make_file(p->stop);
	assert_true(is_readable(k, 5000));
	assert_in_range(clock_monotonic_ms() - began, 0, 1500);
	assert_true(keeper_was_stopped(k));
	assert_true(keeper_was_stopped(k));
	assert_false(is_readable(k, 0)); /* once */
	assert_int_equal(keeper_put_state(k, "still", 5), 0);
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "still");
	assert_true(keeper_was_stopped(k));
	keeper_free(k);
}

/* A link to nothing, a folder, and one that is there at the start. */
static void any_kind_of_stop_file_counts(void **state)
{
	struct place *p = *state;
	struct keeper *k;

	assert_int_equal(symlink("/nowhere", p->stop), 0);
	k = start_all(p);
	assert_true(is_readable(k, 5000));
	assert_true(keeper_was_stopped(k));
	keeper_free(k);
	unlink(p->stop);
	assert_int_equal(mkdir(p->stop, 0), 0);
	k = start_all(p);
	assert_true(is_readable(k, 5000));
	assert_true(keeper_was_stopped(k));
	keeper_free(k);
}

static void check_refused(const struct keeper_conf *conf, int expected, const char *text)
{
	char why[KEEPER_ERROR_LEN] = "";
	struct keeper *k = NULL;

	assert_int_equal(keeper_start(conf, &k, why), expected);
	assert_null(k);
	if (!strstr(why, text))
		fail_msg("\"%s\" has not \"%s\"", why, text);
}

static void what_cannot_be_kept_is_said_at_the_start(void **state)
{
	struct place *p = *state;
	char nowhere[160], slash[160];

	snprintf(nowhere, sizeof(nowhere), "%s/nowhere/file", p->folder);
	snprintf(slash, sizeof(slash), "%s/", p->folder);
	check_refused(&(struct keeper_conf){.state = nowhere}, -ENOENT,
	              "/nowhere/file: its folder: No such file");
	check_refused(&(struct keeper_conf){.stop = nowhere}, -ENOENT, "nowhere");
	check_refused(&(struct keeper_conf){.metrics = slash}, -EISDIR, "is no file's name");
	check_refused(&(struct keeper_conf){.metrics = p->folder}, -EISDIR, "is a folder");
	check_refused(&(struct keeper_conf){.metrics = "/dev/null"},
	              geteuid() == 0 ? -EINVAL : -EACCES, "/dev/null: ");
	check_refused(&(struct keeper_conf){.state = "/proc/self/state"}, -ENOENT,
	              "/proc/self/state: cannot write in its folder");
}

static void an_owners_folder_needs_no_privilege(void **state)
{
	struct place *p = *state;
	struct keeper *k;
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(p->folder, 12345, 12345), 0);
	assert_int_equal(chmod(p->folder, 0700), 0);
	k = start_all(p);
	assert_int_equal(keeper_put_state(k, "x", 1), 0);
	make_file(p->stop);
	assert_int_equal(keeper_end(k), 0);
	assert_int_equal(stat(p->state, &st), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_true(keeper_was_stopped(k) || (is_readable(k, 5000) && keeper_was_stopped(k)));
	keeper_free(k);
}

/* Two owners: root has no capabilities by which it could write at both. */
static void two_owners_are_refused(void **state)
{
	struct place *p = *state;
	char folder[96], file[128];

	if (geteuid() != 0)
		skip();
	snprintf(folder, sizeof(folder), "%s/other", p->folder);
	snprintf(file, sizeof(file), "%s/sweep.prom", folder);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(chown(folder, 12346, 12346), 0);
	check_refused(&(struct keeper_conf){.state = p->state, .metrics = file}, -EACCES,
	              "other/sweep.prom: cannot write in its folder: Permission denied");
}

/* The keeper's only trace: the child of ours that is not waited for. */
static pid_t find_child(void)
{
	char path[64];
	FILE *children;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	children = fopen(path, "re");
	assert_non_null(children);
	while (fscanf(children, "%d", &pid) == 1)
		; /* the youngest is the last */
	fclose(children);
	return pid;
}

static void its_death_is_seen(void **state)
{
	struct place *p = *state;
	struct keeper *k = start_all(p);
	pid_t pid = find_child();

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(is_readable(k, 5000));
	assert_false(keeper_was_stopped(k));
	assert_int_equal(keeper_put_state(k, "x", 1), -EPIPE);
	assert_int_equal(keeper_put_state(k, "x", 1), -EPIPE);
	assert_int_equal(keeper_end(k), -EPIPE);
	keeper_free(k);
}

/* What it holds, besides the standard streams: its socket and three folders. No privileges. */
static void it_holds_nothing_else(void **state)
{
	struct place *p = *state;
	int stray = open("/dev/zero", O_RDONLY); /* not even close-on-exec */
	struct keeper *k = start_all(p);
	char path[64], line[256];
	pid_t pid = find_child();
	FILE *status;
	unsigned seen = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if (geteuid() == 0)
		assert_int_equal(count_files(path), 3 + 4);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, "CapPrm:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0) {
			assert_int_equal(strtoull(line + 7, NULL, 16), 0);
			seen++;
		}
		seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
	}
	fclose(status);
	assert_int_equal(seen, 3);
	close(stray);
	keeper_free(k);
}

/* A whole file, of one generation: all of its lines are the same number. */
static long check_whole(const char *path, size_t lines)
{
	auto_free char *text = read_file(path);
	char *at = text, *end;
	long first = -1;

	if (!text)
		return -1;
	for (size_t i = 0; i < lines; i++) {
		long n = strtol(at, &end, 10);

		if (i == 0)
			first = n;
		if (end == at || *end != '\n' || n != first)
			fail_msg("torn at line %zu", i);
		at = end + 1;
	}
	assert_int_equal(*at, '\0');
	return first;
}

enum { LINES = 4000 };

static _Noreturn void put_for_ever(const struct place *p, int report)
{
	struct keeper *k = start_all(p);
	auto_free char *text = malloc(LINES * 12);

	for (long generation = 1;; generation++) {
		size_t length = 0;

		for (int i = 0; i < LINES; i++)
			length += (size_t)sprintf(text + length, "%ld\n", generation);
		if (keeper_put_state(k, text, length) != 0)
			_exit(1);
		if (write(report, &generation, sizeof(generation)) < 0)
			_exit(1);
	}
}

/* All children, and the keepers that they leave behind: ours, since this is their reaper. */
static void wait_for_all(void)
{
	while (wait(NULL) > 0)
		;
}

static void killed_at_any_moment_the_file_is_whole(void **state)
{
	struct place *p = *state;

	wait_for_all();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	srandom(42);
	for (int round = 0; round < 40; round++) {
		long generation = 0;
		int report[2];
		pid_t pid;

		assert_int_equal(pipe2(report, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0)
			put_for_ever(p, report[1]);
		close(report[1]);
		for (long n = random() % 200; n >= 0; n--)
			assert_int_equal(read(report[0], &generation, sizeof(generation)),
			                 sizeof(generation));
		kill(pid, SIGKILL);
		close(report[0]);
		wait_for_all();
		/* nothing that was put before is lost */
		assert_true(check_whole(p->state, LINES) >= generation);
		assert_int_equal(count_files(p->folder), 1);
		unlink(p->state);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/* In a child, since its mount namespace is for good. */
static void run_on_small_disk(const struct place *p)
{
	auto_free char *big = calloc(1, KEEPER_MAX_BYTES);
	struct keeper *k;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("small", p->folder, "tmpfs", 0, "size=256k,mode=0755") < 0)
		_exit(77);
	k = start_all(p);
	assert_int_equal(keeper_put_state(k, "good", 4), 0);
	assert_int_equal(keeper_end(k), 0);
	assert_int_equal(keeper_put_state(k, big, KEEPER_MAX_BYTES), 0);
	assert_int_equal(keeper_end(k), -ENOSPC);
	check_file(p->state, "good");
	assert_int_equal(count_files(p->folder), 1);
	/* once, and no more while it lasts */
	assert_int_equal(keeper_put_state(k, big, KEEPER_MAX_BYTES), -ENOSPC);
	assert_int_equal(keeper_put_state(k, big, KEEPER_MAX_BYTES), 0);
	assert_int_equal(keeper_put_metrics(k, "m", 1), 0);
	assert_int_equal(keeper_end(k), -ENOSPC);
	check_file(p->state, "good");
	check_file(p->metrics, "m");
	/* when there is room again, it is over */
	assert_int_equal(keeper_put_state(k, "new", 3), 0);
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "new");
	assert_int_equal(keeper_put_state(k, big, KEEPER_MAX_BYTES), 0);
	assert_int_equal(keeper_end(k), -ENOSPC);
	assert_int_equal(keeper_put_state(k, "newer", 5), -ENOSPC);
	assert_int_equal(keeper_end(k), 0);
	check_file(p->state, "newer");
	keeper_free(k);
}

static void a_full_disk_keeps_the_old_file(void **state)
{
	struct place *p = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		run_on_small_disk(p); /* a failed assertion ends it by another status */
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(files_are_written_with_their_modes),
	    TEST(the_latest_wins),
	    TEST(only_what_is_configured_is_kept),
	    TEST(a_stop_file_is_seen),
	    TEST(any_kind_of_stop_file_counts),
	    TEST(what_cannot_be_kept_is_said_at_the_start),
	    TEST(an_owners_folder_needs_no_privilege),
	    TEST(two_owners_are_refused),
	    TEST(its_death_is_seen),
	    TEST(it_holds_nothing_else),
	    TEST(killed_at_any_moment_the_file_is_whole),
	    TEST(a_full_disk_keeps_the_old_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* NOLINTEND(cert-env33-c) */
