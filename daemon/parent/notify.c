/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parent/notify.h"

#ifdef PW_HAVE_SYSTEMD

#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

void notify_log_to_journal(void)
{
	int fd;

	if (getenv("JOURNAL_STREAM"))
		return;
	fd = sd_journal_stream_fd("pprofwalld", LOG_INFO, 1);
	if (fd < 0)
		return; /* no journal here: standard error stays what it is */
	dup2(fd, STDERR_FILENO);
	close(fd);
	setenv("JOURNAL_STREAM", "pprofwalld", 1); /* log.c then writes priorities */
}

void notify_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
	           (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void notify_watchdog(void)
{
	sd_notify(0, "WATCHDOG=1");
}

#else

void notify_log_to_journal(void)
{
}

void notify_ready(const char *status)
{
	(void)status;
}

void notify_reloading(void)
{
}

void notify_stopping(void)
{
}

void notify_watchdog(void)
{
}

#endif
