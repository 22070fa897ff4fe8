/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/driver.h"

#include "daemon/sender/driver_exec.h"
#include "daemon/sender/driver_http.h"
#include "daemon/sender/driver_journal.h"

const struct driver *driver_of(enum conf_alert_type type)
{
	static const struct driver *const drivers[CONF_ALERT_TYPES] = {
	    [CONF_ALERT_WEBHOOK] = &driver_webhook,
	    [CONF_ALERT_ALERTMANAGER] = &driver_alertmanager,
	    [CONF_ALERT_SLACK] = &driver_slack,
	    [CONF_ALERT_PAGERDUTY] = &driver_pagerduty,
	    [CONF_ALERT_JOURNALD] = &driver_journal,
	    [CONF_ALERT_EXEC] = &driver_exec,
	};

	return type < CONF_ALERT_TYPES ? drivers[type] : NULL;
}
