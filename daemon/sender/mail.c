/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/mail.h"

#include "common/html.h"
#include "common/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

/*
 * RFC 2047, 2: an encoded word has at most 75 characters, a line with one in it at most 76. With so
 * many encoded ones a word fits behind "Subject: ", too.
 */
enum { ENCODED_MAX_CHARS = 54, ID_PART_MAX_LEN = 200 };

__attribute__((format(printf, 2, 3))) static int add_header(struct mail *mail, const char *format,
                                                            ...)
{
	va_list args;
	char *line;
	int length;

	va_start(args, format);
	length = vasprintf(&line, format, args);
	va_end(args);
	if (length < 0)
		return -ENOMEM;
	mail->headers[mail->n_headers++] = line;
	return 0;
}

/* RFC 2047, 4.2: what needs no encoding in any place where an encoded word may stand. */
static bool stands_for_itself(char c)
{
	return isalnum((unsigned char)c) || strchr("!*+-/", c);
}

/* Encoded words of whole characters, each on a line of its own. */
static void put_encoded(FILE *out, const char *text)
{
	size_t used = 0;

	fputs("=?UTF-8?Q?", out);
	while (*text) {
		size_t length = 1;
		bool is_plain = *text == ' ' || stands_for_itself(*text);
		size_t needed;

		while (((unsigned char)text[length] & 0xc0) == 0x80)
			length++;
		needed = is_plain ? 1 : 3 * length;
		if (used + needed > ENCODED_MAX_CHARS) {
			fputs("?=\r\n =?UTF-8?Q?", out);
			used = 0;
		}
		used += needed;
		if (is_plain)
			fputc(*text == ' ' ? '_' : *text, out);
		for (size_t i = 0; !is_plain && i < length; i++)
			fprintf(out, "=%02X", (unsigned char)text[i]);
		text += length;
	}
	fputs("?=", out);
}

/* No line break gets into the header, whatever the text has. */
static int add_subject(struct mail *mail, char *text)
{
	auto_free char *encoded = NULL;
	bool is_plain = !strstr(text, "=?");
	size_t unused;
	FILE *out;

	text[utf8_fit(text, strlen(text), MAIL_SUBJECT_MAX_BYTES)] = '\0';
	for (char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
		is_plain = is_plain && (unsigned char)*p < 0x80;
	}
	if (is_plain)
		return add_header(mail, "Subject: %s", text);
	out = open_memstream(&encoded, &unused);
	if (!out)
		return -ENOMEM;
	put_encoded(out, text);
	return fclose(out) == 0 ? add_header(mail, "Subject: %s", encoded) : -ENOMEM;
}

/* A part of a message's id: letters and digits, with a dot or a dash between them at most. */
static const char *make_id_part(const char *text, char part[static ID_PART_MAX_LEN + 1])
{
	size_t n = 0;

	for (; *text && n < ID_PART_MAX_LEN; text++) {
		if (isalnum((unsigned char)*text))
			part[n++] = *text;
		else if (n > 0 && isalnum((unsigned char)part[n - 1]) && text[1])
			part[n++] = *text == '.' ? '.' : '-';
	}
	while (n > 0 && !isalnum((unsigned char)part[n - 1]))
		n--;
	part[n] = '\0';
	return n > 0 ? part : strcpy(part, "unknown");
}

/*
 * The same event has the same id in every attempt. All that is said of one endpoint refers to one
 * message that was never sent: so it is one thread in the reader's eyes, whichever came first.
 */
static int add_ids(struct mail *mail, const struct message *m)
{
	char id[ID_PART_MAX_LEN + 1], host[ID_PART_MAX_LEN + 1], about[ID_PART_MAX_LEN + 1];
	const char *endpoint = message_field(m->events[0], "endpoint");
	int rc;

	make_id_part(message_event_id(m->events[0]), id);
	make_id_part(message_field(m->events[0], "host"), host);
	if (m->n > 1)
		return add_header(mail, "Message-ID: <%s.%zu@%s.pprofwall>", id, m->n, host);
	rc = add_header(mail, "Message-ID: <%s@%s.pprofwall>", id, host);
	if (rc == 0 && message_event_id(m->events[0])[0])
		rc = add_header(mail, "X-Pprofwall-Event-Id: %s", message_event_id(m->events[0]));
	if (rc == 0 && endpoint[0])
		rc = add_header(mail, "References: <endpoint.%s@%s.pprofwall>",
		                make_id_part(endpoint, about), host);
	return rc;
}

/* RFC 5322, 3.3. The process has no locale but C. */
static int add_date(struct mail *mail, int64_t now_ms)
{
	time_t now = (time_t)(now_ms / 1000);
	char text[64];
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm) == 0)
		return -EINVAL;
	return add_header(mail, "Date: %s", text);
}

static bool is_clean(const char *text)
{
	while ((unsigned char)*text > ' ' && (unsigned char)*text < 0x7f)
		text++;
	return *text == '\0';
}

static int add_addresses(struct mail *mail, const struct conf_alert *conf)
{
	auto_free char *to = NULL;
	bool clean = is_clean(conf->from);
	size_t unused;
	FILE *out = open_memstream(&to, &unused);

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < conf->to.count; i++) {
		clean = clean && is_clean(conf->to.items[i]);
		fprintf(out, "%s<%s>", i ? ",\r\n " : "", conf->to.items[i]);
	}
	if (fclose(out) != 0)
		return -ENOMEM;
	if (!clean)
		return -EINVAL;
	return add_header(mail, "From: pprofwall <%s>", conf->from) < 0 ||
	               add_header(mail, "To: %s", to) < 0
	           ? -ENOMEM
	           : 0;
}

static int add_headers(struct mail *mail, const struct conf_alert *conf, const struct message *m,
                       int64_t now_ms)
{
	auto_free char *subject = message_make_subject(conf, m);
	int rc = subject ? add_date(mail, now_ms) : -ENOMEM;

	if (rc == 0)
		rc = add_addresses(mail, conf);
	if (rc == 0)
		rc = add_subject(mail, subject);
	if (rc == 0)
		rc = add_ids(mail, m);
	/* RFC 3834, 5: so that nobody's vacation is told to us. */
	return rc < 0 ? rc : add_header(mail, "Auto-Submitted: auto-generated");
}

/* Lines end as a mail's do. */
static void put_lines(FILE *out, const char *text, bool as_html)
{
	auto_free char *copy = strdup(text);
	char *rest = copy;

	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		if (as_html)
			html_put_escaped(out, line);
		else
			fputs(line, out);
		fputs(as_html && rest ? "<br>\r\n" : "\r\n", out);
	}
}

static char *make_body(const char *text, bool as_html)
{
	char *body = NULL;
	size_t unused;
	FILE *out = open_memstream(&body, &unused);

	if (!out)
		return NULL;
	fputs(as_html ? "<!DOCTYPE html>\r\n<html><body><p>\r\n" : "", out);
	put_lines(out, text, as_html);
	fputs(as_html ? "</p></body></html>\r\n" : "", out);
	if (fclose(out) == 0)
		return body;
	free(body);
	return NULL;
}

int mail_make(const struct conf_alert *conf, const struct message *m, int64_t now_ms,
              struct mail *out)
{
	auto_free char *text = message_make_text(conf, m);
	struct mail mail = {0};
	int rc = text ? add_headers(&mail, conf, m, now_ms) : -ENOMEM;

	if (rc == 0) {
		mail.plain = make_body(text, false);
		mail.html = make_body(text, true);
		rc = mail.plain && mail.html ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		mail_fini(&mail);
		return rc;
	}
	*out = mail;
	return 0;
}

void mail_fini(struct mail *mail)
{
	for (size_t i = 0; i < mail->n_headers; i++)
		free(mail->headers[i]);
	free(mail->plain);
	free(mail->html);
	*mail = (struct mail){0};
}
