/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_alert_kind.h"

#include <string.h>

static int check_command(const struct conf_strings *command, struct conf_mark at,
                         const struct conf_diag *diag)
{
	char shown[CONF_QUOTE_LEN];
	const char *program;

	if (command->count == 0)
		return conf_fail(diag, at, "key \"command\" is missing; expected it here");
	program = command->items[0];
	if (program[0] == '/' && program[strlen(program) - 1] != '/')
		return 0;
	return conf_fail(diag, command->marks[0],
	                 "alerts[].command: %s is no absolute path; expected that of a program, "
	                 "then its arguments",
	                 conf_quote(program, strlen(program), shown));
}

int conf_alert_check_kind(const struct conf_alert *alert, struct conf_mark at,
                          const struct conf_diag *diag)
{
	if (alert->type == CONF_ALERT_EXEC)
		return check_command(&alert->command, at, diag);
	return 0;
}
