/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/pagerduty_event.h"

#include "common/utf8.h"
#include "daemon/sender/event_kind.h"
#include "daemon/sender/message.h"

#include <openssl/sha.h>
#include <string.h>

static const char trigger[] = "trigger", acknowledge[] = "acknowledge", resolve[] = "resolve";

static const struct kind {
	const char *event;
	const char *action;
	const char *severity; /* NULL: by the finding's */
	const char *about;    /* the last part of the key; NULL: the rule */
} kinds[] = {
    {"opened", trigger, NULL, NULL},
    {"high_risk", trigger, NULL, NULL},
    {"reminder", trigger, NULL, NULL},
    {"escalated", trigger, NULL, NULL},
    {"unknown", trigger, "warning", NULL},
    {"ineffective", trigger, "critical", NULL},
    {"acknowledged", acknowledge, NULL, NULL},
    {"closed", resolve, NULL, NULL},
    {"gone", resolve, NULL, NULL},
    {"source_failed", trigger, "warning", "source"},
    {"source_recovered", resolve, NULL, "source"},
    {"quarantined", trigger, "warning", "quarantined"},
    {"alerts_lost", trigger, "warning", "alerts_lost"},
    {"test", trigger, "info", "test"},
};

static const struct kind *find_kind(const json_t *event)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(kinds[i].event, message_field(event, "event")) == 0)
			return &kinds[i];
	}
	return NULL;
}

bool pagerduty_has(const json_t *event)
{
	return find_kind(event) != NULL;
}

static const char *choose_severity(const json_t *event, const struct kind *kind)
{
	const char *severity = message_field(json_object_get(event, "finding"), "severity");

	if (kind->severity)
		return kind->severity;
	if (strcmp(severity, "high") == 0)
		return "critical";
	if (strcmp(severity, "medium") == 0)
		return "error";
	return strcmp(severity, "info") == 0 ? "info" : "warning";
}

/* What is too long for a key is known by its hash. */
static char *shorten(char *key)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t room = strlen(key) + 1, at = strlen("pprofwall/");

	if (room <= PAGERDUTY_KEY_MAX_LEN + 1)
		return key;
	SHA256((const unsigned char *)key, strlen(key), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		at += (size_t)snprintf(key + at, room - at, "%02x", digest[i]);
	return key;
}

static char *make_key(const json_t *event, const struct kind *kind)
{
	const char *endpoint = message_field(event, "endpoint");
	const char *about = kind->about;
	char *key;

	if (!about)
		about = message_field(json_object_get(event, "breaker"), "name");
	if (asprintf(&key, "pprofwall/%s/%s/%s", message_field(event, "host"),
	             *endpoint ? endpoint : message_field(event, "source"), about) < 0)
		return NULL;
	return shorten(key);
}

/* One line, cut at a character; it must not be empty. */
static char *make_summary(const struct conf_alert *conf, json_t *event, const struct kind *kind)
{
	const struct message message = {&event, 1};
	char *summary = message_make_text(conf, &message);

	if (summary && !*summary) {
		free(summary);
		return strdup(kind->event);
	}
	if (!summary)
		return NULL;
	summary[utf8_fit(summary, strlen(summary), PAGERDUTY_SUMMARY_MAX_BYTES)] = '\0';
	for (char *p = summary; *p; p++) {
		if (*p == '\n' || *p == '\t')
			*p = ' ';
	}
	return summary;
}

static json_t *make_payload(const struct conf_alert *conf, json_t *event, const struct kind *kind)
{
	auto_free char *summary = make_summary(conf, event, kind);
	auto_free char *program = event_field_value(event, "program");
	auto_free char *process = event_field_value(event, "process");

	if (!summary)
		return NULL;
	return json_pack(
	    "{s:s, s:s, s:s, s:s*, s:s*, s:s*, s:s, s:O}", "summary", summary, "source",
	    message_field(event, "host"), "severity", choose_severity(event, kind), "timestamp",
	    json_string_value(json_object_get(event, "time")), "component",
	    program ? program : process, "group",
	    json_string_value(json_object_get(json_object_get(event, "breaker"), "name")), "class",
	    kind->event, "custom_details", event);
}

json_t *pagerduty_make(const struct conf_alert *conf, json_t *event)
{
	const struct kind *kind = find_kind(event);
	char *key = make_key(event, kind);
	json_t *body = key ? json_pack("{s:s, s:s, s:s}", "routing_key", conf->secret,
	                               "event_action", kind->action, "dedup_key", key)
	                   : NULL;

	free(key);
	if (!body || kind->action != trigger)
		return body;
	if (json_object_set_new(body, "client", json_string("pprofwall")) < 0 ||
	    json_object_set_new(body, "payload", make_payload(conf, event, kind)) < 0) {
		json_decref(body);
		return NULL;
	}
	return body;
}
