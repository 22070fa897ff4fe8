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

/* As much of RFC 5321, 4.1.2 as people use; nothing that could be more than one address. */
static bool is_address(const char *text)
{
	const char *at = strchr(text, '@');

	if (!at || at == text || strchr(at + 1, '@') || strlen(text) > 254)
		return false;
	if (strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") !=
	        strlen(at + 1) ||
	    at[1] == '\0' || at[1] == '.' || at[1] == '-')
		return false;
	for (; text < at; text++) {
		if (*text <= ' ' || *text >= 0x7f || strchr("<>()[]\\,;:\"", *text))
			return false;
	}
	return true;
}

static int check_address(const char *key, const char *text, struct conf_mark at,
                         const struct conf_diag *diag)
{
	char shown[CONF_QUOTE_LEN];

	if (is_address(text))
		return 0;
	return conf_fail(diag, at,
	                 "alerts[].%s: %s is no mail address; expected one such as "
	                 "pprofwall@example.net, without a name",
	                 key, conf_quote(text, strlen(text), shown));
}

static int check_login(const struct conf_alert *alert, const struct conf_diag *diag)
{
	bool has_secret = alert->secret || alert->secret_file || alert->secret_credential;

	if (has_secret && !alert->user)
		return conf_fail(diag, alert->secret_at,
		                 "alerts[].secret: without user; expected both or none");
	if (alert->user && !has_secret)
		return conf_fail(diag, alert->user_at,
		                 "alerts[].user: without a secret; expected both or none");
	if (alert->starttls != CONF_STARTTLS_OFF ||
	    (alert->url && strncasecmp(alert->url, "smtps://", 8) == 0))
		return 0;
	if (alert->user)
		return conf_fail(diag, alert->user_at,
		                 "alerts[].user: starttls is off: everybody on the way could read "
		                 "the password; expected starttls: require");
	if (alert->ca_file)
		return conf_fail(diag, alert->ca_at,
		                 "alerts[].ca_file: starttls is off, so there is no TLS; expected "
		                 "starttls: require, or no ca_file");
	return 0;
}

static int check_mail(const struct conf_alert *alert, struct conf_mark at,
                      const struct conf_diag *diag)
{
	int err;

	if (!alert->from || alert->to.count == 0)
		return conf_fail(diag, at, "key \"%s\" is missing; expected it here",
		                 alert->from ? "to" : "from");
	err = check_address("from", alert->from, alert->from_at, diag);
	for (size_t i = 0; !err && i < alert->to.count; i++)
		err = check_address("to", alert->to.items[i], alert->to.marks[i], diag);
	return err ? err : check_login(alert, diag);
}

static int check_syslog(const struct conf_alert *alert, const struct conf_diag *diag)
{
	if (!alert->ca_file || !alert->url || strncasecmp(alert->url, "tls://", 6) == 0)
		return 0;
	return conf_fail(diag, alert->ca_at,
	                 "alerts[].ca_file: the URL is without TLS; expected tls://, or no "
	                 "ca_file");
}

int conf_alert_check_kind(const struct conf_alert *alert, struct conf_mark at,
                          const struct conf_diag *diag)
{
	if (alert->type == CONF_ALERT_EXEC)
		return check_command(&alert->command, at, diag);
	if (alert->type == CONF_ALERT_SYSLOG)
		return check_syslog(alert, diag);
	if (alert->type == CONF_ALERT_SMTP)
		return check_mail(alert, at, diag);
	return 0;
}
