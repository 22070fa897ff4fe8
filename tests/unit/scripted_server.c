/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/scripted_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

bool scripted_was_asked(const struct scripted *s, enum fingerprint_step step)
{
	for (unsigned i = 0; i < s->n_asked; i++)
		if (s->asked[i] == step)
			return true;
	return false;
}

void scripted_run(struct scripted *s)
{
	struct fingerprint *fp = fingerprint_new();
	struct fingerprint_request request;

	assert_non_null(fp);
	finding_init(&s->f);
	s->n_asked = 0;
	fingerprint_reset(fp, &s->conf);
	while (fingerprint_next(fp, &request)) {
		struct http_answer answer = PAGE(404, PLAIN, "404 page not found\n");

		assert_true(s->n_asked < FINGERPRINT_MAX_REQUESTS);
		if (s->n_asked == 0)
			snprintf(s->first_path, sizeof(s->first_path), "%s", request.path);
		s->asked[s->n_asked++] = request.step;
		snprintf(s->last_path, sizeof(s->last_path), "%s", request.path);
		for (size_t i = 0; i < s->n_replies; i++) {
			const struct scripted_reply *r = &s->replies[i];

			if (r->step == request.step && (r->tls < 0 || r->tls == request.tls)) {
				answer = r->answer;
				break;
			}
		}
		answer.tls = request.tls && answer.status;
		fingerprint_feed(fp, &answer);
	}
	assert_int_equal(fingerprint_finish(fp, &s->f), 0);
	fingerprint_free(fp);
}

void scripted_check(struct scripted *s, enum finding_verdict verdict,
                    enum finding_severity severity, bool high_risk, unsigned requests)
{
	scripted_run(s);
	if (s->f.verdict != verdict)
		fail_msg("%s, expected %s", finding_verdict_name(s->f.verdict),
		         finding_verdict_name(verdict));
	assert_int_equal(s->f.severity, severity);
	assert_int_equal(s->f.high_risk, high_risk);
	assert_int_equal(s->n_asked, requests);
}

void scripted_fini(struct scripted *s)
{
	finding_fini(&s->f);
}
