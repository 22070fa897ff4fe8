/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_alert.h"

#include <string.h>

/* Of types that have a URL. */
static const struct url_rule {
	const char *schemes[3];
	const char *expected;
} url_rules[CONF_ALERT_TYPES] = {
    [CONF_ALERT_WEBHOOK] = {{"http", "https"}, "an http:// or https:// URL"},
};

/* "host", "host:port", "[v6]", "[v6]:port". */
static bool authority_is_sound(const char *text, size_t length)
{
	char host[256];
	struct endpoint address;
	size_t n;

	if (length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (host[0] == '[') {
		n = strcspn(host, "]");
		if (host[n] == '\0')
			return false;
		host[n++] = '\0';
		if (!strchr(host + 1, ':') || endpoint_parse_address(host + 1, &address) < 0)
			return false;
	} else {
		n = strspn(host,
		           "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
		if (n == 0)
			return false;
	}
	if (host[n] == '\0')
		return true;
	return host[n] == ':' && endpoint_parse_port(host + n + 1, &(uint16_t){0}) == 0;
}

/* The part after "scheme://", if the scheme is one of these; else NULL. */
static const char *find_authority(const char *url, const char *const schemes[static 3])
{
	for (size_t i = 0; i < 3 && schemes[i]; i++) {
		size_t n = strlen(schemes[i]);

		if (strncasecmp(url, schemes[i], n) == 0 && strncmp(url + n, "://", 3) == 0)
			return url + n + 3;
	}
	return NULL;
}

const char *conf_alert_blame_url(enum conf_alert_type type, const char *url, const char **expected)
{
	const struct url_rule *rule = &url_rules[type];
	const char *authority = find_authority(url, rule->schemes);
	const char *at;
	size_t n;

	*expected = rule->expected;
	if (!authority)
		return "is of another scheme, or none";
	n = strcspn(authority, "/?#");
	at = memrchr(authority, '@', n);
	if (at) {
		n -= (size_t)(at + 1 - authority);
		authority = at + 1;
	}
	return authority_is_sound(authority, n) ? NULL : "has no valid host and port";
}

static bool is_read_by_people(enum conf_alert_type type)
{
	return type == CONF_ALERT_SMTP || type == CONF_ALERT_SLACK;
}

int64_t conf_alert_default_group_wait_ms(enum conf_alert_type type)
{
	return is_read_by_people(type) ? 5000 : 0;
}

unsigned conf_alert_default_per_minute(enum conf_alert_type type)
{
	return is_read_by_people(type) ? 10 : 0;
}

int conf_alert_check(const struct conf_alert *alert, struct conf_mark at,
                     const struct conf_diag *diag)
{
	const char *wrong, *expected;

	if (!url_rules[alert->type].expected)
		return 0;
	if (!alert->url)
		return conf_fail(diag, at, "key \"url\" is missing; expected it here");
	wrong = conf_alert_blame_url(alert->type, alert->url, &expected);
	return wrong ? conf_fail(diag, alert->url_at, "alerts[].url: value %s; expected %s", wrong,
	                         expected)
	             : 0;
}
