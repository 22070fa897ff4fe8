/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rows cannot say of a configuration as a whole. */
#pragma once

#include "conf/conf_diag.h"

#include <yaml.h>

/*
 * After its keys were read: one list of filters and breakers, with those that are made by default,
 * and marks of packets that go together. Returns 0 or what conf_fail() returned.
 */
int conf_complete(yaml_document_t *document, struct conf *conf, const struct conf_diag *diag);
