/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_node.h"

#include <string.h>

yaml_node_t *conf_node_at(yaml_document_t *document, int index)
{
	return yaml_document_get_node(document, index);
}

struct conf_mark conf_node_mark(const yaml_node_t *node)
{
	return conf_mark_from(node->start_mark);
}

const yaml_node_t *conf_node_find(yaml_document_t *document, const yaml_node_t *mapping,
                                  const char *name)
{
	const yaml_node_pair_t *end = mapping->data.mapping.pairs.top;

	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < end; p++) {
		const yaml_node_t *key = conf_node_at(document, p->key);

		if (key->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)key->data.scalar.value, name) == 0)
			return conf_node_at(document, p->value);
	}
	return NULL;
}
