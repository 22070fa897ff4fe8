/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes are signatures or one line of error; what loads can be merged with itself, which
 * changes nothing but the version and the lists that grow.
 */
#include "scanner/signatures.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const char *error)
{
	size_t length = strnlen(error, CONF_ERROR_LEN);

	if (length == 0 || length == CONF_ERROR_LEN || strncmp(error, "fuzz:", 5) != 0 ||
	    strchr(error, '\n'))
		abort();
}

/* What the code that uses them takes for granted. */
static void check_loaded(const struct signatures *s)
{
	if (s->schema != SIGNATURES_SCHEMA || !s->version)
		abort();
	for (size_t i = 0; i < s->n_ports; i++)
		if (signatures_find_ports(s, s->ports[i].name) != &s->ports[i].ports ||
		    s->ports[i].ports.count == 0)
			abort();
	for (size_t i = 0; i < s->https_first.count; i++)
		if (!signatures_is_https_first(s, s->https_first.items[i]))
			abort();
	for (size_t i = 0; i < s->prefixes.count; i++)
		if (s->prefixes.items[i][0] != '/')
			abort();
	for (size_t i = 0; i < s->n_relatives; i++) {
		const struct signature_relative *r = &s->relatives[i];

		if (r->path[0] != '/' || r->contains.count == 0 ||
		    signature_relative_matches(r, "", "", 0))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONF_ERROR_LEN] = "";
	struct signatures *s = signatures_load("fuzz", data, size, error);
	struct signatures *again;
	size_t ports, products, relatives, prefixes;

	if (!s) {
		check_error(error);
		return 0;
	}
	check_loaded(s);
	again = signatures_load("fuzz", data, size, error);
	if (!again)
		abort();
	ports = s->n_ports;
	products = s->n_products;
	relatives = s->n_relatives;
	prefixes = s->prefixes.count;
	if (signatures_merge(s, again) < 0 || s->n_ports != ports || s->n_products != products ||
	    s->n_relatives != relatives || s->prefixes.count != 2 * prefixes)
		abort();
	check_loaded(s);
	signatures_free(again);
	signatures_free(s);
	return 0;
}
