/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/setup.h"

#include "common/cleanup.h"
#include "common/control.h"
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define explain(why, ...) snprintf(why, CONF_ERROR_LEN, __VA_ARGS__)

/* At most a little more than a configuration may have: the loader says so with the limit. */
static int copy_bytes(int from, int to)
{
	char chunk[16384];
	size_t total = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0 && total <= CONF_MAX_BYTES && (n = read(from, chunk, sizeof(chunk))) != 0) {
		if (n < 0)
			rc = -errno;
		else if (write(to, chunk, (size_t)n) != n)
			rc = -EIO;
		else
			total += (size_t)n;
	}
	/* Secrets are among them, and this stack is there as long as the service. */
	explicit_bzero(chunk, sizeof(chunk));
	return rc;
}

int setup_read_config(const char *path)
{
	auto_close int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	auto_close int copy = -1;
	struct stat st;
	int rc;

	if (file < 0 || fstat(file, &st) < 0)
		return -errno;
	copy = memfd_create("pprofwall.yaml", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return -errno;
	/* The loader refuses it by its size; there is no need to read it for that. */
	if (S_ISREG(st.st_mode) && st.st_size > CONF_MAX_BYTES)
		return ftruncate(copy, st.st_size) < 0 ? -errno : steal_fd(&copy);
	rc = copy_bytes(file, copy);
	if (rc < 0)
		return rc;
	/* Children read the same bytes at different times: nobody may change them meanwhile. */
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return steal_fd(&copy);
}

int setup_check_owner(const char *path, char why[static CONF_ERROR_LEN])
{
	struct stat st;

	if (stat(path, &st) < 0) {
		explain(why, "%s: %s", path, strerror(errno));
		return -errno;
	}
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		explain(why,
		        "%s: owner is uid %u, mode %04o; expected a file that only root can write",
		        path, st.st_uid, st.st_mode & 07777U);
		return -EPERM;
	}
	return 0;
}

/* A group's name or number. */
static int find_group(const char *text, gid_t *gid)
{
	uint64_t number;
	const struct group *group;

	if (conf_parse_number(text, UINT32_MAX - 1, &number) == 0) {
		*gid = (gid_t)number;
		return 0;
	}
	group = getgrnam(text);
	if (!group)
		return -ENOENT;
	*gid = group->gr_gid;
	return 0;
}

static int find_users(const struct conf *conf, struct setup *s, char why[static CONF_ERROR_LEN])
{
	const char *const users[IPC_ROLE_COUNT] = {
	    [IPC_ROLE_AGENT] = conf->users.agent,
	    [IPC_ROLE_FIREWALL] = conf->users.firewall,
	    [IPC_ROLE_PROBER] = conf->users.prober,
	    [IPC_ROLE_SENDER] = conf->users.sender,
	    [IPC_ROLE_INVENTORY] = conf->users.inventory,
	    [IPC_ROLE_FILTER] = conf->users.filter,
	    [IPC_ROLE_RUNNER] = conf->users.runner,
	};

	for (int role = 0; role < IPC_ROLE_COUNT; role++) {
		struct child_identity *id = &s->identities[role];
		int err = sandbox_find_user(users[role], &id->uid, &id->gid);

		if (err < 0) {
			explain(
			    why,
			    "users.%s: there is no user \"%s\"; make it with systemd-sysusers, or "
			    "name another one",
			    child_role_name((enum ipc_role)role), users[role]);
			return err;
		}
		/* Processes of one uid may signal and trace each other: no wall between them. */
		for (int other = 0; other < role; other++) {
			if (s->identities[other].uid != id->uid)
				continue;
			explain(why, "users.%s and users.%s are both uid %u; expected one uid each",
			        child_role_name((enum ipc_role)other),
			        child_role_name((enum ipc_role)role), id->uid);
			return -EINVAL;
		}
	}
	return 0;
}

/*
 * Makes a directory and its missing parents, as root. What exists must be root's or the owner's,
 * and not writable by the world: else somebody could put something else in its place.
 */
static int make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid,
                          char why[static CONF_ERROR_LEN])
{
	char part[PATHS_MAX_LEN];
	auto_close int fd = -1;
	struct stat st;
	int err;

	if (strlen(path) >= sizeof(part)) {
		explain(why, "%s: %s", path, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	strcpy(part, path);
	for (char *p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			goto failed;
		*p = '/';
	}
	if (mkdir(path, mode) == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
			goto failed;
		return 0;
	}
	if (errno != EEXIST)
		goto failed;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		goto failed;
	if ((st.st_uid != 0 && st.st_uid != uid) || (st.st_mode & S_IWOTH)) {
		explain(why,
		        "%s: owner is uid %u, mode %04o; expected root or uid %u, and no write "
		        "for others",
		        path, st.st_uid, st.st_mode & 07777U, uid);
		return -EPERM;
	}
	if (uid != 0 && fchown(fd, uid, gid) < 0)
		goto failed;
	return 0;
failed:
	err = -errno;
	explain(why, "%s: %s", path, strerror(-err));
	return err;
}

static int take_lock(const char *directory, struct setup *s, char why[static CONF_ERROR_LEN])
{
	char path[PATHS_MAX_LEN];

	snprintf(path, sizeof(path), "%s/pprofwalld.lock", directory);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0) {
		explain(why, "%.400s: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		explain(why, "%.400s is locked: another pprofwalld runs with this control.socket",
		        path);
		return -EBUSY;
	}
	return 0;
}

static int listen_control(const struct conf *conf, struct setup *s, char why[static CONF_ERROR_LEN])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	const char *path = conf->control.socket;
	mode_t old_mask;
	gid_t group;
	int err;

	if (find_group(conf->control.group, &group) < 0) {
		/* Root alone, then: a missing group opens nothing to anybody. */
		group = 0;
	}
	if (strlen(path) >= sizeof(sun.sun_path)) {
		explain(why, "%s: %s", path, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	strcpy(sun.sun_path, path);
	s->control_sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->control_sock < 0 || (unlink(path) < 0 && errno != ENOENT)) {
		err = -errno;
		explain(why, "%s: %s", path, strerror(errno));
		return err;
	}
	old_mask = umask(0177);
	err = bind(s->control_sock, (const struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
	umask(old_mask);
	if (err == 0 &&
	    (chown(path, 0, group) < 0 || chmod(path, 0660) < 0 || listen(s->control_sock, 32) < 0))
		err = -errno;
	if (err < 0)
		explain(why, "%s: %s", path, strerror(-err));
	return err;
}

static bool panic_marker_exists(const char *state_directory)
{
	char path[PATHS_MAX_LEN];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" PPROFWALL_PANIC_MARKER, state_directory);
	/* Anything of that name, and any doubt about it, keeps enforcement off. */
	return lstat(path, &st) == 0 || errno != ENOENT;
}

int setup_make(const struct conf *conf, struct setup *out, char why[static CONF_ERROR_LEN])
{
	struct setup s = {.control_sock = -1, .lock_fd = -1};
	char socket_path[PATHS_MAX_LEN];
	const char *directory;
	int err = find_users(conf, &s, why);

	*out = s;
	if (err < 0)
		return err;
	snprintf(socket_path, sizeof(socket_path), "%s", conf->control.socket);
	directory = dirname(socket_path);
	if (snprintf(s.firewall_pidfile, sizeof(s.firewall_pidfile), "%s/%s", directory,
	             PPROFWALL_FIREWALL_PIDFILE) >= (int)sizeof(s.firewall_pidfile)) {
		explain(why, "%s: %s", directory, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	err = make_directory(directory, 0755, 0, 0, why);
	if (err == 0)
		err = make_directory(conf->state.directory, 0700, s.identities[IPC_ROLE_AGENT].uid,
		                     s.identities[IPC_ROLE_AGENT].gid, why);
	if (err == 0)
		err = take_lock(directory, &s, why);
	if (err == 0)
		err = listen_control(conf, &s, why);
	s.panic = err == 0 && panic_marker_exists(conf->state.directory);
	if (err < 0) {
		setup_fini(&s, NULL);
		return err;
	}
	*out = s;
	return 0;
}

int setup_write_pidfile(const struct setup *s, pid_t firewall)
{
	auto_fclose FILE *file = NULL;

	unlink(s->firewall_pidfile);
	file = fopen(s->firewall_pidfile, "wxe");
	if (!file || fprintf(file, "%d\n", firewall) < 0 || fflush(file) != 0)
		return -errno;
	return 0;
}

void setup_fini(struct setup *s, const struct conf *conf)
{
	if (conf) {
		unlink(conf->control.socket);
		unlink(s->firewall_pidfile);
	}
	if (s->control_sock >= 0)
		close(steal_fd(&s->control_sock));
	if (s->lock_fd >= 0)
		close(steal_fd(&s->lock_fd));
}
