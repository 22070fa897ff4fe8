/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What allow.c (sources and what they say) and allow_conf.c (which there are) share. */
#pragma once

#include "daemon/agent/allow.h"
#include "daemon/agent/allow_file.h"

struct allow_file {
	struct allow_file_id id; /* of the last look */
	bool seen;               /* there was one */
	int directory;           /* of allow_watch_add(); < 0: not watched */
	bool event;              /* the look that is due was asked for by an event */
	bool writing;            /* somebody has written to it, and not closed it yet */
	bool suspect;            /* it was gone or empty a moment ago */
};

struct allow_rule {
	size_t *sources; /* indices */
	size_t count;
};

struct allow {
	struct event_base *base;
	struct allow_handlers handlers;
	struct allow_watch *watch; /* NULL: no inotify; files are looked at every now and then */
	struct event *timer;       /* for what events have announced */
	struct allow_source *sources;
	size_t n_sources;
	struct allow_rule *rules;
	size_t n_rules;
	int64_t configured_ms;
	uint64_t generation; /* in tokens: answers to questions of before are passed over */
};

void allow_read_file(struct allow *al, struct allow_source *s, bool tell);
/* Would a rule have more than the firewall takes, if this source said that? */
bool allow_is_overfull(const struct allow *al, size_t source, const struct prefix *list,
                       size_t count);
/* Frees sources and rules. */
void allow_forget(struct allow *al);
