/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `--print nft`: what the daemon's table does (docs/firewall.md) in the form that nft(8) reads,
 * for hosts on which nothing of ours runs. nft 1.0.6 has no concatenation of conntrack's ports, so
 * that replies are matched by their own addresses here.
 */
#include "scanner/block.h"
#include "scanner/verbs.h"

#include <inttypes.h>

#define TABLE "pprofwall-printed"

static const sa_family_t families[] = {AF_INET, AF_INET6};

static const char *ip_of(sa_family_t family)
{
	return family == AF_INET ? "ip" : "ip6";
}

static char digit_of(sa_family_t family)
{
	return family == AF_INET ? '4' : '6';
}

static bool has_endpoints(const struct block_options *o, sa_family_t family)
{
	for (size_t i = 0; i < o->n_endpoints; i++)
		if (o->endpoints[i].family == family)
			return true;
	return false;
}

static bool has_allowed(const struct block_options *o, sa_family_t family)
{
	for (size_t i = 0; i < o->n_allow; i++)
		if (o->allow[i].family == family)
			return true;
	return false;
}

static void print_endpoints(const struct block_options *o, sa_family_t family, FILE *out)
{
	char text[ENDPOINT_TEXT_LEN];

	fprintf(out, "\tset blocked%c {\n\t\ttype ipv%c_addr . inet_service\n", digit_of(family),
	        digit_of(family));
	if (o->for_given)
		fputs("\t\tflags timeout\n", out);
	fputs("\t\telements = {\n", out);
	for (size_t i = 0; i < o->n_endpoints; i++) {
		struct endpoint e = o->endpoints[i];

		if (e.family != family)
			continue;
		e.scope_id = 0;
		fprintf(out, "\t\t\t%s . %u", endpoint_format_address(&e, text), e.port);
		if (o->for_given)
			fprintf(out, " timeout %" PRId64 "s", (o->for_ms + 999) / 1000);
		fputs(",\n", out);
	}
	fputs("\t\t}\n\t}\n\n", out);
}

static void print_allowed(const struct block_options *o, sa_family_t family, FILE *out)
{
	char text[PREFIX_TEXT_LEN];

	fprintf(out, "\tset allow%c {\n\t\ttype ipv%c_addr\n\t\tflags interval\n\t\tauto-merge\n",
	        digit_of(family), digit_of(family));
	fputs("\t\telements = {\n", out);
	for (size_t i = 0; i < o->n_allow; i++)
		if (o->allow[i].family == family)
			fprintf(out, "\t\t\t%s,\n", prefix_format(&o->allow[i], text));
	fputs("\t\t}\n\t}\n\n", out);
}

static void print_wall(const struct block_options *o, FILE *out)
{
	fputs("\tchain wall {\n"
	      "\t\t# the resets with which we refuse, and this host's own clients\n"
	      "\t\ttcp flags & rst == rst return\n"
	      "\t\tiif \"lo\" return\n"
	      "\t\tct direction reply fib daddr type local return\n",
	      out);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (has_endpoints(o, families[i]) && has_allowed(o, families[i]))
			fprintf(out, "\t\tct original %s saddr @allow%c return\n",
			        ip_of(families[i]), digit_of(families[i]));
	fputs("\t\tct direction reply counter drop\n"
	      "\t\tct state invalid counter drop\n"
	      "\t\tcounter reject with tcp reset\n"
	      "\t}\n\n",
	      out);
}

/* One line for each family that has endpoints; % stands for ip or ip6, $ for 4 or 6. */
static void print_lines(const struct block_options *o, const char *pattern, FILE *out)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (!has_endpoints(o, families[i]))
			continue;
		fputs("\t\t", out);
		for (const char *c = pattern; *c; c++) {
			if (*c == '%')
				fputs(ip_of(families[i]), out);
			else
				putc(*c == '$' ? digit_of(families[i]) : *c, out);
		}
		putc('\n', out);
	}
}

static void print_hooks(const struct block_options *o, FILE *out)
{
	/* A server that was not told of the reset goes on sending: no new connection of its. */
	static const char picked_up[] = "iif != \"lo\" ct state new tcp flags & (syn | ack) != syn "
	                                "% saddr . tcp sport @blocked$ drop";
	static const char reply[] = "ct direction reply % saddr . tcp sport @blocked$ goto wall";

	fputs("\tchain prerouting {\n"
	      "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
	      "\t\tmeta l4proto != tcp accept\n"
	      "\t\tct direction reply accept\n",
	      out);
	print_lines(o, picked_up, out);
	print_lines(o, "% daddr . tcp dport @blocked$ goto wall", out);
	fputs("\t}\n\n"
	      "\tchain prerouting_nat {\n"
	      "\t\ttype filter hook prerouting priority dstnat + 10; policy accept;\n"
	      "\t\tmeta l4proto != tcp accept\n",
	      out);
	print_lines(
	    o, "ct direction original ct status dnat % daddr . tcp dport @blocked$ goto wall", out);
	fputs("\t\tiif \"lo\" accept\n", out);
	print_lines(o, reply, out);
	fputs("\t}\n\n"
	      "\tchain output {\n"
	      "\t\ttype filter hook output priority mangle; policy accept;\n"
	      "\t\tmeta l4proto != tcp accept\n"
	      "\t\toif \"lo\" accept\n",
	      out);
	print_lines(o, picked_up, out);
	print_lines(o, reply, out);
	fputs("\t}\n}\n", out);
}

int block_print_nft(const struct block_options *o, FILE *out)
{
	fputs("#!/usr/sbin/nft -f\n"
	      "# Made by `pprofwall block --print nft`. Load it again at will; take it away with\n"
	      "#   nft delete table inet " TABLE "\n"
	      "# It refuses TCP connections to these endpoints from other machines and from\n"
	      "# containers. This host's own clients pass.\n",
	      out);
	fprintf(out, "# %s\n",
	        o->for_given ? "The blocks expire in the kernel, from when this is loaded."
	                     : "NOTHING HERE EXPIRES; --for DURATION gives the blocks an end.");
	fputs("table inet " TABLE "\n"
	      "delete table inet " TABLE "\n"
	      "table inet " TABLE " {\n",
	      out);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (!has_endpoints(o, families[i]))
			continue;
		print_endpoints(o, families[i], out);
		if (has_allowed(o, families[i]))
			print_allowed(o, families[i], out);
	}
	print_wall(o, out);
	print_hooks(o, out);
	return VERB_OK;
}
