/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sender/credentials.h"

#include "common/log.h"
#include "daemon/sender/secret_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct credential {
	char *name;
	char *bytes;
	size_t length;
};

struct credentials {
	struct credential items[CREDENTIALS_MAX];
	size_t count;
};

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++) {
		free(c->items[i].name);
		secret_free(c->items[i].bytes, c->items[i].length);
	}
	free(c);
}

static int add(struct credentials *c, int directory, const char *name)
{
	struct credential *item = &c->items[c->count];
	const char *why;
	int rc;

	if (c->count == CREDENTIALS_MAX) {
		log_warning("credential %s: the %d before it are all that is read", name,
		            CREDENTIALS_MAX);
		return 0;
	}
	rc = secret_read_at(directory, name, CREDENTIAL_MAX_BYTES, &item->bytes, &item->length,
	                    &why);
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0) {
		log_warning("credential %s: %s", name, why);
		return 0;
	}
	item->name = strdup(name);
	if (!item->name) {
		secret_free(item->bytes, item->length);
		return -ENOMEM;
	}
	c->count++;
	return 0;
}

static int read_directory(struct credentials *c, const char *path)
{
	auto_closedir DIR *directory = opendir(path);
	const struct dirent *entry;
	int rc = 0;

	if (!directory) {
		log_warning("the credentials' directory: %s", strerror(errno));
		return 0;
	}
	while (rc == 0 && (entry = readdir(directory))) {
		if (entry->d_name[0] != '.')
			rc = add(c, dirfd(directory), entry->d_name);
	}
	return rc;
}

struct credentials *credentials_load(const char *directory)
{
	struct credentials *c = calloc(1, sizeof(*c));

	if (c && directory && read_directory(c, directory) < 0) {
		credentials_free(c);
		return NULL;
	}
	return c;
}

const char *credentials_find(const struct credentials *c, const char *name, size_t *length)
{
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->items[i].name, name) == 0) {
			*length = c->items[i].length;
			return c->items[i].bytes;
		}
	}
	return NULL;
}
