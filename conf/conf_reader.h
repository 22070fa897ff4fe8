/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A YAML document's nodes against the schema. */
#pragma once

#include "conf/conf_diag.h"

#include <yaml.h>

/*
 * Fills a zeroed struct conf, defaults included. Returns 0, or what conf_fail() returned; *conf
 * can be released with conf_free() either way.
 */
int conf_read_document(yaml_document_t *document, struct conf *conf, const struct conf_diag *diag);
