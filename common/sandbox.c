/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static int fail(char *why, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SANDBOX_ERROR_LEN, format, args);
	va_end(args);
	return -error;
}

static int fail_errno(char *why, const char *step)
{
	int error = errno ? errno : EPERM;

	return fail(why, error, "%s: %s", step, strerror(error));
}

static bool spec_keeps(const struct sandbox_spec *spec, int capability)
{
	for (unsigned i = 0; i < spec->n_capabilities; i++)
		if (spec->capabilities[i] == capability)
			return true;
	return false;
}

/* Only uid 0 has a use for a bounding set: its children are executed with it. */
static bool bounding_keeps(const struct sandbox_spec *spec, int capability)
{
	return !spec->keep_uid && spec->uid == 0 && spec_keeps(spec, capability);
}

static bool kernel_knows(int capability)
{
	return prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
}

static int check_spec(const struct sandbox_spec *spec, char *why)
{
	uid_t real, effective, saved;

	if (getresuid(&real, &effective, &saved) < 0)
		return fail_errno(why, "getresuid");
	if (spec->keep_uid) {
		if (effective == 0 || real != effective || saved != effective)
			return fail(why, EPERM, "the uid can be kept only by an ordinary user");
		return 0;
	}
	/* To setresuid(2), -1 means "leave it as it is". */
	if (spec->uid == (uid_t)-1 || spec->gid == (gid_t)-1)
		return fail(why, EINVAL, "uid or gid out of range");
	if (spec->uid != 0 && spec->gid == 0)
		return fail(why, EINVAL, "gid 0 for uid %u", (unsigned)spec->uid);
	return 0;
}

static int drop_bounding(const struct sandbox_spec *spec, char *why)
{
	for (int c = 0; kernel_knows(c); c++)
		if (!bounding_keeps(spec, c) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return fail_errno(why, "dropping the bounding set");
	return 0;
}

static int change_ids(const struct sandbox_spec *spec, char *why)
{
	/* Else going from uid 0 to another empties the permitted set before we choose from it. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail_errno(why, "PR_SET_KEEPCAPS");
	if (setgroups(0, NULL) < 0)
		return fail_errno(why, "setgroups");
	if (setresgid(spec->gid, spec->gid, spec->gid) < 0)
		return fail_errno(why, "setresgid");
	if (setresuid(spec->uid, spec->uid, spec->uid) < 0)
		return fail_errno(why, "setresuid");
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return fail_errno(why, "PR_SET_KEEPCAPS");
	return 0;
}

/* Also empties inheritable, and with it ambient. */
static int set_capabilities(const struct sandbox_spec *spec, char *why)
{
	capng_clear(CAPNG_SELECT_CAPS);
	for (unsigned i = 0; i < spec->n_capabilities; i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
		                 (unsigned)spec->capabilities[i]) < 0)
			return fail(why, EINVAL, "no such capability: %d", spec->capabilities[i]);
	errno = 0;
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return fail_errno(why, "setting the capabilities");
	return 0;
}

static int verify_ids(const struct sandbox_spec *spec, char *why)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
		return fail_errno(why, "reading the uid back");
	if (!spec->keep_uid) {
		if (ruid != spec->uid || euid != spec->uid || suid != spec->uid)
			return fail(why, EPERM, "the uid did not change");
		if (rgid != spec->gid || egid != spec->gid || sgid != spec->gid)
			return fail(why, EPERM, "the gid did not change");
		if (getgroups(0, NULL) != 0)
			return fail(why, EPERM, "supplementary groups are left");
	}
	/* The last word is the kernel's, whatever was read. */
	if (euid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return fail(why, EPERM, "the process can become root again");
	return 0;
}

static int verify_capabilities(const struct sandbox_spec *spec, bool could_drop_bounding, char *why)
{
	if (capng_get_caps_process() < 0)
		return fail(why, EIO, "cannot read the capabilities back");
	for (int c = 0; kernel_knows(c); c++) {
		unsigned capability = (unsigned)c;
		int wanted = spec_keeps(spec, c);

		if (capng_have_capability(CAPNG_PERMITTED, capability) != wanted ||
		    capng_have_capability(CAPNG_EFFECTIVE, capability) != wanted ||
		    capng_have_capability(CAPNG_INHERITABLE, capability) ||
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) > 0)
			return fail(why, EPERM, "capability %d is not as it should be", c);
		if (could_drop_bounding &&
		    prctl(PR_CAPBSET_READ, c, 0, 0, 0) != bounding_keeps(spec, c))
			return fail(why, EPERM, "capability %d: wrong bounding set", c);
	}
	return 0;
}

static int verify_flags(char *why)
{
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return fail(why, EPERM, "no_new_privs is not set");
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != SANDBOX_SANITIZED)
		return fail(why, EPERM, "the process is still dumpable");
	return 0;
}

int sandbox_drop(const struct sandbox_spec *spec, char why[static SANDBOX_ERROR_LEN])
{
	bool can_drop_bounding;
	int rc = check_spec(spec, why);

	if (rc < 0)
		return rc;
	if (capng_get_caps_process() < 0)
		return fail(why, EIO, "cannot read the capabilities");
	can_drop_bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail_errno(why, "PR_SET_NO_NEW_PRIVS");
	/* The bounding set first: CAP_SETPCAP is gone afterwards. */
	if (can_drop_bounding && (rc = drop_bounding(spec, why)) < 0)
		return rc;
	if (!spec->keep_uid && (rc = change_ids(spec, why)) < 0)
		return rc;
	if ((rc = set_capabilities(spec, why)) < 0)
		return rc;
	/* Last: a change of uid or capabilities sets it anew. */
	if (prctl(PR_SET_DUMPABLE, SANDBOX_SANITIZED, 0, 0, 0) < 0)
		return fail_errno(why, "PR_SET_DUMPABLE");

	if ((rc = verify_ids(spec, why)) < 0 ||
	    (rc = verify_capabilities(spec, can_drop_bounding, why)) < 0)
		return rc;
	return verify_flags(why);
}

unsigned sandbox_choose_held(const int *wanted, unsigned n, int *held)
{
	unsigned count = 0;

	if (capng_get_caps_process() < 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		if (capng_have_capability(CAPNG_PERMITTED, (unsigned)wanted[i]) == 1)
			held[count++] = wanted[i];
	return count;
}

int sandbox_parse_id(const char *text, uint32_t *out)
{
	unsigned long long value;

	if (text[0] == '0' || strlen(text) > 10 || strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	value = strtoull(text, NULL, 10);
	if (value == 0 || value >= UINT32_MAX)
		return -EINVAL;
	*out = (uint32_t)value;
	return 0;
}

int sandbox_find_user(const char *user, uid_t *uid, gid_t *gid)
{
	char buffer[16384];
	struct passwd entry, *found = NULL;
	uint32_t id;
	int rc;

	if (user[0] == '\0')
		return -EINVAL;
	if (user[0] >= '0' && user[0] <= '9') {
		rc = sandbox_parse_id(user, &id);
		if (rc < 0)
			return rc;
		*uid = id;
		*gid = id;
		return 0;
	}
	rc = getpwnam_r(user, &entry, buffer, sizeof(buffer), &found);
	if (!found)
		/* What getpwnam_r(3) may say for a name that does not exist. */
		return rc == 0 || rc == ESRCH || rc == EBADF || rc == EPERM ? -ENOENT : -rc;
	if (entry.pw_uid == 0 || entry.pw_gid == 0)
		return -EINVAL;
	*uid = entry.pw_uid;
	*gid = entry.pw_gid;
	return 0;
}
