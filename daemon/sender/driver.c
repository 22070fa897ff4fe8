/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver.h"

#include "daemon/sender/attempt.h"
#include "daemon/sender/driver_exec.h"
#include "daemon/sender/driver_http.h"
#include "daemon/sender/driver_journal.h"
#include "daemon/sender/driver_smtp.h"
#include "daemon/sender/driver_syslog.h"
#include "daemon/sender/secrets.h"

/* Of an alert whose secrets could not be had: all that it is told waits. */
static int start_incomplete(struct drivers *d, const struct attempt_spec *spec,
                            attempt_done_cb *done, void *arg, void **attempt)
{
	static const struct attempt_result result = {
	    .verdict = ATTEMPT_RETRY, .text = "a secret of it cannot be read; see the log"};

	(void)spec;
	return attempt_end(d, &result, done, arg, attempt);
}

static const struct driver incomplete = {.start = start_incomplete, .cancel = attempt_end_cancel};

const struct driver *driver_of(const struct conf_alert *conf)
{
	static const struct driver *const drivers[CONF_ALERT_TYPES] = {
	    [CONF_ALERT_WEBHOOK] = &driver_webhook,
	    [CONF_ALERT_ALERTMANAGER] = &driver_alertmanager,
	    [CONF_ALERT_SLACK] = &driver_slack,
	    [CONF_ALERT_PAGERDUTY] = &driver_pagerduty,
	    [CONF_ALERT_SMTP] = &driver_smtp,
	    [CONF_ALERT_SYSLOG] = &driver_syslog,
	    [CONF_ALERT_JOURNALD] = &driver_journal,
	    [CONF_ALERT_EXEC] = &driver_exec,
	};

	if (!secrets_are_complete(conf))
		return &incomplete;
	return conf->type < CONF_ALERT_TYPES ? drivers[conf->type] : NULL;
}
