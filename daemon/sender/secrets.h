/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a configuration leaves to files and credentials, read when it is checked: so a secret that
 * cannot be had is an error of the configuration, with its place. A file that changes is read again
 * at the next reload.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/sender/credentials.h"

/*
 * Puts the values of url_file, url_credential and their like in the place of those keys, and looks
 * whether what TLS needs can be read. `file` is only for messages. Returns 0, or -EINVAL or -ENOMEM
 * with one line in `error`; what could be had has its place then, too.
 */
int secrets_resolve(const char *file, struct conf_alert *alert,
                    const struct credentials *credentials, char error[static CONF_ERROR_LEN]);

/* False while something of it is still to be had: nothing can be sent without. */
bool secrets_are_complete(const struct conf_alert *alert);
