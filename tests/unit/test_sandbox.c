/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Privileges after sandbox_drop(), as /proc/self/status shows them. Each case runs in a forked
 * child that reports by its exit status; the cases that change the uid need root. For the restart
 * case this program executes itself: "test_sandbox --restarted UID".
 */
#include "common/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the above */
#include <cmocka.h>

#include "common/cleanup.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_UID = 61501, TEST_GID = 61502 };

#define BIT(capability) (UINT64_C(1) << (capability))

static const int parent_keeps[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};
static const uint64_t parent_mask = BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL);

/* In a child a failed check must not run cmocka's longjmp: it says where, and exits. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void run_in_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void need_root(void)
{
	if (geteuid() != 0) {
		print_message("changing the uid needs root: skipped\n");
		skip();
	}
}

/* The text after "KEY:\t" in /proc/self/status. */
static const char *status_field(const char *key)
{
	static char line[512];
	size_t length = strlen(key);
	auto_fclose FILE *file = fopen("/proc/self/status", "re");

	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, length) || line[length] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		return line + length + 1 + strspn(line + length + 1, "\t ");
	}
	fprintf(stderr, "no %s in /proc/self/status\n", key);
	_exit(1);
}

static uint64_t status_mask(const char *key)
{
	return strtoull(status_field(key), NULL, 16);
}

static void check_capabilities(uint64_t wanted, uint64_t bounding)
{
	CHECK(status_mask("CapPrm") == wanted);
	CHECK(status_mask("CapEff") == wanted);
	CHECK(status_mask("CapInh") == 0);
	CHECK(status_mask("CapAmb") == 0);
	CHECK(status_mask("CapBnd") == bounding);
	CHECK(!strcmp(status_field("NoNewPrivs"), "1"));
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == SANDBOX_SANITIZED);
}

static void check_ids(unsigned uid, unsigned gid)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "%u\t%u\t%u\t%u", uid, uid, uid, uid);
	CHECK(!strcmp(status_field("Uid"), wanted));
	snprintf(wanted, sizeof(wanted), "%u\t%u\t%u\t%u", gid, gid, gid, gid);
	CHECK(!strcmp(status_field("Gid"), wanted));
	CHECK(!strcmp(status_field("Groups"), ""));
	if (uid != 0)
		CHECK(setuid(0) < 0 && seteuid(0) < 0);
}

static void drop(const struct sandbox_spec *spec)
{
	char why[SANDBOX_ERROR_LEN] = "";
	int rc = sandbox_drop(spec, why);

	if (rc < 0)
		fprintf(stderr, "sandbox_drop: %s\n", why);
	CHECK(rc == 0);
}

static void become_plain(void)
{
	const gid_t groups[] = {4, 24};

	CHECK(setgroups(2, groups) == 0);
	drop(&(struct sandbox_spec){.uid = TEST_UID, .gid = TEST_GID});
	check_ids(TEST_UID, TEST_GID);
	check_capabilities(0, 0);
}

static void test_plain_child(void **state)
{
	(void)state;
	need_root();
	run_in_child(become_plain);
}

static void become_firewall(void)
{
	const int capabilities[] = {CAP_NET_ADMIN};

	/* Inheritable and ambient capabilities that somebody left must go. */
	capng_get_caps_process();
	capng_update(CAPNG_ADD, CAPNG_INHERITABLE, CAP_NET_RAW);
	CHECK(capng_apply(CAPNG_SELECT_CAPS) == 0);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	drop(&(struct sandbox_spec){
	    .uid = TEST_UID, .gid = TEST_GID, .capabilities = capabilities, .n_capabilities = 1});
	check_ids(TEST_UID, TEST_GID);
	check_capabilities(BIT(CAP_NET_ADMIN), 0);
}

static void test_child_with_capability(void **state)
{
	(void)state;
	need_root();
	run_in_child(become_firewall);
}

static void become_parent(void)
{
	drop(&(struct sandbox_spec){.capabilities = parent_keeps,
	                            .n_capabilities = ARRAY_LEN(parent_keeps)});
	check_ids(0, 0);
	check_capabilities(parent_mask, parent_mask);
}

static void test_parent(void **state)
{
	(void)state;
	need_root();
	run_in_child(become_parent);
}

/* What a restarted prober does first: executed by the parent above, as uid 0. */
static int restarted_main(void)
{
	check_ids(0, 0);
	CHECK(status_mask("CapPrm") == parent_mask);
	drop(&(struct sandbox_spec){.uid = TEST_UID, .gid = TEST_GID});
	check_ids(TEST_UID, TEST_GID);
	check_capabilities(0, parent_mask);
	return 0;
}

static void restart(void)
{
	become_parent();
	execl("/proc/self/exe", "test_sandbox", "--restarted", (char *)NULL);
	_exit(1);
}

static void test_restarted_child(void **state)
{
	(void)state;
	need_root();
	run_in_child(restart);
}

/* It must not be able to come back by a restart either. */
static void restart_and_regain(void)
{
	const int capabilities[] = {CAP_NET_ADMIN};
	char why[SANDBOX_ERROR_LEN] = "";

	become_parent();
	CHECK(sandbox_drop(&(struct sandbox_spec){.uid = TEST_UID,
	                                          .gid = TEST_GID,
	                                          .capabilities = capabilities,
	                                          .n_capabilities = 1},
	                   why) < 0);
	CHECK(why[0]);
}

static void test_cannot_regain(void **state)
{
	(void)state;
	need_root();
	run_in_child(restart_and_regain);
}

static void keep_ordinary(void)
{
	uint64_t bounding;

	if (geteuid() == 0) {
		CHECK(setresgid(TEST_GID, TEST_GID, TEST_GID) == 0);
		CHECK(setresuid(TEST_UID, TEST_UID, TEST_UID) == 0);
	}
	bounding = status_mask("CapBnd");
	drop(&(struct sandbox_spec){.keep_uid = true});
	check_capabilities(0, bounding);
	CHECK(geteuid() != 0);
}

static void test_ordinary_user(void **state)
{
	(void)state;
	run_in_child(keep_ordinary);
}

static void refuse_bad_specs(void)
{
	const struct sandbox_spec bad[] = {
	    {.uid = (uid_t)-1, .gid = TEST_GID},
	    {.uid = TEST_UID, .gid = (gid_t)-1},
	    {.uid = TEST_UID, .gid = 0},
	    {.keep_uid = true},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char why[SANDBOX_ERROR_LEN] = "";

		CHECK(sandbox_drop(&bad[i], why) < 0);
		CHECK(why[0]);
	}
	/* And nothing was given up half-way. */
	CHECK(geteuid() == 0);
	CHECK(!strcmp(status_field("NoNewPrivs"), "0"));
}

static void test_bad_specs(void **state)
{
	(void)state;
	need_root();
	run_in_child(refuse_bad_specs);
}

/* An ordinary user cannot become another one: the step fails, and says which. */
static void change_without_right(void)
{
	char why[SANDBOX_ERROR_LEN] = "";

	if (geteuid() == 0)
		CHECK(setresuid(TEST_UID, TEST_UID, TEST_UID) == 0);
	CHECK(sandbox_drop(&(struct sandbox_spec){.uid = TEST_UID + 7, .gid = TEST_GID}, why) < 0);
	CHECK(strstr(why, "setgroups"));
}

static void test_change_without_right(void **state)
{
	(void)state;
	run_in_child(change_without_right);
}

static void test_find_user(void **state)
{
	uid_t uid = 77;
	gid_t gid = 78;

	(void)state;
	assert_int_equal(sandbox_find_user("0", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("00", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("root", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("4294967295", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("99999999999", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("12x", &uid, &gid), -EINVAL);
	assert_int_equal(sandbox_find_user("no-such-user-here", &uid, &gid), -ENOENT);
	assert_int_equal(uid, 77);
	assert_int_equal(gid, 78);
	assert_int_equal(sandbox_find_user("4294967294", &uid, &gid), 0);
	assert_true(uid == 4294967294U && gid == 4294967294U);
	assert_int_equal(sandbox_find_user("daemon", &uid, &gid), 0);
	assert_int_equal(uid, 1);
	assert_int_equal(gid, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain_child),   cmocka_unit_test(test_child_with_capability),
	    cmocka_unit_test(test_parent),        cmocka_unit_test(test_restarted_child),
	    cmocka_unit_test(test_cannot_regain), cmocka_unit_test(test_ordinary_user),
	    cmocka_unit_test(test_bad_specs),     cmocka_unit_test(test_change_without_right),
	    cmocka_unit_test(test_find_user),
	};

	if (argc == 2 && !strcmp(argv[1], "--restarted"))
		return restarted_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
