/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pprofwalld: options, then the supervisor (parent.c). */
#include "build_info.h"
#include "common/log.h"
#include "daemon/parent/notify.h"
#include "daemon/parent/parent.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

enum { EXIT_USAGE = 2 };

struct options {
	const char *config;
	bool check, dump, foreground;
};

static void print_usage(FILE *out)
{
	fputs(
	    "usage: pprofwalld [--config FILE] [--foreground]\n"
	    "       pprofwalld [--config FILE] --check | --dump-config\n"
	    "\n"
	    "  -c, --config FILE  configuration (default: PREFIX/etc/pprofwall/pprofwall.yaml)\n"
	    "  -C, --check        read the configuration, say what is wrong with it, and end\n"
	    "  -D, --dump-config  print it with every default filled in, secrets masked, and end\n"
	    "  -f, --foreground   log to standard error, not to the journal\n"
	    "  -h, --help\n"
	    "  -V, --version\n",
	    out);
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"check", no_argument, NULL, 'C'},
	    {"dump-config", no_argument, NULL, 'D'},
	    {"foreground", no_argument, NULL, 'f'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:CDfhV", longs, NULL)) != -1) {
		switch (option) {
		case 'c': o->config = optarg; break;
		case 'C': o->check = true; break;
		case 'D': o->dump = true; break;
		case 'f': o->foreground = true; break;
		case 'h': print_usage(stdout); return 0;
		case 'V': puts("pprofwalld " PPROFWALL_VERSION); return 0;
		default: print_usage(stderr); return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		log_error("unexpected argument \"%s\"", argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/*
 * First of all: a reload or a stop right after the start waits for the one who can obey it, and
 * kills nobody halfway through it.
 */
static sigset_t block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

static int serve(struct parent *p, const sigset_t *signals)
{
	char why[CONF_ERROR_LEN];
	int status = 1;

	if (geteuid() != 0) {
		log_error("must be started by root; it gives up what it does not need");
		return 1;
	}
	if (setup_check_owner(p->config_path, why) < 0 || setup_make(p->conf, &p->setup, why) < 0) {
		log_error("%s", why);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	p->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signal_fd < 0)
		log_error("signalfd: %s", strerror(errno));
	else if (parent_start(p, why) < 0)
		log_error("%s", why);
	else
		status = parent_run(p);
	parent_end(p);
	setup_fini(&p->setup, p->conf);
	return status;
}

int main(int argc, char **argv)
{
	const sigset_t signals = block_signals();
	struct options o = {0};
	struct parent p = {.signal_fd = -1, .config_fd = -1, .spawner = {.sock = -1}};
	char default_config[PATHS_MAX_LEN], why[CONF_ERROR_LEN];
	int status;

	log_init("pprofwalld", LOG_LEVEL_INFO);
	status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	if (o.check || o.dump)
		sigprocmask(SIG_UNBLOCK, &signals, NULL);
	if (!o.config && paths_sysconf("pprofwall.yaml", default_config) == 0)
		o.config = default_config;
	if (!o.foreground && !o.check && !o.dump)
		notify_log_to_journal();
	log_init("pprofwalld", LOG_LEVEL_INFO);

	p.config_path = o.config;
	p.config_fd = o.config ? setup_read_config(o.config) : -ENOENT;
	if (p.config_fd < 0) {
		log_error("%s: %s", o.config ? o.config : "configuration", strerror(-p.config_fd));
		return EXIT_USAGE;
	}
	p.conf = conf_load_fd(o.config, p.config_fd, why);
	if (!p.conf) {
		fprintf(stderr, "%s\n", why);
		return EXIT_USAGE;
	}
	if (o.check) {
		printf("%s: ok\n", o.config);
		status = 0;
	} else if (o.dump) {
		status = conf_dump(p.conf, stdout, false) < 0 || fflush(stdout) != 0;
	} else {
		/* The sender reads them for itself, from the file's bytes. */
		conf_forget_secrets(p.conf);
		status = serve(&p, &signals);
	}
	conf_free(p.conf);
	close(p.config_fd);
	return status;
}
