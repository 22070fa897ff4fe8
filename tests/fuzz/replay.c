/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target over the files of its corpus: the regression test of what fuzzing found. */
#include "common/cleanup.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *dir, const char *name)
{
	char path[4096];
	auto_fclose FILE *file = NULL;
	auto_free uint8_t *data = NULL;
	size_t size = 0, room = 0, n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "rb");
	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	do {
		if (size == room) {
			uint8_t *more = realloc(data, room = room ? room * 2 : 65536);

			if (!more)
				return -1;
			data = more;
		}
		n = fread(data + size, 1, room - size, file);
		size += n;
	} while (n > 0);
	/* An exact copy, so that a sanitizer sees a read past the end. */
	auto_free uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		return -1;
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned done = 0;

	for (int i = 1; i < argc; i++) {
		auto_closedir DIR *dir = opendir(argv[i]);
		const struct dirent *entry;

		if (!dir) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			if (replay_file(argv[i], entry->d_name) < 0)
				return 1;
			done++;
		}
	}
	printf("%u inputs replayed\n", done);
	return done > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
