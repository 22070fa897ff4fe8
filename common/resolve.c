/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/resolve.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HOSTS_FILE "/etc/hosts"

struct resolver {
	struct event_base *base;
	struct evdns_base *dns;
	struct evdns_base *hosts; /* knows no server: only /etc/hosts, for resolver_ask_ttl() */
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

/* One of the two questions that make up one of resolver_ask_ttl(). */
struct half {
	struct resolve_question *question;
	sa_family_t family;
	struct evdns_request *request; /* NULL: evdns has no more to say */
	int result;                    /* DNS_ERR_* */
};

struct resolve_question {
	LIST_ENTRY(resolve_question) link;
	struct resolver *resolver;                 /* NULL once nobody waits for it any more */
	struct evdns_getaddrinfo_request *request; /* NULL: evdns has no more to say */
	struct half halves[2];
	struct event *timer; /* the deadline, or "answer is ready" */
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
	r->hosts = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!r->dns || !r->hosts) {
		if (r->dns)
			evdns_base_free(r->dns, 0);
		free(r);
		return -ENOMEM;
	}
	evdns_base_load_hosts(r->hosts, HOSTS_FILE);
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
	evdns_base_clear_host_addresses(r->hosts);
	evdns_base_load_hosts(r->hosts, HOSTS_FILE);
	configure(r->dns, r->bulk);
	evdns_base_resume(r->dns);
}

static bool is_asking(const struct resolve_question *q)
{
	return q->request || q->halves[0].request || q->halves[1].request;
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
	if (!is_asking(q))
		free(q);
}

void resolve_cancel(struct resolve_question *q)
{
	struct evdns_getaddrinfo_request *request;
	struct evdns_request *halves[2];
	struct evdns_base *dns;

	if (!q || !q->resolver)
		return;
	request = q->request;
	dns = q->resolver->dns;
	halves[0] = q->halves[0].request;
	halves[1] = q->halves[1].request;
	release(q);
	/* Their callbacks still come, from the loop or at once, and the last frees the question. */
	if (request)
		evdns_getaddrinfo_cancel(request);
	for (size_t i = 0; i < 2; i++) {
		if (halves[i])
			evdns_cancel_request(dns, halves[i]);
	}
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
	evdns_base_free(r->hosts, 1);
	/* evdns defers its last callbacks. */
	event_base_loop(r->base, EVLOOP_NONBLOCK);
	free(r);
}

/* What one of two questions has brought by now is not thrown away. */
static void time_out(const struct resolve_question *q, struct resolve_answer *answer)
{
	if (answer->count == 0)
		answer->error = -ETIMEDOUT;
	else if (q->halves[0].request || q->halves[1].request)
		answer->unanswered = q->halves[0].request ? AF_INET : AF_INET6;
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
	if (is_asking(q))
		time_out(q, &answer);
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
	case -ENODATA: return "the name has no address";
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

/* A question with its deadline, and nobody asked yet. */
static struct resolve_question *new_question(struct resolver *r, resolve_done_cb *done,
                                             uint64_t token, void *arg)
{
	static const struct timeval deadline = {RESOLVE_DEADLINE_MS / 1000, 0};
	struct resolve_question *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->timer = evtimer_new(r->base, on_timer, q);
	if (!q->timer || event_add(q->timer, &deadline) < 0) {
		release(q);
		return NULL;
	}
	q->resolver = r;
	q->done = done;
	q->token = token;
	q->arg = arg;
	LIST_INSERT_HEAD(&r->questions, q, link);
	r->n_questions++;
	return q;
}

static const struct evutil_addrinfo any_family = {.ai_family = AF_UNSPEC,
                                                  .ai_socktype = SOCK_STREAM};

static bool answer_number(struct resolve_question *q, const char *name)
{
	if (endpoint_parse_address(name, &q->answer.addresses[0]) < 0)
		return false;
	q->answer.count = 1;
	event_active(q->timer, EV_TIMEOUT, 0);
	return true;
}

int resolver_ask(struct resolver *r, const char *name, resolve_done_cb *done, uint64_t token,
                 void *arg, struct resolve_question **out)
{
	struct evdns_getaddrinfo_request *request;
	struct resolve_question *q;

	if (r->n_questions >= r->max_questions)
		return -EAGAIN;
	q = new_question(r, done, token, arg);
	if (!q)
		return -ENOMEM;
	*out = q;
	if (answer_number(q, name))
		return 0;
	/* NULL when it has been answered already: then on_evdns() has been here. */
	request = evdns_getaddrinfo(r->dns, name, NULL, &any_family, on_evdns, q);
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

/* What evdns finds in a file, it answers within the question; it has nowhere else to look. */
struct hosts_lookup {
	struct resolve_answer *answer;
};

static void on_hosts(int result, struct evutil_addrinfo *list, void *arg)
{
	struct hosts_lookup *lookup = arg;

	(void)result;
	for (struct evutil_addrinfo *ai = list;
	     lookup->answer && ai && lookup->answer->count < RESOLVE_MAX_ADDRESSES;
	     ai = ai->ai_next)
		add_address(lookup->answer, ai->ai_addr);
	if (list)
		evutil_freeaddrinfo(list);
	if (!lookup->answer)
		free(lookup);
}

static int look_into_hosts(struct resolver *r, const char *name, struct resolve_answer *answer)
{
	struct hosts_lookup *lookup = calloc(1, sizeof(*lookup));
	struct evdns_getaddrinfo_request *request;

	if (!lookup)
		return -ENOMEM;
	lookup->answer = answer;
	request = evdns_getaddrinfo(r->hosts, name, NULL, &any_family, on_hosts, lookup);
	lookup->answer = NULL;
	if (request)
		evdns_getaddrinfo_cancel(request); /* on_hosts() comes once more, and frees */
	else
		free(lookup);
	return answer->count > 0 ? 0 : -ENOENT;
}

static bool says_none(int result)
{
	return result == DNS_ERR_NODATA || result == DNS_ERR_NOTEXIST;
}

/* Both questions are answered. */
static void conclude(struct resolve_question *q)
{
	struct resolve_answer *answer = &q->answer;
	const struct half *h = q->halves;

	if (answer->count > 0) {
		for (size_t i = 0; i < 2; i++) {
			if (h[i].result != DNS_ERR_NONE && !says_none(h[i].result))
				answer->unanswered = h[i].family;
		}
	} else if (says_none(h[0].result) && says_none(h[1].result)) {
		bool exists = h[0].result == DNS_ERR_NODATA || h[1].result == DNS_ERR_NODATA;

		answer->error = exists ? -ENODATA : -ENOENT;
	} else if (h[0].result == DNS_ERR_TIMEOUT || h[1].result == DNS_ERR_TIMEOUT) {
		answer->error = -ETIMEDOUT;
	} else {
		answer->error = -EIO;
	}
	event_active(q->timer, EV_TIMEOUT, 0);
}

static void take_records(struct resolve_answer *answer, sa_family_t family, int count, int ttl_s,
                         const void *records)
{
	size_t length = family == AF_INET ? 4 : 16;
	uint32_t ttl = ttl_s < RESOLVE_TTL_MIN_S ? RESOLVE_TTL_MIN_S : (uint32_t)ttl_s;

	if (ttl > RESOLVE_TTL_MAX_S)
		ttl = RESOLVE_TTL_MAX_S;
	if (answer->ttl_s == 0 || ttl < answer->ttl_s)
		answer->ttl_s = ttl;
	for (int i = 0; i < count && answer->count < RESOLVE_MAX_ADDRESSES; i++) {
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
		struct sockaddr_in v4 = {.sin_family = AF_INET};
		const char *record = (const char *)records + (size_t)i * length;

		memcpy(family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, record,
		       length);
		add_address(answer, family == AF_INET ? (const struct sockaddr *)&v4
		                                      : (const struct sockaddr *)&v6);
	}
}

static void on_records(int result, char type, int count, int ttl_s, void *records, void *arg)
{
	struct half *half = arg;
	struct resolve_question *q = half->question;

	half->request = NULL;
	half->result = result;
	if (!q->resolver) {
		release(q);
		return;
	}
	if (result == DNS_ERR_NONE && count > 0 &&
	    type == (half->family == AF_INET ? DNS_IPv4_A : DNS_IPv6_AAAA))
		take_records(&q->answer, half->family, count, ttl_s, records);
	else if (result == DNS_ERR_NONE)
		half->result = DNS_ERR_NODATA;
	if (!is_asking(q))
		conclude(q);
}

int resolver_ask_ttl(struct resolver *r, const char *name, resolve_done_cb *done, uint64_t token,
                     void *arg, struct resolve_question **out)
{
	struct resolve_question *q;

	if (r->n_questions >= r->max_questions)
		return -EAGAIN;
	q = new_question(r, done, token, arg);
	if (!q)
		return -ENOMEM;
	*out = q;
	if (answer_number(q, name))
		return 0;
	if (look_into_hosts(r, name, &q->answer) == 0) {
		event_active(q->timer, EV_TIMEOUT, 0);
		return 0;
	}
	q->halves[0] = (struct half){.question = q, .family = AF_INET, .result = DNS_ERR_UNKNOWN};
	q->halves[1] = (struct half){.question = q, .family = AF_INET6, .result = DNS_ERR_UNKNOWN};
	/* Their callbacks come from the loop. */
	q->halves[0].request = evdns_base_resolve_ipv4(r->dns, name, 0, on_records, &q->halves[0]);
	q->halves[1].request = evdns_base_resolve_ipv6(r->dns, name, 0, on_records, &q->halves[1]);
	if (!is_asking(q))
		conclude(q);
	return 0;
}
