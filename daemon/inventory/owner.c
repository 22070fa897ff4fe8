/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/owner.h"

#include "common/cleanup.h"
#include "daemon/inventory/cgroup.h"
#include "daemon/inventory/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
	MAX_FDS = 16 * 1024, /* of one process; who has more opened its listeners before */
	/* Of one search, in descriptors that it reads. */
	BUDGET = 4 * MAX_FDS,
	OPEN_COST = 8, /* of a process */
	STAT_BYTES = 1024,
	CGROUP_BYTES = 8 * 1024,
	START_FIELD = 22, /* proc(5) */
};

static ssize_t read_file(int dir, const char *name, char *buffer, size_t size)
{
	auto_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (length < size - 1 && (n = read(fd, buffer + length, size - 1 - length)) > 0)
		length += (size_t)n;
	if (n < 0)
		return -errno;
	buffer[length] = '\0';
	return (ssize_t)length;
}

/* "1234 (a name) with) S 1 ...": the name ends at the last parenthesis. */
static bool read_stat(int dir, struct owner *o)
{
	char text[STAT_BYTES], *name, *end, *rest, *field = NULL;

	if (read_file(dir, "stat", text, sizeof(text)) <= 0)
		return false;
	name = strchr(text, '(');
	end = strrchr(text, ')');
	if (!name || !end || end < name)
		return false;
	text_copy(o->command, sizeof(o->command), name + 1, (size_t)(end - name - 1));
	rest = end + 1;
	/* Behind the name comes a blank, then field 3. */
	for (int i = 2; i <= START_FIELD; i++) {
		field = strsep(&rest, " ");
		if (!field)
			return false;
	}
	o->start = strtoull(field, &end, 10);
	return end != field;
}

static void read_executable(int dir, struct owner *o)
{
	char link[4096];
	ssize_t n = readlinkat(dir, "exe", link, sizeof(link));

	text_copy(o->executable, sizeof(o->executable), link, n > 0 ? (size_t)n : 0);
}

static void read_cgroup(int dir, struct owner *o)
{
	char text[CGROUP_BYTES];
	ssize_t n = read_file(dir, "cgroup", text, sizeof(text));
	struct cgroup_owner found;

	cgroup_parse(text, n > 0 ? (size_t)n : 0, &found);
	text_copy(o->cgroup, sizeof(o->cgroup), found.path, found.path_length);
	text_copy(o->unit, sizeof(o->unit), found.unit, strlen(found.unit));
	text_copy(o->container, sizeof(o->container), found.container, strlen(found.container));
	text_copy(o->runtime, sizeof(o->runtime), found.runtime, strlen(found.runtime));
}

/* A process that ends meanwhile leaves *o as it was. */
static bool describe(int dir, pid_t pid, struct owner *o)
{
	struct owner read = {.pid = pid};

	if (!read_stat(dir, &read))
		return false;
	read_executable(dir, &read);
	read_cgroup(dir, &read);
	*o = read;
	return true;
}

static int open_process(int proc_fd, pid_t pid)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", pid);
	return openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int compare_inodes(const void *a, const void *b)
{
	const struct owner_search *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static void spend(size_t *budget, size_t amount)
{
	*budget -= amount < *budget ? amount : *budget;
}

/* Looks through one process, to its end; returns how many of the sockets are its. */
static size_t search_process(int proc_fd, pid_t pid, size_t *budget, struct owner_search *searches,
                             size_t count)
{
	auto_close int dir = open_process(proc_fd, pid);
	auto_closedir DIR *fds = NULL;
	static const char socket_link[] = "socket:[";
	struct owner self = {0};
	const struct dirent *entry;
	size_t found = 0, n_read = 0;
	int fd = dir < 0 ? -1 : openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	spend(budget, OPEN_COST);
	if (fd < 0)
		return 0;
	fds = fdopendir(fd);
	if (!fds) {
		close(fd);
		return 0;
	}
	for (; n_read < MAX_FDS && found < count && (entry = readdir(fds)); n_read++) {
		struct owner_search wanted = {0}, *hit;
		char link[64];
		ssize_t n = readlinkat(fd, entry->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (strncmp(link, socket_link, sizeof(socket_link) - 1) != 0)
			continue;
		wanted.inode = (uint32_t)strtoul(link + sizeof(socket_link) - 1, NULL, 10);
		hit = bsearch(&wanted, searches, count, sizeof(*searches), compare_inodes);
		if (!hit || hit->owner.pid)
			continue;
		if (!self.pid && !describe(dir, pid, &self))
			break;
		hit->owner = self;
		found++;
	}
	spend(budget, n_read);
	return found;
}

void owner_walk_refill(struct owner_walk *w)
{
	w->hint_budget = w->budget = BUDGET;
}

void owner_find_at(int proc_fd, pid_t pid, struct owner_walk *walk, struct owner_search *searches,
                   size_t count)
{
	if (pid && walk->hint_budget)
		(void)search_process(proc_fd, pid, &walk->hint_budget, searches, count);
}

bool owner_find(int proc_fd, const struct namespaces *all, uint64_t netns, pid_t hint,
                struct owner_walk *walk, struct owner_search *searches, size_t count)
{
	size_t found = 0;

	if (hint && walk->hint_budget)
		found += search_process(proc_fd, hint, &walk->hint_budget, searches, count);
	for (; found < count; walk->others = true, walk->after = 0) {
		for (size_t i = 0; i < all->n_processes && found < count; i++) {
			const struct namespaces_process *p = &all->processes[i];

			if ((p->netns != netns) != walk->others || p->pid == hint ||
			    p->pid <= walk->after)
				continue;
			if (!walk->budget)
				return false;
			found += search_process(proc_fd, p->pid, &walk->budget, searches, count);
			walk->after = p->pid;
		}
		if (walk->others)
			break;
	}
	walk->others = false;
	walk->after = 0;
	return true;
}

bool owner_refresh(int proc_fd, struct owner *o)
{
	auto_close int dir = open_process(proc_fd, o->pid);
	struct owner read = *o;

	if (dir < 0 || !describe(dir, o->pid, &read) || read.start != o->start)
		return false;
	*o = read;
	return true;
}
