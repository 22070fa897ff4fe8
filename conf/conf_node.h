/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes of a YAML document. */
#pragma once

#include "conf/conf_guard.h"

yaml_node_t *conf_node_at(yaml_document_t *document, int index);
struct conf_mark conf_node_mark(const yaml_node_t *node);
/* The value that a mapping gives to `name`, or NULL. */
const yaml_node_t *conf_node_find(yaml_document_t *document, const yaml_node_t *mapping,
                                  const char *name);
