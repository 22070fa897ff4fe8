/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf.h"
#include "conf/conf_guard.h"
#include "conf/conf_reader.h"
#include "conf/conf_schema.h"
#include "conf/conf_value.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const struct conf_mark start_of_file = {1, 1};

/* The nodes hold what the sender alone may know, and would stay in freed memory. */
static void wipe_document(yaml_document_t *document)
{
	for (yaml_node_t *node = document->nodes.start; node < document->nodes.top; node++) {
		if (node->type == YAML_SCALAR_NODE)
			explicit_bzero(node->data.scalar.value, node->data.scalar.length);
	}
	yaml_document_delete(document);
}

static int load_into(struct conf *conf, const void *bytes, size_t length,
                     const struct conf_diag *diag)
{
	yaml_document_t document;
	yaml_parser_t parser;
	int err = conf_guard(diag, bytes, length);

	if (err)
		return err;
	if (!yaml_parser_initialize(&parser))
		return conf_fail_memory(diag, start_of_file);
	yaml_parser_set_input_string(&parser, bytes, length);
	if (yaml_parser_load(&parser, &document)) {
		err = conf_read_document(&document, conf, diag);
		wipe_document(&document);
	} else {
		err = conf_fail_yaml(diag, &parser);
	}
	conf_parser_wipe(&parser);
	return err;
}

static void fail_size(const struct conf_diag *diag, uint64_t size)
{
	conf_fail(diag, start_of_file, "file is %llu bytes; expected at most %d",
	          (unsigned long long)size, CONF_MAX_BYTES);
}

struct conf *conf_load(const char *file, const void *bytes, size_t length,
                       char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	auto_conf struct conf *conf = NULL;

	if (length > CONF_MAX_BYTES) {
		fail_size(&diag, length);
		return NULL;
	}
	conf = calloc(1, sizeof(*conf));
	if (!conf) {
		conf_fail_memory(&diag, start_of_file);
		return NULL;
	}
	if (load_into(conf, bytes, length, &diag) < 0)
		return NULL;
	return steal_ptr(&conf);
}

/* Returns the number of bytes read, at most `room`, or -errno. */
static ssize_t read_all(int fd, char *bytes, size_t room)
{
	size_t done = 0;

	while (done < room) {
		ssize_t n = pread(fd, bytes + done, room - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

struct conf *conf_load_fd(const char *file, int fd, char error[static CONF_ERROR_LEN])
{
	const struct conf_diag diag = {file, error};
	const size_t room = CONF_MAX_BYTES + 1;
	auto_free char *bytes = NULL;
	struct conf *conf = NULL;
	struct stat st;
	ssize_t length;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > CONF_MAX_BYTES) {
		fail_size(&diag, (uint64_t)st.st_size);
		return NULL;
	}
	bytes = malloc(room);
	if (!bytes) {
		conf_fail_memory(&diag, start_of_file);
		return NULL;
	}
	length = read_all(fd, bytes, room);
	if (length < 0)
		conf_fail(&diag, start_of_file, "cannot be read: %s; expected a readable file",
		          strerror((int)-length));
	else
		conf = conf_load(file, bytes, (size_t)length, error);
	explicit_bzero(bytes, room);
	return conf;
}

/* Releases what the rows under `prefix` own; records come before the root. */
static void free_values(const char *record_prefix, void *base)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		if (conf_key_is_of_record(key) ? conf_key_is_in(key, record_prefix)
		                               : *record_prefix == '\0')
			conf_value_free(key, base);
	}
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->n_breakers; i++)
		free_values("breakers[].", &conf->breakers[i]);
	for (size_t i = 0; i < conf->n_alerts; i++)
		free_values("alerts[].", &conf->alerts[i]);
	free(conf->breakers);
	free(conf->alerts);
	free_values("", conf);
	free(conf);
}

void conf_forget_secrets(struct conf *conf)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		/* Only alerts have any, so far. */
		if (!(key->flags & CONF_KEY_SECRET))
			continue;
		for (size_t j = 0; j < conf->n_alerts; j++)
			conf_value_free(key, &conf->alerts[j]);
	}
}

static bool is_same_value(const struct conf_key *key, const void *a, const void *b)
{
	const char *left, *right;

	if (key->type == CONF_TYPE_CHOICE)
		return memcmp((const char *)a + key->offset, (const char *)b + key->offset,
		              sizeof(unsigned)) == 0;
	memcpy(&left, (const char *)a + key->offset, sizeof(left));
	memcpy(&right, (const char *)b + key->offset, sizeof(right));
	return strcmp(left, right) == 0;
}

const char *conf_find_fixed_change(const struct conf *running, const struct conf *next)
{
	for (size_t i = 0; i < conf_schema_count; i++) {
		const struct conf_key *key = &conf_schema[i];

		if ((key->flags & CONF_KEY_RESTART) && !is_same_value(key, running, next))
			return key->path;
	}
	return NULL;
}
