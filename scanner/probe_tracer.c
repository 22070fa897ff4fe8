/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/probe_tracer.h"

#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

enum { SENT_MAX_BYTES = 4096 };

struct probe_tracer {
	char sent[SENT_MAX_BYTES];
	size_t sent_length;
	size_t head_max_bytes;
	size_t head_length;
	char head[];
};

static void append(char *to, size_t *used, size_t size, const char *bytes, size_t length)
{
	size_t take = length < size - *used ? length : size - *used;

	memcpy(to + *used, bytes, take);
	*used += take;
}

static int on_debug(CURL *easy, curl_infotype type, char *bytes, size_t length, void *arg)
{
	struct probe_tracer *t = arg;

	(void)easy;
	if (type == CURLINFO_HEADER_OUT)
		append(t->sent, &t->sent_length, sizeof(t->sent), bytes, length);
	else if (type == CURLINFO_HEADER_IN)
		append(t->head, &t->head_length, t->head_max_bytes, bytes, length);
	return 0;
}

struct probe_tracer *probe_tracer_new(CURL *easy, size_t head_max_bytes)
{
	struct probe_tracer *t = malloc(sizeof(*t) + head_max_bytes);

	if (!t)
		return NULL;
	t->head_max_bytes = head_max_bytes;
	probe_tracer_reset(t);
	curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(easy, CURLOPT_DEBUGDATA, t);
	curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
	return t;
}

void probe_tracer_free(struct probe_tracer *t)
{
	free(t);
}

void probe_tracer_reset(struct probe_tracer *t)
{
	if (!t)
		return;
	t->sent_length = 0;
	t->head_length = 0;
}

void probe_tracer_fill(const struct probe_tracer *t, CURL *easy, struct probe_exchange *out)
{
	curl_off_t total_us = 0;

	out->sent = t->sent;
	out->sent_length = t->sent_length;
	out->head = t->head;
	out->head_length = t->head_length;
	out->time_ms = clock_wall_ms();
	if (!curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &total_us))
		out->took_us = (int64_t)total_us;
}
