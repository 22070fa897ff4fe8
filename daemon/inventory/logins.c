/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/logins.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Sockets of all of them; more are not looked for. */
enum { MAX_SOCKETS = 4096 };
enum { LINK_BYTES = 64, NAME_BYTES = NAME_MAX + 8, STATUS_BYTES = 4096 };

struct sockets {
	size_t count;
	uint32_t inodes[MAX_SOCKETS];
};

static const char deleted[] = " (deleted)"; /* what runs on after an upgrade */

/* sshd listens; since OpenSSH 9.8 another program serves the connection. */
static bool is_ssh_server(const char *name)
{
	static const char *const names[] = {"sshd", "sshd-session", "sshd-auth", "dropbear"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* Where the program of a process was started from, if it is called like an SSH server. */
static bool read_program(int proc_fd, const char *pid, char program[static PATH_MAX])
{
	char path[NAME_BYTES];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/exe", pid);
	n = readlinkat(proc_fd, path, program, PATH_MAX - 1);
	if (n <= 0)
		return false;
	program[n] = '\0';
	if ((size_t)n > sizeof(deleted) - 1 &&
	    strcmp(program + n - (sizeof(deleted) - 1), deleted) == 0)
		program[(size_t)n - (sizeof(deleted) - 1)] = '\0';
	slash = strrchr(program, '/');
	return slash && is_ssh_server(slash + 1);
}

static bool is_roots_alone(const struct stat *st)
{
	return st->st_uid == 0 && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* Ours may be that of a container; it is the host's where nobody may look at the first process. */
static bool has_hosts_root(int proc_fd, int process)
{
	struct stat root, hosts;

	return fstatat(process, "root", &root, 0) == 0 &&
	       (fstatat(proc_fd, "1/root", &hosts, 0) == 0 || stat("/", &hosts) == 0) &&
	       root.st_dev == hosts.st_dev && root.st_ino == hosts.st_ino;
}

/* The program itself, also one that was deleted; and where it lies, as that process sees it. */
static bool is_roots_program(int process, const char *program)
{
	char directory[PATH_MAX + 8];
	struct stat st;

	if (fstatat(process, "exe", &st, 0) < 0 || !S_ISREG(st.st_mode) || !is_roots_alone(&st))
		return false;
	snprintf(directory, sizeof(directory), "root%s", program);
	*strrchr(directory, '/') = '\0';
	return fstatat(process, directory, &st, 0) == 0 && S_ISDIR(st.st_mode) &&
	       is_roots_alone(&st);
}

/* "Uid:" has the real one first, and the effective one. A line's end in a name is written so. */
static bool is_roots_process(int process)
{
	auto_close int fd = openat(process, "status", O_RDONLY | O_CLOEXEC);
	char text[STATUS_BYTES];
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return strstr(text, "\nUid:\t0\t0\t") != NULL;
}

static int add_sockets(int process, struct sockets *out)
{
	static const char socket_link[] = "socket:[";
	auto_closedir DIR *fds = NULL;
	const struct dirent *entry;
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	fds = fdopendir(fd);
	if (!fds) {
		close(fd);
		return -ENOMEM;
	}
	while (out->count < MAX_SOCKETS && (entry = readdir(fds))) {
		char link[LINK_BYTES];
		ssize_t n = readlinkat(fd, entry->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (strncmp(link, socket_link, sizeof(socket_link) - 1) == 0)
			out->inodes[out->count++] =
			    (uint32_t)strtoul(link + sizeof(socket_link) - 1, NULL, 10);
	}
	return 0;
}

static void look_at(int proc_fd, const char *pid, struct sockets *out)
{
	char program[PATH_MAX];
	auto_close int process = -1;

	if (!read_program(proc_fd, pid, program))
		return;
	/* From here on, of one and the same process. */
	process = openat(proc_fd, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process >= 0 && is_roots_process(process) && has_hosts_root(proc_fd, process) &&
	    is_roots_program(process, program))
		(void)add_sockets(process, out);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int logins_list(struct diag_list *out)
{
	struct sockets sockets = {.count = 0};
	auto_closedir DIR *dir = opendir("/proc");
	const struct dirent *entry;

	*out = (struct diag_list){0};
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			look_at(dirfd(dir), entry->d_name, &sockets);
	}
	qsort(sockets.inodes, sockets.count, sizeof(sockets.inodes[0]), compare);
	return diag_list_held(sockets.inodes, sockets.count, out);
}
