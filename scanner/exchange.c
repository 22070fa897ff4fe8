/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/exchange.h"

#include "common/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

/* A list, newest first: as long as the probes that are under way, and walked a few times each. */
struct entry {
	const struct probe_request *probe;
	struct exchange_log *log;
	LIST_ENTRY(entry) link;
};

struct exchange_book {
	LIST_HEAD(entries, entry) entries;
};

AUTO_CLEANUP(log, struct exchange_log *, exchange_log_free)
#define auto_log __attribute__((cleanup(cleanup_log)))

struct exchange_book *exchange_book_new(void)
{
	struct exchange_book *book = calloc(1, sizeof(*book));

	if (book)
		LIST_INIT(&book->entries);
	return book;
}

static void delete_entry(struct entry *entry)
{
	LIST_REMOVE(entry, link);
	exchange_log_free(entry->log);
	free(entry);
}

void exchange_book_free(struct exchange_book *book)
{
	struct entry *entry;

	if (!book)
		return;
	while ((entry = LIST_FIRST(&book->entries)))
		delete_entry(entry);
	free(book);
}

static struct entry *find_entry(struct exchange_book *book, const struct probe_request *probe)
{
	struct entry *entry;

	LIST_FOREACH (entry, &book->entries, link)
		if (entry->probe == probe)
			return entry;
	return NULL;
}

static struct entry *make_entry(struct exchange_book *book, const struct probe_request *probe)
{
	auto_free struct entry *entry = calloc(1, sizeof(*entry));
	auto_log struct exchange_log *log = calloc(1, sizeof(*log));

	if (!entry || !log)
		return NULL;
	entry->probe = probe;
	entry->log = steal_ptr(&log);
	LIST_INSERT_HEAD(&book->entries, entry, link);
	return steal_ptr(&entry);
}

static int copy(struct exchange *to, const struct probe_exchange *from)
{
	const struct http_answer *a = from->answer;

	to->request = *from->request;
	to->answer = *a;
	to->time_ms = from->time_ms;
	to->took_us = from->took_us;
	to->sent = strndup(from->sent, from->sent_length);
	to->head = malloc(from->head_length + 1);
	to->content_type = strdup(a->content_type ? a->content_type : "");
	to->location = strdup(a->location ? a->location : "");
	to->body = malloc(a->body_length + 1);
	if (!to->sent || !to->head || !to->content_type || !to->location || !to->body)
		return -ENOMEM;
	memcpy(to->head, from->head, from->head_length);
	to->head[from->head_length] = '\0';
	to->head_length = from->head_length;
	if (a->body_length > 0)
		memcpy(to->body, a->body, a->body_length);
	to->answer.content_type = to->content_type;
	to->answer.location = to->location;
	to->answer.body = to->body;
	return 0;
}

int exchange_book_add(struct exchange_book *book, const struct probe_request *probe,
                      const struct probe_exchange *exchange)
{
	struct entry *entry = find_entry(book, probe);

	if (!entry)
		entry = make_entry(book, probe);
	if (!entry)
		return -ENOMEM;
	if (entry->log->count >= FINGERPRINT_MAX_REQUESTS)
		return 0;
	/* counted first, so that half a copy is freed with the rest */
	return copy(&entry->log->items[entry->log->count++], exchange);
}

struct exchange_log *exchange_book_take(struct exchange_book *book,
                                        const struct probe_request *probe)
{
	struct entry *entry = find_entry(book, probe);
	struct exchange_log *log;

	if (!entry)
		return NULL;
	log = steal_ptr(&entry->log);
	delete_entry(entry);
	return log;
}

void exchange_log_free(struct exchange_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->count; i++) {
		struct exchange *e = &log->items[i];

		free(e->sent);
		free(e->head);
		free(e->content_type);
		free(e->location);
		free(e->body);
	}
	free(log);
}

const char *exchange_step_name(enum fingerprint_step step)
{
	switch (step) {
	case FINGERPRINT_INDEX: return "index";
	case FINGERPRINT_INDEX_REDIRECTED: return "redirected";
	case FINGERPRINT_SYMBOL: return "symbol";
	case FINGERPRINT_CONTROL: return "control";
	case FINGERPRINT_CMDLINE: return "cmdline";
	case FINGERPRINT_GOROUTINE: return "goroutine";
	case FINGERPRINT_GOROUTINE_REFUSED: return "goroutine-refused";
	case FINGERPRINT_PREFIX: return "prefix";
	case FINGERPRINT_RELATIVE: return "relative";
	case FINGERPRINT_METRICS: return "metrics";
	case FINGERPRINT_ROOT: return "root";
	}
	return "other";
}
