/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A YAML document's nodes against a schema. */
#pragma once

#include "conf/conf_schema.h"

#include <yaml.h>

/*
 * Fills a zeroed `base`, defaults included. Returns 0, or what conf_fail() returned;
 * conf_table_free() releases what it owns either way.
 */
int conf_read_table(yaml_document_t *document, const struct conf_table *table, void *base,
                    const struct conf_diag *diag);

/* The same for a zeroed struct conf (void, to fit conf_document_load()), and conf_free(). */
int conf_read_document(yaml_document_t *document, void *conf, const struct conf_diag *diag);
