/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_alert.h"

#include <string.h>
#include <sys/un.h>

enum { UNIX_PATH_MAX_LEN = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

/* Of types that have a URL. */
static const struct url_rule {
	const char *schemes[5]; /* the last one is NULL */
	const char *expected;
	bool bare; /* nothing but a host and a port */
} url_rules[CONF_ALERT_TYPES] = {
    [CONF_ALERT_WEBHOOK] = {.schemes = {"http", "https"}, .expected = "an http:// or https:// URL"},
    [CONF_ALERT_ALERTMANAGER] = {.schemes = {"http", "https"},
                                 .expected = "an http:// or https:// URL without a query"},
    [CONF_ALERT_SLACK] = {.schemes = {"http", "https"}, .expected = "an http:// or https:// URL"},
    [CONF_ALERT_SMTP] = {.schemes = {"smtp", "smtps"},
                         .expected = "smtp:// or smtps://, a host and maybe a port",
                         .bare = true},
    [CONF_ALERT_SYSLOG] =
        {.schemes = {"unix", "udp", "tcp", "tls"},
         .expected = "unix:///dev/log, or udp://, tcp:// or tls://, a host and maybe a port",
         .bare = true},
    [CONF_ALERT_PAGERDUTY] = {.schemes = {"http", "https"},
                              .expected = "an http:// or https:// URL"},
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
static const char *find_authority(const char *url, const char *const schemes[static 5])
{
	for (size_t i = 0; schemes[i]; i++) {
		size_t n = strlen(schemes[i]);

		if (strncasecmp(url, schemes[i], n) == 0 && strncmp(url + n, "://", 3) == 0)
			return url + n + 3;
	}
	return NULL;
}

/*
 * What is wrong with a URL for alerts of this type, as "has no valid host and port", or NULL;
 * *expected is what it must be.
 */
static const char *blame_url(enum conf_alert_type type, const char *url, const char **expected)
{
	const struct url_rule *rule = &url_rules[type];
	const char *authority = find_authority(url, rule->schemes);
	const char *at;
	size_t n;

	*expected = rule->expected;
	if (!authority)
		return "is of another scheme, or none";
	if (strncasecmp(url, "unix:", 5) == 0)
		return authority[0] == '/' && strlen(authority) <= UNIX_PATH_MAX_LEN
		           ? NULL
		           : "has no absolute path of a socket";
	n = strcspn(authority, "/?#");
	if (rule->bare && (authority[n] || strchr(authority, '@')))
		return "has more than a host and a port";
	at = memrchr(authority, '@', n);
	if (at) {
		n -= (size_t)(at + 1 - authority);
		authority = at + 1;
	}
	if (type == CONF_ALERT_ALERTMANAGER && strpbrk(authority, "?#"))
		return "has a query or a fragment"; /* a path is to be added */
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

static size_t name_length(const char *header)
{
	return strcspn(header, ":");
}

static bool is_same_name(const char *a, const char *b)
{
	return name_length(a) == name_length(b) && strncasecmp(a, b, name_length(a)) == 0;
}

/* What decides where a request ends and who it is for (RFC 9110, 7.2 and 7.6.1), and our own. */
static bool is_reserved(const char *header)
{
	static const char *const names[] = {
	    "Connection",       "Content-Encoding",
	    "Content-Length",   "Content-Type",
	    "Expect",           "Host",
	    "Keep-Alive",       "Proxy-Authorization",
	    "Proxy-Connection", "TE",
	    "Trailer",          "Transfer-Encoding",
	    "Upgrade",
	};
	static const char ours[] = "X-Pprofwall-";

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (is_same_name(header, names[i]))
			return true;
	}
	return strncasecmp(header, ours, strlen(ours)) == 0;
}

const char *conf_alert_blame_header(const char *text, const struct conf_strings *list)
{
	/* RFC 9110, 5.6.2 */
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	                        "!#$%&'*+-.^_`|~");
	const char *value;

	if (n == 0 || text[n] != ':')
		return "has no name";
	value = text + n + 1;
	if (!value[strspn(value, " ")])
		return "has no value";
	for (const char *p = value; *p; p++) {
		if (*p < ' ' || *p > '~')
			return "has control characters or characters that are not ASCII";
	}
	if (strlen(text) > CONF_HEADER_MAX_LEN)
		return "is too long";
	if (is_reserved(text))
		return "names a header that the sender makes itself, or that none may have";
	for (size_t i = 0; i < list->count; i++) {
		if (is_same_name(list->items[i], text))
			return "is there twice";
	}
	return NULL;
}

/* One of three ways, or none. */
static int check_ways(const char *key, bool in_place, const char *file, const char *credential,
                      struct conf_mark at, const struct conf_diag *diag)
{
	if (in_place + (file != NULL) + (credential != NULL) <= 1)
		return 0;
	return conf_fail(diag, at,
	                 "alerts[].%s: given in two ways; expected one of %s, %s_file and "
	                 "%s_credential",
	                 key, key, key, key);
}

static int check_url(const struct conf_alert *alert, struct conf_mark at,
                     const struct conf_diag *diag)
{
	const char *wrong, *expected;

	if (!url_rules[alert->type].expected || alert->url_file || alert->url_credential)
		return 0;
	if (!alert->url && alert->type == CONF_ALERT_PAGERDUTY)
		return 0; /* its public one */
	if (!alert->url)
		return conf_fail(diag, at,
		                 "key \"url\" is missing; expected it, url_file or "
		                 "url_credential here");
	wrong = blame_url(alert->type, alert->url, &expected);
	return wrong ? conf_fail(diag, alert->url_at, "alerts[].url: value %s; expected %s", wrong,
	                         expected)
	             : 0;
}

static int check_secret(const struct conf_alert *alert, struct conf_mark at,
                        const struct conf_diag *diag)
{
	if (alert->type != CONF_ALERT_PAGERDUTY || alert->secret || alert->secret_file ||
	    alert->secret_credential)
		return 0;
	return conf_fail(diag, at,
	                 "key \"secret\" is missing; expected the routing key there, in "
	                 "secret_file or in secret_credential");
}

static int check_tls(const struct conf_alert *alert, const struct conf_diag *diag)
{
	const struct {
		const char *key, *value;
		struct conf_mark at;
	} files[] = {{"ca_file", alert->ca_file, alert->ca_at},
	             {"cert_file", alert->cert_file, alert->cert_at},
	             {"key_file", alert->key_file, alert->key_at}};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (files[i].value && alert->url && strncasecmp(alert->url, "http://", 7) == 0)
			return conf_fail(diag, files[i].at,
			                 "alerts[].%s: the URL is http://, without TLS; expected "
			                 "https://, or no %s",
			                 files[i].key, files[i].key);
	}
	if (alert->cert_file && !alert->key_file)
		return conf_fail(diag, alert->cert_at,
		                 "alerts[].cert_file: without key_file; expected both or none");
	if (alert->key_file && !alert->cert_file)
		return conf_fail(diag, alert->key_at,
		                 "alerts[].key_file: without cert_file; expected both or none");
	return 0;
}

int conf_alert_check(const struct conf_alert *alert, struct conf_mark at,
                     const struct conf_diag *diag)
{
	int err = check_ways("url", alert->url != NULL, alert->url_file, alert->url_credential,
	                     alert->url_at, diag);

	if (!err)
		err = check_ways("secret", alert->secret != NULL, alert->secret_file,
		                 alert->secret_credential, alert->secret_at, diag);
	if (!err)
		err = check_ways("headers", alert->headers.count > 0, alert->headers_file,
		                 alert->headers_credential, alert->headers_at, diag);
	if (!err)
		err = check_url(alert, at, diag);
	if (!err)
		err = check_secret(alert, at, diag);
	return err ? err : check_tls(alert, diag);
}
