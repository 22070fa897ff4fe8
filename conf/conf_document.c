/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_document.h"
#include "common/read_all.h"
#include "conf/conf_guard.h"

#include <errno.h>
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

static void fail_size(const struct conf_diag *diag, uint64_t size)
{
	conf_fail(diag, start_of_file, "file is %llu bytes; expected at most %d",
	          (unsigned long long)size, CONF_MAX_BYTES);
}

int conf_document_load(const void *bytes, size_t length, const char *least, conf_document_fn *read,
                       void *base, const struct conf_diag *diag)
{
	yaml_document_t document;
	yaml_parser_t parser;
	int err;

	if (length > CONF_MAX_BYTES) {
		fail_size(diag, length);
		return -EINVAL;
	}
	err = conf_guard(diag, bytes, length, least);
	if (err)
		return err;
	if (!yaml_parser_initialize(&parser))
		return conf_fail_memory(diag, start_of_file);
	yaml_parser_set_input_string(&parser, bytes, length);
	if (yaml_parser_load(&parser, &document)) {
		err = read(&document, base, diag);
		wipe_document(&document);
	} else {
		err = conf_fail_yaml(diag, &parser);
	}
	conf_parser_wipe(&parser);
	return err;
}

char *conf_document_read_fd(int fd, size_t *length, const struct conf_diag *diag)
{
	const size_t room = CONF_MAX_BYTES + 1;
	struct stat st;
	char *bytes;
	ssize_t n;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > CONF_MAX_BYTES) {
		fail_size(diag, (uint64_t)st.st_size);
		return NULL;
	}
	bytes = malloc(room);
	if (!bytes) {
		conf_fail_memory(diag, start_of_file);
		return NULL;
	}
	n = read_all(fd, bytes, room);
	if (n < 0) {
		conf_fail(diag, start_of_file, "cannot be read: %s; expected a readable file",
		          strerror((int)-n));
		free(bytes);
		return NULL;
	}
	*length = (size_t)n;
	return bytes;
}
