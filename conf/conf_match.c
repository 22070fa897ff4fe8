/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_match.h"

#include "scanner/target.h"

#include <string.h>

enum { CONTAINER_MIN_LEN = 4 };

static int check_ports(const char *of, const struct conf_strings *list,
                       const struct conf_diag *diag)
{
	char why[TARGET_ERROR_LEN], shown[CONF_QUOTE_LEN];

	for (size_t i = 0; i < list->count; i++) {
		const char *text = list->items[i];
		struct port_list ports;

		if (conf_may_be_secret(text, strlen(text)) || port_list_parse(text, &ports, why))
			return conf_fail(diag, list->marks[i],
			                 "%s.match.ports: %s is no port; expected a port, "
			                 "a range or a list's name",
			                 of, conf_quote(text, strlen(text), shown));
		port_list_free(&ports);
	}
	return 0;
}

static bool is_container(const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	return strcmp(text, "any") == 0 || strcmp(text, "none") == 0 ||
	       (n >= CONTAINER_MIN_LEN && !text[n]);
}

static bool is_user(const char *text)
{
	uint64_t uid;

	if (*text >= '0' && *text <= '9')
		return conf_parse_number(text, UINT32_MAX - 1, &uid) == 0;
	return *text != '-' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
	                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$@-")] == 0;
}

static bool is_verdict(const char *text)
{
	return strcmp(text, "confirmed") == 0 || strcmp(text, "likely") == 0;
}

int conf_match_check_texts(const char *path, const struct conf_strings *list,
                           bool (*is_sound)(const char *text), const char *expected,
                           const struct conf_diag *diag)
{
	char shown[CONF_QUOTE_LEN];

	for (size_t i = 0; i < list->count; i++) {
		const char *text = list->items[i];

		if (!is_sound(text))
			return conf_fail(diag, list->marks[i], "%s: %s is unknown; expected %s",
			                 path, conf_quote(text, strlen(text), shown), expected);
	}
	return 0;
}

int conf_match_check_lists(const char *of, const struct conf_match *match,
                           const struct conf_diag *diag)
{
	char path[64];
	int err = check_ports(of, &match->ports, diag);

	snprintf(path, sizeof(path), "%s.match.container", of);
	return err ? err
	           : conf_match_check_texts(path, &match->container, is_container,
	                                    "any, none, or at least 4 hexadecimal digits of an id",
	                                    diag);
}

int conf_match_check(const char *of, const struct conf_breaker *breaker, struct conf_mark at,
                     const struct conf_diag *diag)
{
	const struct conf_match *m = &breaker->match;
	int err = conf_match_check_lists(of, m, diag);
	char path[64];

	snprintf(path, sizeof(path), "%s.match.user", of);
	if (!err)
		err = conf_match_check_texts(path, &m->user, is_user, "a user's name or number",
		                             diag);
	snprintf(path, sizeof(path), "%s.match.verdict", of);
	if (!err)
		err = conf_match_check_texts(path, &m->verdict, is_verdict, "confirmed or likely",
		                             diag);
	if (!err && m->loopback == CONF_LOOPBACK_ONLY && breaker->action != CONF_ACTION_ALERT &&
	    !breaker->seal_local)
		err = conf_fail(diag, at,
		                "%s.match.loopback: true without seal_local: only clients on the "
		                "host reach loopback, and they would not be %s; expected "
		                "seal_local: true%s",
		                of, breaker->action == CONF_ACTION_DROP ? "cut" : "filtered",
		                breaker->standing ? "" : ", or action: alert");
	return err;
}
