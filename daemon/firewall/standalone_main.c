/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pprofwall-firewall as a tool of `pprofwall block --standalone`. Root runs it: it believes none of
 * its arguments, and gives up everything but CAP_NET_ADMIN before it has a socket.
 */
#include "common/cleanup.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "daemon/firewall/policy.h"
#include "daemon/firewall/standalone.h"

#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <string.h>

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, NOBODY = 65534, PORT_SSH = 22 };

enum action { ACTION_NONE, ACTION_BLOCK, ACTION_UNBLOCK, ACTION_LIST, ACTION_DELETE };

struct arguments {
	enum action action;
	struct standalone_request request;
};

static void free_arguments(struct arguments *a)
{
	free(a->request.endpoints);
	free(a->request.allow);
}

static int usage(const char *what, const char *value)
{
	log_error("%s%s%s", what, value ? ": " : "", value ? value : "");
	return -EINVAL;
}

static int read_number(const char *text, uint64_t *out)
{
	uint64_t value = 0;

	if (!*text || strlen(text) > 12)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = 10 * value + (uint64_t)(*text - '0');
	}
	*out = value;
	return 0;
}

static int take_prefix(struct standalone_request *r, const char *text)
{
	if (!r->allow)
		r->allow = calloc(STANDALONE_MAX_ALLOW, sizeof(*r->allow));
	if (!r->allow)
		return -ENOMEM;
	if (r->n_allow == STANDALONE_MAX_ALLOW)
		return usage("--allow: too many", NULL);
	if (prefix_parse(text, &r->allow[r->n_allow]) != PREFIX_OK)
		return usage("--allow", text);
	r->n_allow++;
	return 0;
}

/* 22 in `protect.ports`, as the daemon has it. */
static enum firewall_result judge(const struct endpoint *e, bool even_ssh)
{
	uint16_t ssh = PORT_SSH;
	const struct conf conf = {.protect.ports = {.items = &ssh, .count = even_ssh ? 0 : 1}};

	return policy_check_endpoint(&conf, e, FIREWALL_RULE_MANUAL);
}

static int compare(const void *a, const void *b)
{
	return endpoint_compare(a, b);
}

/* Once each, in order. */
static void simplify(struct standalone_request *r)
{
	size_t n = 0;

	qsort(r->endpoints, r->n_endpoints, sizeof(r->endpoints[0]), compare);
	for (size_t i = 0; i < r->n_endpoints; i++) {
		if (n == 0 || endpoint_compare(&r->endpoints[n - 1], &r->endpoints[i]) != 0)
			r->endpoints[n++] = r->endpoints[i];
	}
	r->n_endpoints = n;
}

static int take_endpoints(struct arguments *a, int n, char **texts)
{
	struct standalone_request *r = &a->request;

	if (n > STANDALONE_MAX_ENDPOINTS)
		return usage("too many endpoints", NULL);
	r->endpoints = calloc((size_t)n + 1, sizeof(*r->endpoints));
	if (!r->endpoints)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		enum firewall_result result;

		if (endpoint_parse(texts[i], &r->endpoints[i]) != 0)
			return usage("not ADDRESS:PORT", texts[i]);
		result = judge(&r->endpoints[i], r->even_ssh);
		if (a->action == ACTION_BLOCK && result != FIREWALL_OK) {
			log_error("%s: %s; nothing is blocked", texts[i],
			          firewall_result_text(result));
			return -EACCES;
		}
	}
	r->n_endpoints = (size_t)n;
	simplify(r);
	return 0;
}

static int check(const struct arguments *a)
{
	const struct standalone_request *r = &a->request;
	const bool is_block = a->action == ACTION_BLOCK;

	if (a->action == ACTION_NONE)
		return usage("nothing to do", NULL);
	if (is_block ? r->n_endpoints == 0 || r->timeout_ms < FIREWALL_TIMEOUT_MIN_MS ||
	                   r->timeout_ms > FIREWALL_TIMEOUT_MAX_MS
	             : r->timeout_ms || r->n_allow || r->even_ssh)
		return usage("options that do not fit", NULL);
	if ((a->action == ACTION_UNBLOCK) != (r->n_endpoints > 0) && !is_block)
		return usage("endpoints belong to --standalone-unblock", NULL);
	return 0;
}

static int read_arguments(int argc, char **argv, struct arguments *out)
{
	static const struct option known[] = {
	    {"standalone-block", no_argument, NULL, 'b'},
	    {"standalone-unblock", no_argument, NULL, 'u'},
	    {"standalone-list", no_argument, NULL, 'l'},
	    {"delete-standalone", no_argument, NULL, 'd'},
	    {"for-ms", required_argument, NULL, 'f'},
	    {"allow", required_argument, NULL, 'a'},
	    {"even-ssh", no_argument, NULL, 'e'},
	    {NULL, 0, NULL, 0},
	};
	enum action action;
	int option, err = 0;

	while (!err && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		action = ACTION_NONE;
		switch (option) {
		case 'b': action = ACTION_BLOCK; break;
		case 'u': action = ACTION_UNBLOCK; break;
		case 'l': action = ACTION_LIST; break;
		case 'd': action = ACTION_DELETE; break;
		case 'f': err = read_number(optarg, &out->request.timeout_ms); break;
		case 'a': err = take_prefix(&out->request, optarg); break;
		case 'e': out->request.even_ssh = true; break;
		default: err = -EINVAL;
		}
		if (action && out->action)
			err = usage("one thing at a time", NULL);
		if (action)
			out->action = action;
	}
	if (!err)
		err = take_endpoints(out, argc - optind, argv + optind);
	return err ? err : check(out);
}

static bool drop_privileges(void)
{
	static const int capabilities[] = {CAP_NET_ADMIN};
	const struct sandbox_spec spec = {
	    .uid = NOBODY,
	    .gid = NOBODY,
	    .capabilities = capabilities,
	    .n_capabilities = ARRAY_LEN(capabilities),
	};
	char why[SANDBOX_ERROR_LEN];

	if (sandbox_drop(&spec, why) == 0)
		return true;
	log_error("%s", why);
	return false;
}

static const char *act(const struct arguments *a)
{
	__attribute__((cleanup(nft_close))) struct nft nft = {0};
	char why[SANDBOX_ERROR_LEN];
	int err = nft_open(&nft);

	if (err)
		return strerror(-err);
	nft.table = NFT_STANDALONE_TABLE_NAME;
	if (sandbox_filter(SANDBOX_FILTER_NETLINK, why)) {
		log_error("%s", why);
		return "no system call filter";
	}
	switch (a->action) {
	case ACTION_BLOCK: return standalone_block(&nft, &a->request);
	case ACTION_UNBLOCK: return standalone_unblock(&nft, &a->request);
	case ACTION_LIST: return standalone_list(&nft, STDOUT_FILENO);
	case ACTION_DELETE: return standalone_delete(&nft);
	case ACTION_NONE: break;
	}
	return "nothing to do";
}

bool standalone_is_meant(int argc, char **argv)
{
	return argc > 1 && (strncmp(argv[1], "--standalone-", strlen("--standalone-")) == 0 ||
	                    strcmp(argv[1], "--delete-standalone") == 0);
}

int standalone_main(int argc, char **argv)
{
	__attribute__((cleanup(free_arguments))) struct arguments a = {0};
	const char *why;
	int err;

	if (!drop_privileges())
		return EXIT_REFUSED;
	err = read_arguments(argc, argv, &a);
	if (err == -EACCES)
		return EXIT_REFUSED;
	if (err) {
		log_error("usage: pprofwall-firewall --standalone-block --for-ms N [--even-ssh] "
		          "[--allow CIDR]... [--] ADDRESS:PORT... | "
		          "--standalone-unblock [--] ADDRESS:PORT... | --standalone-list | "
		          "--delete-standalone");
		return EXIT_USAGE;
	}
	why = act(&a);
	if (!why)
		return EXIT_SUCCESS;
	log_error("table inet " NFT_STANDALONE_TABLE_NAME ": %s", why);
	return EXIT_REFUSED;
}
