/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/paths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* bin and sbin lie right under the prefix, the helpers two levels below it. */
static int find_prefix(char out[static PATHS_MAX_LEN])
{
	static const char helpers[] = "/libexec/pprofwall";
	ssize_t n = readlink("/proc/self/exe", out, PATHS_MAX_LEN - 1);
	char *slash;
	size_t len;

	if (n < 0)
		return -errno;
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	len = strlen(out);
	if (len >= sizeof(helpers) - 1 && strcmp(out + len - (sizeof(helpers) - 1), helpers) == 0) {
		out[len - (sizeof(helpers) - 1)] = '\0';
		return 0;
	}
	slash = strrchr(out, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static int join(const char *prefix, const char *dir, const char *name,
                char out[static PATHS_MAX_LEN])
{
	int n = snprintf(out, PATHS_MAX_LEN, "%s%s%s", prefix, dir, name);

	return n < 0 || n >= PATHS_MAX_LEN ? -ENAMETOOLONG : 0;
}

int paths_libexec(const char *name, char out[static PATHS_MAX_LEN])
{
	char prefix[PATHS_MAX_LEN];
	int err = find_prefix(prefix);

	return err < 0 ? err : join(prefix, "/libexec/pprofwall/", name, out);
}

int paths_data(const char *name, char out[static PATHS_MAX_LEN])
{
	char prefix[PATHS_MAX_LEN];
	int err = find_prefix(prefix);

	return err < 0 ? err : join(prefix, "/share/pprofwall/", name, out);
}

int paths_sysconf(const char *name, char out[static PATHS_MAX_LEN])
{
	char prefix[PATHS_MAX_LEN];
	int err = find_prefix(prefix);

	if (err < 0)
		return err;
	return join(strcmp(prefix, "/usr") == 0 ? "" : prefix, "/etc/pprofwall/", name, out);
}
