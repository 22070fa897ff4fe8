/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/secrets.h"

#include "conf/conf_alert.h"
#include "daemon/sender/pem.h"
#include "daemon/sender/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { FILE_MAX_BYTES = 64 * 1024, PEM_MAX_BYTES = 1024 * 1024 };

/* One value of an alert, wherever it comes from. */
struct source {
	const char *key; /* "url": of url_file and url_credential */
	char **file, **credential;
	struct conf_mark at;
	const struct conf_diag *diag;
};

static int fail(const struct source *source, const char *way, const char *wrong,
                const char *expected)
{
	return conf_fail(source->diag, source->at, "alerts[].%s_%s: %s; expected %s", source->key,
	                 way, wrong, expected);
}

/* *bytes is NULL where neither is given. */
static int read_source(const struct source *source, const struct credentials *credentials,
                       char **bytes, size_t *length)
{
	const char *why, *found;

	*bytes = NULL;
	if (*source->credential) {
		found = credentials_find(credentials, *source->credential, length);
		if (!found)
			return fail(source, "credential", "no such credential",
			            "the name of one that systemd hands to the service");
		*bytes = malloc(*length + 1);
		if (!*bytes)
			return conf_fail_memory(source->diag, source->at);
		memcpy(*bytes, found, *length + 1);
	} else if (*source->file && secret_read_at(AT_FDCWD, *source->file, FILE_MAX_BYTES, bytes,
	                                           length, &why) < 0) {
		return fail(source, "file", why,
		            "a file of at most 64 KiB that the sender's user can read");
	}
	return 0;
}

/* One line of an editor's making. */
static void cut_line_end(char *bytes, size_t *length)
{
	if (*length > 0 && bytes[*length - 1] == '\n')
		bytes[--*length] = '\0';
	if (*length > 0 && bytes[*length - 1] == '\r')
		bytes[--*length] = '\0';
}

static const char *way_of(const struct source *source)
{
	return *source->credential ? "credential" : "file";
}

/* The value stands in its own place from here on; conf_alert_check() looks at the rest. */
static void forget_source(const struct source *source)
{
	free(*source->file);
	*source->file = NULL;
	free(*source->credential);
	*source->credential = NULL;
}

static int resolve_text(const struct source *source, const struct credentials *credentials,
                        size_t max, char **value)
{
	const char *wrong = NULL;
	size_t length = 0;
	char *bytes;
	int err = read_source(source, credentials, &bytes, &length);

	if (err || !bytes)
		return err;
	cut_line_end(bytes, &length);
	if (length == 0)
		wrong = "nothing but a line's end in it";
	else if (length > max)
		wrong = "more in it than such a value may have";
	else if (!conf_text_is_clean(bytes, length))
		wrong = "more than one line in it, or control characters";
	if (wrong) {
		err = fail(source, way_of(source), wrong, "the value alone, on one line");
		secret_free(bytes, length);
		return err;
	}
	*value = bytes;
	forget_source(source);
	return 0;
}

static int append_header(const struct source *source, struct conf_strings *list, const char *line)
{
	const char *wrong = conf_alert_blame_header(line, list);
	char what[128];

	if (!wrong && list->count == CONF_MAX_HEADERS)
		wrong = "is one too many";
	if (wrong) {
		snprintf(what, sizeof(what), "header %zu %s", list->count + 1, wrong);
		return fail(source, way_of(source), what, CONF_HEADER_EXPECTED);
	}
	list->items[list->count] = strdup(line);
	if (!list->items[list->count])
		return conf_fail_memory(source->diag, source->at);
	list->marks[list->count++] = source->at;
	return 0;
}

/* Empty lines are none. */
static int append_headers(const struct source *source, struct conf_strings *list, char *text)
{
	int err = 0;
	char *line;

	list->items = calloc(CONF_MAX_HEADERS, sizeof(*list->items));
	list->marks = calloc(CONF_MAX_HEADERS, sizeof(*list->marks));
	if (!list->items || !list->marks)
		return conf_fail_memory(source->diag, source->at);
	while (!err && (line = strsep(&text, "\n"))) {
		size_t length = strlen(line);

		cut_line_end(line, &length);
		if (length > 0)
			err = append_header(source, list, line);
	}
	if (!err && list->count == 0)
		err = fail(source, way_of(source), "no header in it", CONF_HEADER_EXPECTED);
	return err;
}

static int resolve_headers(const struct source *source, const struct credentials *credentials,
                           struct conf_strings *list)
{
	size_t length = 0;
	char *bytes;
	int err = read_source(source, credentials, &bytes, &length);

	if (err || !bytes)
		return err;
	if (strlen(bytes) != length)
		err = fail(source, way_of(source), "NUL characters in it", CONF_HEADER_EXPECTED);
	else
		err = append_headers(source, list, bytes);
	secret_free(bytes, length);
	if (!err)
		forget_source(source);
	return err;
}

static int read_pem(const char *key, const char *path, struct conf_mark at,
                    const struct conf_diag *diag, char **bytes, size_t *length)
{
	const char *why;

	if (!path || secret_read_at(AT_FDCWD, path, PEM_MAX_BYTES, bytes, length, &why) == 0)
		return 0;
	return conf_fail(diag, at,
	                 "alerts[].%s: %s; expected a file of at most 1 MiB that the sender's user "
	                 "can read",
	                 key, why);
}

/* libcurl reads them again for each connection, so that a new one needs no reload. */
static int check_tls(const struct conf_alert *alert, const struct conf_diag *diag)
{
	char *ca = NULL, *cert = NULL, *key = NULL;
	size_t ca_length = 0, cert_length = 0, key_length = 0;
	const char *wrong;
	int err = read_pem("ca_file", alert->ca_file, alert->ca_at, diag, &ca, &ca_length);

	if (!err)
		err = read_pem("cert_file", alert->cert_file, alert->cert_at, diag, &cert,
		               &cert_length);
	if (!err)
		err = read_pem("key_file", alert->key_file, alert->key_at, diag, &key, &key_length);
	if (!err && ca && (wrong = pem_blame_certificates(ca, ca_length)))
		err = conf_fail(diag, alert->ca_at,
		                "alerts[].ca_file: %s; expected certificates in PEM", wrong);
	if (!err && cert && (wrong = pem_blame_certificates(cert, cert_length)))
		err = conf_fail(diag, alert->cert_at,
		                "alerts[].cert_file: %s; expected a certificate in PEM, and those "
		                "that lead to its root",
		                wrong);
	if (!err && cert && key && (wrong = pem_blame_key(key, key_length, cert, cert_length)))
		err = conf_fail(diag, alert->key_at,
		                "alerts[].key_file: %s; expected the key of cert_file in PEM, "
		                "not encrypted",
		                wrong);
	secret_free(ca, ca_length);
	secret_free(cert, cert_length);
	secret_free(key, key_length);
	return err;
}

int secrets_resolve(const char *file, struct conf_alert *alert,
                    const struct credentials *credentials, char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	const struct source url = {"url", &alert->url_file, &alert->url_credential, alert->url_at,
	                           &diag};
	const struct source secret = {"secret", &alert->secret_file, &alert->secret_credential,
	                              alert->secret_at, &diag};
	const struct source headers = {"headers", &alert->headers_file, &alert->headers_credential,
	                               alert->headers_at, &diag};
	int err = resolve_text(&url, credentials, CONF_URL_MAX_LEN, &alert->url);

	if (!err)
		err = resolve_text(&secret, credentials, CONF_SECRET_MAX_LEN, &alert->secret);
	if (!err)
		err = resolve_headers(&headers, credentials, &alert->headers);
	if (!err)
		err = conf_alert_check(alert, alert->url_at, &diag);
	return err ? err : check_tls(alert, &diag);
}

bool secrets_are_complete(const struct conf_alert *alert)
{
	return !alert->url_file && !alert->url_credential && !alert->secret_file &&
	       !alert->secret_credential && !alert->headers_file && !alert->headers_credential;
}
