/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `pprofwall scan --explain`: every request of a probe, what came back, what it shows by the rules
 * of scanner/fingerprint_rules.h, and why the verdict is what it is. Pure; any thread.
 */
#pragma once

#include "scanner/exchange.h"

/*
 * Text for people; no control characters but line feeds, whatever came, and no secrets unless
 * `show_secrets`. `log` may be NULL. Errors show in the stream.
 */
void explain_write(FILE *to, const struct finding *f, const struct exchange_log *log,
                   bool show_secrets);
