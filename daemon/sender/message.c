/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/message.h"

#include "common/cleanup.h"
#include "common/template.h"

#include <stdio.h>
#include <string.h>

static const char default_subject[] = "[pprofwall] {event}: {about} on {host}";
static const char default_text[] = "{text}";

/* A mail is read hours later, by somebody who was not there. */
static const char mail_text[] = "{text}\n"
                                "\n"
                                "Endpoint:  {about}\n"
                                "Host:      {host}\n"
                                "Time:      {time}\n"
                                "Process:   {process|not known}\n"
                                "Unit:      {unit|-}\n"
                                "Container: {container|-}\n"
                                "Verdict:   {verdict|-}, severity {severity|-} {risk}\n"
                                "Action:    {action} (mode {mode}) {reason}\n"
                                "Breaker:   {rule|-}, {state|-}, open until {open_until|-}\n"
                                "Advice:    {advice|-}\n"
                                "Event id:  {id}";

const char *message_field(const json_t *event, const char *key)
{
	const char *text = json_string_value(json_object_get(event, key));

	return text ? text : "";
}

const char *message_event_id(const json_t *event)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                              "0123456789._-";
	const char *id = message_field(event, "id");
	size_t length = strlen(id);

	return length <= MESSAGE_ID_MAX_LEN && strspn(id, allowed) == length ? id : "";
}

static const char *text_template(const struct conf_alert *conf)
{
	if (conf->text)
		return conf->text;
	return conf->type == CONF_ALERT_SMTP ? mail_text : default_text;
}

char *message_make_subject(const struct conf_alert *conf, const struct message *m)
{
	const char *template = conf->subject ? conf->subject : default_subject;
	auto_free char *first = template_render(template, m->events[0]);
	char *subject;

	if (!first || m->n == 1)
		return steal_ptr(&first);
	return asprintf(&subject, "%s and %zu more", first, m->n - 1) < 0 ? NULL : subject;
}

/* A list where there are several, the sentence of each first: nobody reads the tenth in full. */
char *message_make_text(const struct conf_alert *conf, const struct message *m)
{
	size_t unused;
	char *text = NULL;
	FILE *out;
	bool failed = false;

	if (m->n == 1)
		return template_render(text_template(conf), m->events[0]);
	out = open_memstream(&text, &unused);
	if (!out)
		return NULL;
	fprintf(out, "pprofwall: %zu events", m->n);
	for (size_t i = 0; i < m->n; i++) {
		auto_free char *line =
		    template_render(conf->text ? conf->text : default_text, m->events[i]);

		failed = failed || !line;
		fprintf(out, "\n- %s", line ? line : "");
	}
	if (fclose(out) == 0 && !failed)
		return text;
	free(text);
	return NULL;
}
