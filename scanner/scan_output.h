/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that a scan writes: standard output, files, evidence, explanations. All is opened at
 * the start, so that privileges can be dropped afterwards. One thread.
 */
#pragma once

#include "scanner/scan_options.h"

#include "scanner/probe.h"
#include "scanner/sweep_trailer.h"

enum { SCAN_OUTPUT_ERROR_LEN = 768 };

struct scan_output;

/*
 * Opens and begins everything; forks, where evidence is kept. `options` must outlive it. Returns 0,
 * or -errno and one line in `why`.
 */
int scan_output_open(const struct scan_options *options, const char *scan_id,
                     struct scan_output **out, char why[static SCAN_OUTPUT_ERROR_LEN]);

/* Whether scan_output_note() wants to be told (probe_set_trace()). */
bool scan_output_wants_exchanges(const struct scan_output *s);
/* Returns 0 or -ENOMEM. */
int scan_output_note(struct scan_output *s, const struct probe_request *request,
                     const struct probe_exchange *exchange);
/* The probe is to be made once more: what was noted of it does not count. */
void scan_output_forget(struct scan_output *s, const struct probe_request *request);
/*
 * The end of a probe, also of one whose finding is not to be shown. Returns 0, or -errno and what
 * could not be written in `why`.
 */
int scan_output_write(struct scan_output *s, const struct probe_request *request,
                      const struct finding *f, bool show, char why[static SCAN_OUTPUT_ERROR_LEN]);
/*
 * Ends every output, NDJSON with the trailer unless that is NULL. `complete`: everything was
 * scanned. Likewise.
 */
int scan_output_finish(struct scan_output *s, bool complete, const struct sweep_trailer *trailer,
                       char why[static SCAN_OUTPUT_ERROR_LEN]);
void scan_output_free(struct scan_output *s);
