/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/chain.h"

#include "daemon/firewall/blocks.h"
#include "daemon/firewall/wire.h"

#include <string.h>

#define RULE_PREFIX   "rule_"
#define FILTER_PREFIX "filter_"

const char *chain_name_of_rule(const struct conf *conf, uint32_t rule,
                               char text[static NFT_NAME_MAXLEN])
{
	if (rule == FIREWALL_RULE_MANUAL)
		snprintf(text, NFT_NAME_MAXLEN, "manual");
	else if (rule > conf->n_breakers)
		snprintf(text, NFT_NAME_MAXLEN, "orphan");
	else
		snprintf(text, NFT_NAME_MAXLEN, RULE_PREFIX "%s", conf->breakers[rule - 1].name);
	return text;
}

const char *chain_name_of_filter(const struct conf *conf, uint32_t rule,
                                 char text[static NFT_NAME_MAXLEN])
{
	snprintf(text, NFT_NAME_MAXLEN, FILTER_PREFIX "%s", conf->breakers[rule - 1].name);
	return text;
}

const char *chain_name_of_seal(const struct conf *conf, uint32_t rule,
                               char text[static NFT_NAME_MAXLEN])
{
	snprintf(text, NFT_NAME_MAXLEN, "seal_%s", conf->breakers[rule - 1].name);
	return text;
}

bool chain_is_filter(const char *name)
{
	return !strncmp(name, FILTER_PREFIX, strlen(FILTER_PREFIX));
}

uint32_t chain_rule_from_name(const struct conf *conf, const char *name)
{
	if (!strcmp(name, "manual"))
		return FIREWALL_RULE_MANUAL;
	if (chain_is_filter(name))
		name += strlen(FILTER_PREFIX);
	else if (!strncmp(name, RULE_PREFIX, strlen(RULE_PREFIX)))
		name += strlen(RULE_PREFIX);
	else
		return BLOCKS_RULE_ORPHAN;
	for (size_t i = 0; i < conf->n_breakers; i++)
		if (!strcmp(name, conf->breakers[i].name))
			return (uint32_t)i + 1;
	return BLOCKS_RULE_ORPHAN;
}
