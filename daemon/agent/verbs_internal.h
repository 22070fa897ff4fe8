/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket's verbs share: verbs.c has most, verbs_ack.c those of `pprofwall ack`. */
#pragma once

#include "daemon/agent/agent.h"

typedef void verb_function(struct agent *a, struct control_request *cr,
                           const struct control_peer *peer, const json_t *request);

/* These answer an error themselves, and return false. */
bool verbs_read_key(struct control_request *cr, const json_t *request, struct watch_key *out);
/* Who, why, and until when: all but the endpoint. */
bool verbs_read_terms(struct control_request *cr, const struct control_peer *peer,
                      const json_t *request, size_t reason_at_least, struct state_manual *out);

verb_function verbs_ack, verbs_unack;
/* verbs_test.c */
verb_function verbs_test_alert;
