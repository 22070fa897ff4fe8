/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `--print networkpolicy`. A NetworkPolicy can only allow, and selects pods by their labels: what
 * is printed allows every port but the blocked ones, and those from the given prefixes, to a label
 * that the reader has to fill in. As it stands it selects no pod, and so does no harm.
 */
#include "common/cleanup.h"
#include "scanner/block.h"
#include "scanner/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_LEN = 40, PORT_MAX = 65535 };

/* "10-0-0-7", or 32 digits: fit for a name and for a label's value. */
static const char *name_of(const struct endpoint *e, char text[static NAME_LEN])
{
	size_t n = 0;

	if (e->family == AF_INET) {
		snprintf(text, NAME_LEN, "%u-%u-%u-%u", e->address[0], e->address[1], e->address[2],
		         e->address[3]);
		return text;
	}
	for (size_t i = 0; i < sizeof(e->address); i++)
		n += (size_t)snprintf(text + n, NAME_LEN - n, "%02x", e->address[i]);
	return text;
}

static void print_range(unsigned first, unsigned last, FILE *out)
{
	if (first > last)
		return;
	fprintf(out, "        - protocol: TCP\n          port: %u\n", first);
	if (last > first)
		fprintf(out, "          endPort: %u\n", last);
}

/* All but these ports, which are of one address and in order. */
static void print_other_ports(const struct endpoint *list, size_t n, FILE *out)
{
	unsigned next = 1;

	fputs("    # everything but what is blocked, from everybody\n    - ports:\n", out);
	for (size_t i = 0; i < n; i++) {
		print_range(next, list[i].port - 1U, out);
		next = list[i].port + 1U;
	}
	print_range(next, PORT_MAX, out);
	fputs("        - protocol: UDP\n          port: 1\n          endPort: 65535\n"
	      "        - protocol: SCTP\n          port: 1\n          endPort: 65535\n",
	      out);
}

static void print_cidr(const struct prefix *p, FILE *out)
{
	char text[PREFIX_TEXT_LEN];

	prefix_format(p, text);
	fprintf(out, "        - ipBlock:\n            cidr: \"%s", text);
	if (!strchr(text, '/'))
		fprintf(out, "/%u", p->bits);
	fputs("\"\n", out);
}

static void print_allowed(const struct block_options *o, const struct endpoint *list, size_t n,
                          FILE *out)
{
	bool any = false;

	for (size_t i = 0; i < o->n_allow; i++)
		any |= o->allow[i].family == list[0].family;
	if (!any) {
		fputs("    # what is blocked: from nobody\n", out);
		return;
	}
	fputs(
	    "    # what is blocked: from these alone, if their packets keep their source address\n"
	    "    - from:\n",
	    out);
	for (size_t i = 0; i < o->n_allow; i++)
		if (o->allow[i].family == list[0].family)
			print_cidr(&o->allow[i], out);
	fputs("      ports:\n", out);
	for (size_t i = 0; i < n; i++)
		print_range(list[i].port, list[i].port, out);
}

static void print_policy(const struct block_options *o, const struct endpoint *list, size_t n,
                         FILE *out)
{
	char name[NAME_LEN], text[ENDPOINT_TEXT_LEN];

	name_of(&list[0], name);
	endpoint_format_address(&list[0], text);
	fprintf(out,
	        "---\n"
	        "apiVersion: networking.k8s.io/v1\n"
	        "kind: NetworkPolicy\n"
	        "metadata:\n"
	        "  name: pprofwall-%s\n"
	        "  # namespace: the pod's own\n"
	        "spec:\n"
	        "  podSelector:\n"
	        "    matchLabels:\n"
	        "      # REPLACE by labels of the pod that has %s; see\n"
	        "      #   kubectl get pods -A -o wide --show-labels | grep -w %s\n"
	        "      pprofwall/replace-me: \"%s\"\n"
	        "  policyTypes:\n"
	        "    - Ingress\n"
	        "  ingress:\n",
	        name, text, text, name);
	print_other_ports(list, n, out);
	print_allowed(o, list, n, out);
}

static int compare(const void *a, const void *b)
{
	return endpoint_compare(a, b);
}

static bool is_same_address(const struct endpoint *a, const struct endpoint *b)
{
	return a->family == b->family && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

/* In order, without scopes, each once. */
static size_t simplify(struct endpoint *list, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		list[i].scope_id = 0;
	qsort(list, n, sizeof(list[0]), compare);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || endpoint_compare(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	return kept;
}

int block_print_policy(const struct block_options *o, FILE *out)
{
	auto_free struct endpoint *list = calloc(o->n_endpoints, sizeof(*list));
	size_t n, from = 0;

	if (!list)
		return VERB_REFUSED;
	memcpy(list, o->endpoints, o->n_endpoints * sizeof(*list));
	n = simplify(list, o->n_endpoints);
	fputs(
	    "# Made by `pprofwall block --print networkpolicy`. A NetworkPolicy can only allow:\n"
	    "# each of these allows all ports of a pod but the blocked ones.\n"
	    "# - As they stand they select no pod: replace the label.\n"
	    "# - They add up: any other policy that allows the port to the pod still does.\n"
	    "# - Ports are the container's, behind any Service. endPort needs Kubernetes 1.25 and\n"
	    "#   a network plug-in that has it; the plug-in must enforce policies at all.\n"
	    "# - The pod's own node gets through always, its kubelet's probes included; pods of\n"
	    "#   the host's network are not covered.\n"
	    "# - A policy does not expire; take it away with kubectl delete networkpolicy NAME.\n",
	    out);
	for (size_t i = 1; i <= n; i++) {
		if (i < n && is_same_address(&list[from], &list[i]))
			continue;
		print_policy(o, &list[from], i - from, out);
		from = i;
	}
	return VERB_OK;
}
