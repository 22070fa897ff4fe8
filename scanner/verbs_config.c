/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "common/paths.h"
#include "conf/conf.h"
#include "scanner/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>

enum wanted { CHECK, DUMP, SCHEMA };

static void print_usage(FILE *out)
{
	fputs("usage: pprofwall check-config [--dump | --schema] [FILE]\n"
	      "  --dump    print the whole configuration, defaults filled in, secrets masked\n"
	      "  --schema  print every key with its type, range, default and help\n",
	      out);
}

static int finish(int error)
{
	return error == 0 && fflush(stdout) == 0 && !ferror(stdout) ? VERB_OK : VERB_UNREACHABLE;
}

static int check(const char *file, enum wanted wanted)
{
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
	auto_conf struct conf *conf = NULL;
	char error[CONF_ERROR_LEN];

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		return VERB_USAGE;
	}
	conf = conf_load_fd(file, fd, error);
	if (!conf) {
		fprintf(stderr, "%s\n", error);
		return VERB_USAGE;
	}
	if (wanted == DUMP)
		return finish(conf_dump(conf, stdout, false));
	printf("%s: ok\n", file);
	return finish(0);
}

int check_config_main(int argc, char **argv)
{
	static const struct option known[] = {
	    {"dump", no_argument, NULL, 'd'},
	    {"schema", no_argument, NULL, 's'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	char path[PATHS_MAX_LEN];
	const char *file = path;
	enum wanted wanted = CHECK;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'h' || c == '?') {
			print_usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? VERB_OK : VERB_USAGE;
		}
		wanted = c == 'd' ? DUMP : SCHEMA;
	}
	if (wanted == SCHEMA && optind == argc)
		return finish(conf_print_schema(stdout));
	if (wanted == SCHEMA || optind + 1 < argc) {
		print_usage(stderr);
		return VERB_USAGE;
	}
	if (optind < argc)
		file = argv[optind];
	else if (paths_sysconf("pprofwall.yaml", path) != 0)
		return VERB_UNREACHABLE;
	return check(file, wanted);
}
