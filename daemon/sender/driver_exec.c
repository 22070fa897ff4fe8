/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver_exec.h"

#include "daemon/sender/programs.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

struct exec_attempt {
	struct program_run *run;
	attempt_done_cb *done;
	void *arg;
};

/*
 * A program that fails mostly does so since something else is out of reach, and says 1: that is
 * tried again. For what will never do there is a status of its own.
 */
static struct attempt_result judge(const struct ipc_run_done *done)
{
	struct attempt_result result = {.verdict = ATTEMPT_RETRY};
	int status;

	if (!done || done->error) {
		snprintf(result.text, sizeof(result.text), "%s",
		         !done                       ? "no answer from the runner process"
		         : done->error == -ETIMEDOUT ? "the program has not ended in time; killed"
		                                     : strerror(-done->error));
		return result;
	}
	status = done->wait_status;
	if (!WIFEXITED(status)) {
		snprintf(result.text, sizeof(result.text), "the program was killed by signal %d",
		         WTERMSIG(status));
		return result;
	}
	if (WEXITSTATUS(status) == 0)
		result.verdict = ATTEMPT_DELIVERED;
	else
		snprintf(result.text, sizeof(result.text), "exit status %d%s", WEXITSTATUS(status),
		         WEXITSTATUS(status) == IPC_RUN_NOT_STARTED
		             ? ": cannot be executed; the log says why"
		             : "");
	if (WEXITSTATUS(status) == EX_DATAERR)
		result.verdict = ATTEMPT_REFUSED;
	return result;
}

static void on_done(const struct ipc_run_done *done, void *arg)
{
	struct exec_attempt a = *(struct exec_attempt *)arg;
	const struct attempt_result result = judge(done);

	free(arg);
	a.done(&result, a.arg);
}

static int start(struct drivers *d, const struct attempt_spec *spec, attempt_done_cb *done,
                 void *arg, void **attempt)
{
	const json_t *event = spec->message->events[0];
	auto_free char *input = json_dumps(event, JSON_COMPACT);
	struct exec_attempt *a = calloc(1, sizeof(*a));
	int rc;

	if (!a || !input) {
		free(a);
		return -ENOMEM;
	}
	a->done = done;
	a->arg = arg;
	rc = programs_run(d->programs, spec->conf->name, message_field(event, "event"), input,
	                  strlen(input), spec->timeout_ms, on_done, a, &a->run);
	if (rc < 0) {
		free(a);
		return rc;
	}
	*attempt = a;
	return 0;
}

static void cancel(void *attempt)
{
	struct exec_attempt *a = attempt;

	programs_cancel(a->run);
	free(a);
}

const struct driver driver_exec = {.start = start, .cancel = cancel};
