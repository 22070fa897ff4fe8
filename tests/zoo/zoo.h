/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recorded servers as a source of answers, for tests: reads tests/zoo/SERVER/, takes the chunks
 * and the gzip off, and fills a struct http_answer. Exits on a broken recording.
 */
#pragma once

#include "scanner/fingerprint.h"

struct zoo_answer {
	struct http_answer answer; /* points into what follows */
	char content_type[128];
	char location[256];
	uint8_t *body;
};

/*
 * The recorded answer to a request, a 404 of net/http where the path is not on record, and a TLS
 * failure for https: all were recorded without. zoo_answer_fini() releases it.
 */
void zoo_answer_read(const char *server, const struct fingerprint_request *request,
                     struct zoo_answer *out);
void zoo_answer_fini(struct zoo_answer *a);
