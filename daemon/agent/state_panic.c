/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/panic_marker.h"
#include "daemon/agent/state.h"
#include "daemon/agent/state_deadline.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { MARKER_WITHIN_MS = 300 };

_Static_assert((int)STATE_REASON_LEN == (int)PANIC_MARKER_TEXT_LEN, "one reason, one length");

bool state_panic_exists(const char *directory)
{
	return panic_marker_exists(directory);
}

/* A change of the marker, in a thread of its own: a frozen file system keeps who touches it. */
struct marker_job {
	char *directory, *who, *reason; /* owned; `who` is NULL to clear */
	int result;
};

static void free_job(struct marker_job *job)
{
	if (!job)
		return;
	free(job->directory);
	free(job->who);
	free(job->reason);
	free(job);
}

static void *change_marker(void *arg)
{
	struct marker_job *job = arg;

	job->result = job->who ? panic_marker_set(job->directory, job->who, job->reason)
	                       : panic_marker_clear(job->directory);
	return NULL;
}

/* Takes over the job; of one that hangs, it leaves the few bytes that are still in use. */
static int run_job(struct marker_job *job)
{
	struct timespec until = state_deadline(MARKER_WITHIN_MS);
	pthread_t thread;
	int result;

	if (!job || pthread_create(&thread, NULL, change_marker, job) != 0) {
		free_job(job);
		return -ENOMEM;
	}
	if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
		pthread_detach(thread);
		return -ETIMEDOUT;
	}
	result = job->result;
	free_job(job);
	return result;
}

static struct marker_job *new_job(const char *directory, const char *who, const char *reason)
{
	struct marker_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->directory = strdup(directory);
	job->who = who ? strdup(who) : NULL;
	job->reason = strdup(reason);
	if (job->directory && job->reason && !who == !job->who)
		return job;
	free_job(job);
	return NULL;
}

int state_panic_set(const char *directory, const char *who, const char *reason)
{
	return run_job(new_job(directory, who, reason));
}

int state_panic_clear(const char *directory)
{
	return run_job(new_job(directory, NULL, ""));
}

int state_panic_read(const char *directory, char reason[static STATE_REASON_LEN])
{
	return panic_marker_read(directory, reason);
}
