/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes are a configuration or one line of error; what loads is dumped to something that loads
 * and dumps to the same again.
 */
#include "conf/conf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
	char *bytes;
	size_t length;
};

static struct text dump(const struct conf *conf)
{
	struct text t = {0};
	FILE *out = open_memstream(&t.bytes, &t.length);

	if (!out || conf_dump(conf, out, true) < 0)
		abort();
	fclose(out);
	return t;
}

static void check_error(const char *error)
{
	size_t length = strnlen(error, CONF_ERROR_LEN);

	if (length == 0 || length == CONF_ERROR_LEN || strncmp(error, "fuzz:", 5) != 0 ||
	    strchr(error, '\n'))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONF_ERROR_LEN] = "";
	struct conf *conf = conf_load("fuzz", data, size, error);
	struct conf *again;
	struct text first, second;

	if (!conf) {
		check_error(error);
		return 0;
	}
	first = dump(conf);
	again = conf_load("dump", first.bytes, first.length, error);
	if (!again) {
		fprintf(stderr, "%s\n%s", error, first.bytes);
		abort();
	}
	second = dump(again);
	if (first.length != second.length || memcmp(first.bytes, second.bytes, first.length) != 0)
		abort();
	if (conf_find_fixed_change(conf, again))
		abort();
	free(first.bytes);
	free(second.bytes);
	conf_forget_secrets(again);
	conf_free(again);
	conf_free(conf);
	return 0;
}
