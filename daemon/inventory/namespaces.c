/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/namespaces.h"

#include "common/bisect.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINK_BYTES = 64 };

/* "net:[4026531840]" to the number; 0 for anything else. */
static uint64_t parse_link(const char *text)
{
	static const char prefix[] = "net:[";
	uint64_t ino;
	char *end;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	ino = strtoull(text + sizeof(prefix) - 1, &end, 10);
	return strcmp(end, "]") == 0 ? ino : 0;
}

uint64_t namespaces_of_task(int proc_fd, pid_t task)
{
	char path[LINK_BYTES], link[LINK_BYTES];
	ssize_t n;

	snprintf(path, sizeof(path), "%d/ns/net", task);
	n = readlinkat(proc_fd, path, link, sizeof(link) - 1);
	if (n <= 0)
		return 0;
	link[n] = '\0';
	return parse_link(link);
}

static void *grow(void *items, size_t count, size_t size)
{
	/* By doubling, from 64 on. */
	if (count < 64 ? count != 0 : (count & (count - 1)) != 0)
		return items;
	return reallocarray(items, count < 64 ? 64 : count * 2, size);
}

static int add_process(struct namespaces *n, pid_t pid, uint64_t netns)
{
	struct namespaces_process *p = grow(n->processes, n->n_processes, sizeof(*p));

	if (!p)
		return -ENOMEM;
	n->processes = p;
	p[n->n_processes++] = (struct namespaces_process){.pid = pid, .netns = netns};
	return 0;
}

static int add_ref(struct namespaces *n, const struct namespaces_ref *ref)
{
	struct namespaces_ref *refs = grow(n->refs, n->n_refs, sizeof(*refs));

	if (!refs)
		return -ENOMEM;
	n->refs = refs;
	return namespaces_copy_ref(ref, &refs[n->n_refs++]);
}

static int find_processes(int proc_fd, struct namespaces *n)
{
	auto_closedir DIR *dir = NULL;
	int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *entry;
	uint64_t last = 0;
	int err = 0;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (err == 0 && (entry = readdir(dir))) {
		struct namespaces_ref ref = {0};

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		ref.task = (pid_t)strtol(entry->d_name, NULL, 10);
		ref.netns = namespaces_of_task(proc_fd, ref.task);
		err = add_process(n, ref.task, ref.netns);
		/* Neighbours mostly share one; the rest is sorted out at the end. */
		if (err == 0 && ref.netns && ref.netns != last)
			err = add_ref(n, &ref);
		last = ref.netns;
	}
	return err;
}

/* In place: mountinfo writes blanks and backslashes as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* "36 35 0:4 net:[4026532201] /run/netns/a rw,...": its root says which namespace it is. */
static int add_mount(struct namespaces *n, char *line)
{
	struct namespaces_ref ref = {0};
	char *word[5], *rest = line;

	for (size_t i = 0; i < 5; i++) {
		word[i] = strsep(&rest, " \n");
		if (!word[i])
			return 0;
	}
	ref.netns = parse_link(word[3]);
	if (!ref.netns)
		return 0;
	unescape(word[4]);
	ref.path = word[4];
	return add_ref(n, &ref);
}

static int find_mounts(int proc_fd, struct namespaces *n)
{
	auto_fclose FILE *file = NULL;
	auto_free char *line = NULL;
	size_t room = 0;
	int fd = openat(proc_fd, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	while (err == 0 && getline(&line, &room, file) > 0)
		err = add_mount(n, line);
	return err;
}

/* By number; a mount before a task, since it will be there the next time, too. */
static int compare_refs(const void *a, const void *b)
{
	const struct namespaces_ref *x = a, *y = b;

	if (x->netns != y->netns)
		return x->netns < y->netns ? -1 : 1;
	return (x->task > y->task) - (x->task < y->task);
}

static int compare_processes(const void *a, const void *b)
{
	const struct namespaces_process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

int namespaces_find(int proc_fd, struct namespaces *out)
{
	struct namespaces n = {0};
	size_t kept = 0;
	int err = find_processes(proc_fd, &n);

	if (err == 0)
		err = find_mounts(proc_fd, &n);
	if (err < 0) {
		namespaces_free(&n);
		return err;
	}
	if (n.n_refs)
		qsort(n.refs, n.n_refs, sizeof(*n.refs), compare_refs);
	if (n.n_processes)
		qsort(n.processes, n.n_processes, sizeof(*n.processes), compare_processes);
	for (size_t i = 0; i < n.n_refs; i++) {
		if (kept && n.refs[kept - 1].netns == n.refs[i].netns)
			namespaces_free_ref(&n.refs[i]);
		else
			n.refs[kept++] = n.refs[i];
	}
	n.n_refs = kept;
	*out = n;
	return 0;
}

static int compare_ref(const void *refs, size_t i, const void *key)
{
	uint64_t netns = ((const struct namespaces_ref *)refs)[i].netns;
	uint64_t wanted = *(const uint64_t *)key;

	return (netns > wanted) - (netns < wanted);
}

bool namespaces_has(const struct namespaces *n, uint64_t netns)
{
	bool found;

	(void)bisect_find(n->refs, n->n_refs, compare_ref, &netns, &found);
	return found;
}

void namespaces_free(struct namespaces *n)
{
	for (size_t i = 0; i < n->n_refs; i++)
		namespaces_free_ref(&n->refs[i]);
	free(n->refs);
	free(n->processes);
	*n = (struct namespaces){0};
}

int namespaces_copy_ref(const struct namespaces_ref *from, struct namespaces_ref *to)
{
	*to = *from;
	if (!from->path)
		return 0;
	to->path = strdup(from->path);
	return to->path ? 0 : -ENOMEM;
}

void namespaces_free_ref(struct namespaces_ref *ref)
{
	free(ref->path);
	*ref = (struct namespaces_ref){0};
}

int namespaces_open(int proc_fd, const struct namespaces_ref *ref)
{
	char path[LINK_BYTES];
	auto_close int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "%d/ns/net", ref->task);
	/* A mount's path may have been taken over by anything: not blocking, and then looked at. */
	fd = ref->path ? open(ref->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
	               : openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_ino == ref->netns && S_ISREG(st.st_mode) ? steal_fd(&fd) : -ESTALE;
}
