/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a file to bytes, and from bytes to one YAML document. */
#pragma once

#include "conf/conf_diag.h"

#include <yaml.h>

/* Reads a document's nodes into `base`; returns 0 or what conf_fail() returned. */
typedef int conf_document_fn(yaml_document_t *document, void *base, const struct conf_diag *diag);

/*
 * Guards, parses, calls `read` and wipes what it parsed. `least` is what an empty document lacks.
 * Returns 0 or what conf_fail() returned.
 */
int conf_document_load(const void *bytes, size_t length, const char *least, conf_document_fn *read,
                       void *base, const struct conf_diag *diag);

/*
 * All of a file, from its start and without moving in it, in CONF_MAX_BYTES + 1 bytes that are the
 * caller's to wipe and free. NULL after conf_fail().
 */
char *conf_document_read_fd(int fd, size_t *length, const struct conf_diag *diag);
