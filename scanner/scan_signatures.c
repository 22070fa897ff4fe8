/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_signatures.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "scanner/scan.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

/* Where even the shipped file is missing; ports and schemes are compiled in. */
static const char nothing[] = "schema: 1\nversion: none\n";

static struct signatures *load_base(char why[static SCAN_ERROR_LEN])
{
	struct signatures *s = signatures_load_file(NULL, why);

	if (s)
		return s;
	log_warning("without signatures: %s", why);
	return signatures_load("(none)", nothing, sizeof(nothing) - 1, why);
}

static int add_file(struct signatures *s, const char *file, char why[static SCAN_ERROR_LEN])
{
	auto_signatures struct signatures *more = signatures_load_file(file, why);

	if (!more)
		return -EINVAL;
	if (signatures_merge(s, more) == 0)
		return 0;
	snprintf(why, SCAN_ERROR_LEN, "out of memory");
	return -ENOMEM;
}

/* A list of prefixes is a small file of signatures: its check, its limits, its errors. */
static int set_prefixes(struct scan_options *o, struct signatures *s,
                        char why[static SCAN_ERROR_LEN])
{
	char error[CONF_ERROR_LEN];
	auto_signatures struct signatures *given = NULL;
	auto_free char *text = NULL;
	struct conf_strings other;
	const char *reason;

	o->all_prefixes = strcmp(o->prefixes, "default") != 0;
	if (!o->all_prefixes || strcmp(o->prefixes, "all") == 0)
		return 0;
	if (o->prefixes[strcspn(o->prefixes, "[]{}#\"'\n\r ")]) {
		snprintf(why, SCAN_ERROR_LEN,
		         "--prefixes: '%.64s' is not default, all, or a list such as "
		         "/pprof/,/admin/debug/pprof/",
		         o->prefixes);
		return -EINVAL;
	}
	if (asprintf(&text, "schema: 1\nversion: none\nprefixes: [%s]\n", o->prefixes) < 0) {
		text = NULL;
		snprintf(why, SCAN_ERROR_LEN, "out of memory");
		return -ENOMEM;
	}
	given = signatures_load("", text, strlen(text), error);
	if (!given) {
		reason = strstr(error, "prefixes: ");
		snprintf(why, SCAN_ERROR_LEN, "--%.400s", reason ? reason : error);
		return -EINVAL;
	}
	/* in place of those that the files name; the first of these is asked for anyway */
	other = s->prefixes;
	s->prefixes = given->prefixes;
	given->prefixes = other;
	return 0;
}

static const uint16_t *find_ports(const char *name, size_t *count, const void *arg)
{
	const struct conf_ports *list = signatures_find_ports(arg, name);

	*count = list ? list->count : 0;
	return list ? list->items : NULL;
}

int scan_signatures_load(struct scan_options *o, char why[static SCAN_ERROR_LEN])
{
	_Static_assert((int)SCAN_ERROR_LEN >= (int)CONF_ERROR_LEN, "a loader's line fits");
	auto_signatures struct signatures *s = load_base(why);
	char reason[TARGET_ERROR_LEN];
	int err;

	if (!s)
		return -ENOMEM;
	err = o->signatures_file ? add_file(s, o->signatures_file, why) : 0;
	if (!err && o->prefixes)
		err = set_prefixes(o, s, why);
	if (err)
		return err;
	err = port_list_parse_named(o->ports_text, find_ports, s, &o->ports, reason);
	if (err < 0) {
		snprintf(why, SCAN_ERROR_LEN, "--ports: %s", reason);
		return err;
	}
	o->signatures = steal_ptr(&s);
	return 0;
}

int check_signatures_main(int argc, char **argv)
{
	auto_signatures struct signatures *s = NULL;
	char error[CONF_ERROR_LEN];
	const char *file = argc > 1 ? argv[1] : NULL;

	if (argc > 2 || (file && file[0] == '-')) {
		bool help = argc == 2 && strcmp(file, "--help") == 0;

		fputs("usage: pprofwall check-signatures [FILE]\n"
		      "  Checks a file for `scan --signatures`, or the shipped one.\n",
		      help ? stdout : stderr);
		return help ? SCAN_NOTHING : SCAN_USAGE;
	}
	s = signatures_load_file(file, error);
	if (!s) {
		fprintf(stderr, "%s\n", error);
		return SCAN_USAGE;
	}
	printf("%s: ok, version %s: %zu port lists, %zu prefixes, %zu products, %zu relatives\n",
	       file ? file : "shipped signatures", s->version, s->n_ports, s->prefixes.count,
	       s->n_products, s->n_relatives);
	return fflush(stdout) ? SCAN_INCOMPLETE : SCAN_NOTHING;
}
