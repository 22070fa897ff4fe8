/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events as Alertmanager's alerts: what tells one alert from another (labels) and what is said of
 * it (annotations). Labels are few and stay as they are while something is open, so that alerts of
 * a fleet group by alertname, product and severity. Pure.
 */
#pragma once

#include "conf/conf.h"

#include <jansson.h>

enum alert_change {
	ALERT_CHANGE_NONE = 0, /* nothing that an Alertmanager keeps */
	ALERT_CHANGE_FIRES,
	ALERT_CHANGE_ENDS,
};

struct alert_kind {
	const char *event;
	const char *name; /* the label alertname */
	enum alert_change change;
	int64_t lasts_ms; /* unless it is repeated; 0: three times the sink's `refresh` */
};

/* The i-th kind of alert that an event changes; NULL behind the last, which may be at once. */
const struct alert_kind *alert_kind_of(const json_t *event, size_t i);
/* What the event's alert of this name is known by; to be freed. NULL: out of memory. */
char *alert_key(const json_t *event, const char *name);

/*
 * The labels of an event's alert. Where `before` has them already (those that fired; NULL: none),
 * they stay: only the severity rises, and a product may become known. NULL: out of memory.
 */
json_t *alert_labels(const json_t *event, const char *name, const json_t *before);
/* summary, description, evidence. NULL: out of memory. */
json_t *alert_annotations(const struct conf_alert *conf, json_t *event);
