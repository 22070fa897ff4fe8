/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/alert_labels.h"

#include "daemon/sender/event_kind.h"
#include "daemon/sender/message.h"

#include <string.h>

enum { DAY_MS = 24 * 3600 * 1000, HOUR_MS = 3600 * 1000 };

static const char exposed[] = "PprofExposed";
static const char ineffective[] = "PprofBlockIneffective";
static const char source_failed[] = "PprofwallSourceFailed";

/* What is not repeated ends by itself, but not before somebody has seen it. */
static const struct alert_kind kinds[] = {
    {"opened", exposed, ALERT_CHANGE_FIRES, 0},
    {"high_risk", exposed, ALERT_CHANGE_FIRES, 0},
    {"reminder", exposed, ALERT_CHANGE_FIRES, 0},
    {"refresh", exposed, ALERT_CHANGE_FIRES, 0},
    {"escalated", exposed, ALERT_CHANGE_FIRES, 0},
    {"unknown", exposed, ALERT_CHANGE_FIRES, 0},
    {"closed", exposed, ALERT_CHANGE_ENDS, 0},
    {"closed", ineffective, ALERT_CHANGE_ENDS, 0},
    {"gone", exposed, ALERT_CHANGE_ENDS, 0},
    {"gone", ineffective, ALERT_CHANGE_ENDS, 0},
    {"ineffective", ineffective, ALERT_CHANGE_FIRES, DAY_MS},
    {"effective", ineffective, ALERT_CHANGE_ENDS, 0},
    {"source_failed", source_failed, ALERT_CHANGE_FIRES, DAY_MS},
    {"source_recovered", source_failed, ALERT_CHANGE_ENDS, 0},
    {"quarantined", "PprofwallQuarantined", ALERT_CHANGE_FIRES, HOUR_MS},
    {"alerts_lost", "PprofwallAlertsLost", ALERT_CHANGE_FIRES, HOUR_MS},
    {"test", "PprofwallTest", ALERT_CHANGE_FIRES, 0},
};

static const char *const severities[] = {"unknown", "info", "low", "medium", "high"};

const struct alert_kind *alert_kind_of(const json_t *event, size_t i)
{
	const char *name = message_field(event, "event");

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		if (strcmp(kinds[k].event, name) == 0 && i-- == 0)
			return &kinds[k];
	}
	return NULL;
}

/* Of a source, or of nothing but the host, as of alerts that were lost. */
static const char *subject_of(const json_t *event)
{
	const char *endpoint = message_field(event, "endpoint");

	return *endpoint ? endpoint : message_field(event, "source");
}

char *alert_key(const json_t *event, const char *name)
{
	char *key;

	return asprintf(&key, "%s %s", name, subject_of(event)) < 0 ? NULL : key;
}

static size_t severity_rank(const char *severity)
{
	for (size_t i = ARRAY_LEN(severities) - 1; i > 0; i--) {
		if (severity && strcmp(severities[i], severity) == 0)
			return i;
	}
	return 0;
}

static const char *label(const json_t *labels, const char *name)
{
	return json_string_value(json_object_get(labels, name));
}

static const char *choose_severity(const json_t *event, const char *name, const json_t *before)
{
	const json_t *finding = json_object_get(event, "finding");
	size_t now = severity_rank(label(finding, "severity"));
	size_t then = severity_rank(label(before, "severity"));

	if (name == ineffective)
		now = severity_rank("high");
	else if (name != exposed)
		now = severity_rank(strcmp(message_field(event, "event"), "test") ? "medium"
		                                                                  : "info");
	return severities[now > then ? now : then];
}

/* The same on every host that runs it, whatever it is called there. */
static char *choose_product(const json_t *event, const json_t *before)
{
	static const char unknown[] = "unknown";
	const char *then = label(before, "product");
	char *product = NULL;

	if (then && strcmp(then, unknown) != 0)
		return strdup(then);
	if (!*message_field(event, "endpoint"))
		return strdup("pprofwall");
	product = event_field_value(event, "program");
	if (!product)
		product = event_field_value(event, "process");
	return product ? product : strdup(unknown);
}

json_t *alert_labels(const json_t *event, const char *name, const json_t *before)
{
	char *product = choose_product(event, before);
	const char *rule = label(json_object_get(event, "breaker"), "name");
	const char *endpoint = label(event, "endpoint");
	json_t *labels =
	    json_pack("{s:s, s:s, s:s?, s:s, s:s*, s:s*, s:s*}", "alertname", name, "severity",
	              choose_severity(event, name, before), "product", product, "instance",
	              message_field(event, "host"), "endpoint", endpoint, "rule",
	              rule ? rule : label(before, "rule"), "source", label(event, "source"));

	free(product);
	return labels;
}

static void put(FILE *out, const json_t *event, const char *before, const char *field)
{
	char *value = event_field_value(event, field);

	if (value)
		fprintf(out, "%s%s", before, value);
	free(value);
}

/* What an on-call person asks next, on one line. */
static char *describe(const json_t *event)
{
	char *text = NULL;
	size_t unused;
	FILE *out = open_memstream(&text, &unused);

	if (!out)
		return NULL;
	fprintf(out, "%s", message_field(event, "event"));
	put(out, event, ": ", "about");
	put(out, event, "", "path");
	put(out, event, ", ", "verdict");
	put(out, event, ", ", "risk");
	put(out, event, "; action: ", "action");
	put(out, event, ", since ", "reason");
	put(out, event, "; unit: ", "unit");
	put(out, event, "; container: ", "container");
	put(out, event, "; ", "advice");
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* "index, symbol; profiles: heap, goroutine"; "" without a finding. */
static char *list_evidence(const json_t *event)
{
	const json_t *finding = json_object_get(event, "finding");
	const char *const lists[] = {"evidence", "profiles"};
	char *text = NULL;
	size_t unused, i;
	FILE *out = open_memstream(&text, &unused);
	json_t *item;

	if (!out)
		return NULL;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_array_foreach (json_object_get(finding, lists[l]), i, item) {
			const char *separator = i ? ", " : l ? "; profiles: " : "";

			fprintf(out, "%s%s", separator,
			        json_is_string(item) ? json_string_value(item) : "?");
		}
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

json_t *alert_annotations(const struct conf_alert *conf, json_t *event)
{
	const struct message message = {&event, 1};
	char *summary = message_make_text(conf, &message);
	char *description = describe(event), *evidence = list_evidence(event);
	json_t *annotations = NULL;

	if (summary && description && evidence)
		annotations = json_pack("{s:s, s:s, s:s*}", "summary", summary, "description",
		                        description, "evidence", *evidence ? evidence : NULL);
	free(summary);
	free(description);
	free(evidence);
	return annotations;
}
