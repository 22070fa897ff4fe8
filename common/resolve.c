/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/resolve.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct resolver {
	struct event_base *base;
	struct evdns_base *dns;
	unsigned n_questions, max_questions;
	bool bulk;
	bool freeing;
	LIST_HEAD(, resolve_question) questions;
};

struct reverse_question {
	struct resolver *resolver;
	resolve_name_cb *done;
	uint64_t token;
	void *arg;
};

struct resolve_question {
	LIST_ENTRY(resolve_question) link;
	struct resolver *resolver;                 /* NULL once nobody waits for it any more */
	struct evdns_getaddrinfo_request *request; /* NULL: evdns has no more to say */
	struct event *timer;                       /* the deadline, or "answer is ready" */
	resolve_done_cb *done;
	uint64_t token;
	void *arg;
	struct resolve_answer answer;
};

/* What goes wrong with a name is said once, with the name, by whoever asked. */
static void be_silent(int is_warning, const char *message)
{
	(void)is_warning;
	(void)message;
}

/* Reads the files. A missing resolv.conf leaves 127.0.0.1 (resolv.conf(5)). */
static void configure(struct evdns_base *dns, bool bulk)
{
	/* Of the sockets, which are made as the file is read: many answers come together. */
	if (bulk)
		evdns_base_set_option(dns, "so-rcvbuf:", "1048576");
	evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	/*
	 * Three tries, the last of which our own deadline cuts short: evdns has one error for a
	 * server that fails and one that says nothing. A server that failed is soon tried again.
	 */
	evdns_base_set_option(dns, "timeout:", "2");
	evdns_base_set_option(dns, "attempts:", "3");
	/* A and AAAA of each question */
	evdns_base_set_option(dns, "max-inflight:", bulk ? "2048" : "512");
	if (bulk)
		evdns_base_set_option(dns, "max-timeouts:", "255");
	evdns_base_set_option(dns, "initial-probe-timeout:", "2");
}

int resolver_new(struct event_base *base, struct resolver **out)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	evdns_set_log_fn(be_silent);
	r->base = base;
	LIST_INIT(&r->questions);
	r->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!r->dns) {
		free(r);
		return -ENOMEM;
	}
	r->max_questions = RESOLVE_MAX_QUESTIONS;
	configure(r->dns, false);
	*out = r;
	return 0;
}

void resolver_set_bulk(struct resolver *r)
{
	_Static_assert(RESOLVE_BULK_QUESTIONS * 2 == 2048, "as configure() says");
	r->bulk = true;
	r->max_questions = RESOLVE_BULK_QUESTIONS;
	resolver_reload(r);
}

void resolver_reload(struct resolver *r)
{
	evdns_base_clear_nameservers_and_suspend(r->dns);
	evdns_base_clear_host_addresses(r->dns);
	evdns_base_search_clear(r->dns);
	configure(r->dns, r->bulk);
	evdns_base_resume(r->dns);
}

/* Nobody waits for it; its memory goes when evdns has let go of it, too. */
static void release(struct resolve_question *q)
{
	if (q->resolver) {
		q->resolver->n_questions--;
		LIST_REMOVE(q, link);
		q->resolver = NULL;
	}
	if (q->timer) {
		event_free(q->timer);
		q->timer = NULL;
	}
	if (!q->request)
		free(q);
}

void resolve_cancel(struct resolve_question *q)
{
	struct evdns_getaddrinfo_request *request;

	if (!q)
		return;
	request = q->request;
	release(q);
	/* Its callback still comes, from the loop or at once, and frees the question. */
	if (request)
		evdns_getaddrinfo_cancel(request);
}

void resolver_free(struct resolver *r)
{
	struct resolve_question *q;

	if (!r)
		return;
	while ((q = LIST_FIRST(&r->questions)))
		resolve_cancel(q);
	r->freeing = true;
	evdns_base_free(r->dns, 1);
	/* evdns defers its last callbacks. */
	event_base_loop(r->base, EVLOOP_NONBLOCK);
	free(r);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct resolve_question *q = arg;
	struct resolve_answer answer = q->answer;
	resolve_done_cb *done = q->done;
	uint64_t token = q->token;
	void *done_arg = q->arg;

	(void)fd;
	(void)what;
	if (q->request)
		answer.error = -ETIMEDOUT;
	resolve_cancel(q);
	done(&answer, token, done_arg);
}

static int error_from_evdns(int result)
{
	switch (result) {
	case 0: return 0;
	case EVUTIL_EAI_NONAME:
#if defined(EVUTIL_EAI_NODATA) && EVUTIL_EAI_NODATA != EVUTIL_EAI_NONAME
	case EVUTIL_EAI_NODATA:
#endif
		return -ENOENT;
	case EVUTIL_EAI_MEMORY: return -ENOMEM;
	case EVUTIL_EAI_AGAIN: return -ETIMEDOUT;
	default: return -EIO;
	}
}

const char *resolve_strerror(int error)
{
	switch (error) {
	case -ENOENT: return "no such name";
	case -EIO: return "the name has no address, or DNS failed";
	case -ETIMEDOUT: return "no answer in time";
	default: return strerror(-error);
	}
}

/* /etc/hosts may name an address twice, and DNS servers too. */
static void add_address(struct resolve_answer *answer, const struct sockaddr *sa)
{
	struct endpoint *e = &answer->addresses[answer->count];

	if (endpoint_from_sockaddr(sa, e) < 0)
		return;
	e->port = 0;
	for (size_t i = 0; i < answer->count; i++)
		if (endpoint_compare(&answer->addresses[i], e) == 0)
			return;
	answer->count++;
}

static void on_evdns(int result, struct evutil_addrinfo *list, void *arg)
{
	struct resolve_question *q = arg;
	struct resolve_answer *answer = &q->answer;

	q->request = NULL;
	for (struct evutil_addrinfo *ai = list;
	     q->resolver && ai && answer->count < RESOLVE_MAX_ADDRESSES; ai = ai->ai_next)
		add_address(answer, ai->ai_addr);
	if (list)
		evutil_freeaddrinfo(list);
	if (!q->resolver) {
		release(q);
		return;
	}
	answer->error = error_from_evdns(result);
	if (answer->error == 0 && answer->count == 0)
		answer->error = -ENOENT;
	/* evdns answers from /etc/hosts within the question; we always answer from the loop. */
	event_active(q->timer, EV_TIMEOUT, 0);
}

int resolver_ask(struct resolver *r, const char *name, resolve_done_cb *done, uint64_t token,
                 void *arg, struct resolve_question **out)
{
	static const struct timeval deadline = {RESOLVE_DEADLINE_MS / 1000, 0};
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct evdns_getaddrinfo_request *request;
	struct resolve_question *q;

	if (r->n_questions >= r->max_questions)
		return -EAGAIN;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->timer = evtimer_new(r->base, on_timer, q);
	if (!q->timer || event_add(q->timer, &deadline) < 0) {
		release(q);
		return -ENOMEM;
	}
	q->resolver = r;
	q->done = done;
	q->token = token;
	q->arg = arg;
	LIST_INSERT_HEAD(&r->questions, q, link);
	r->n_questions++;
	*out = q;

	if (endpoint_parse_address(name, &q->answer.addresses[0]) == 0) {
		q->answer.count = 1;
		event_active(q->timer, EV_TIMEOUT, 0);
		return 0;
	}
	/* NULL when it has been answered already: then on_evdns() has been here. */
	request = evdns_getaddrinfo(r->dns, name, NULL, &hints, on_evdns, q);
	if (request)
		q->request = request;
	return 0;
}

/* evdns has a time limit of its own: it always comes to an end. */
static void on_reverse(int result, char type, int count, int ttl, void *addresses, void *arg)
{
	struct reverse_question *q = arg;
	char *const *names = addresses;
	const char *name = result == DNS_ERR_NONE && type == DNS_PTR && count > 0 ? names[0] : NULL;

	(void)ttl;
	q->resolver->n_questions--;
	if (!q->resolver->freeing)
		q->done(name, q->token, q->arg);
	free(q);
}

int resolver_ask_name(struct resolver *r, const struct endpoint *address, resolve_name_cb *done,
                      uint64_t token, void *arg)
{
	struct evdns_request *request;
	struct reverse_question *q;

	if (r->n_questions >= r->max_questions)
		return -EAGAIN;
	q = malloc(sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct reverse_question){r, done, token, arg};
	r->n_questions++;
	if (address->family == AF_INET) {
		struct in_addr in;

		memcpy(&in, address->address, sizeof(in));
		request =
		    evdns_base_resolve_reverse(r->dns, &in, DNS_QUERY_NO_SEARCH, on_reverse, q);
	} else {
		struct in6_addr in;

		memcpy(&in, address->address, sizeof(in));
		request = evdns_base_resolve_reverse_ipv6(r->dns, &in, DNS_QUERY_NO_SEARCH,
		                                          on_reverse, q);
	}
	if (request)
		return 0;
	r->n_questions--;
	free(q);
	return -ENOMEM;
}
