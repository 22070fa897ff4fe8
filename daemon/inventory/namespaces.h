/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where network namespaces are to be found, and how to get into one. No namespace's descriptor is
 * kept longer than a call: it would keep the namespace alive after its deletion.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Somebody through whom a namespace can be opened: a task of it, or a mount. */
struct namespaces_ref {
	uint64_t netns; /* inode number */
	pid_t task;     /* 0: by path */
	char *path;
};

struct namespaces_process {
	pid_t pid;
	uint64_t netns; /* 0: it could not be read */
};

struct namespaces {
	struct namespaces_ref *refs; /* sorted by inode number, each namespace once */
	size_t n_refs;
	struct namespaces_process *processes; /* sorted by pid */
	size_t n_processes;
};

/*
 * Goes through the processes of /proc (`proc_fd`) and the mounts of nsfs that we see (`ip netns`,
 * containers' runtimes). A namespace that only a thread other than a process's first has entered,
 * or that only an open descriptor keeps, is not found so. Returns 0 or -errno.
 */
int namespaces_find(int proc_fd, struct namespaces *out);
/* Was it found? */
bool namespaces_has(const struct namespaces *n, uint64_t netns);
void namespaces_free(struct namespaces *n);

/* The namespace of a task (a thread's id will do); 0 when there is no such task. */
uint64_t namespaces_of_task(int proc_fd, pid_t task);
/* Copies a ref; returns 0 or -ENOMEM. */
int namespaces_copy_ref(const struct namespaces_ref *from, struct namespaces_ref *to);
void namespaces_free_ref(struct namespaces_ref *ref);
/* Opens it, and makes sure that it is the one. Returns a descriptor or -errno; -ESTALE: another. */
int namespaces_open(int proc_fd, const struct namespaces_ref *ref);
