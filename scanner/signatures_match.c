/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking things up in signatures that are loaded: pure, and without YAML. */
#include "scanner/signatures.h"

#include <string.h>

const struct conf_ports *signatures_find_ports(const struct signatures *s, const char *name)
{
	for (size_t i = 0; s && i < s->n_ports; i++) {
		if (strcmp(s->ports[i].name, name) == 0)
			return &s->ports[i].ports;
	}
	return NULL;
}

bool signatures_is_https_first(const struct signatures *s, uint16_t port)
{
	for (size_t i = 0; s && i < s->https_first.count; i++) {
		if (s->https_first.items[i] == port)
			return true;
	}
	return false;
}

bool signature_relative_matches(const struct signature_relative *r, const char *content_type,
                                const void *body, size_t length)
{
	if (r->content_type &&
	    strncasecmp(content_type, r->content_type, strlen(r->content_type)) != 0)
		return false;
	for (size_t i = 0; i < r->contains.count; i++) {
		const char *text = r->contains.items[i];

		if (!memmem(body, length, text, strlen(text)))
			return false;
	}
	return r->contains.count > 0;
}
