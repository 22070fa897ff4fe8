/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/resolve.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct lookup {
	struct resolver *resolver;
	struct evdns_getaddrinfo_request *request; /* NULL when evdns has answered at once */
	struct event *deadline;
	bool timed_out;
	resolve_done_cb *done; /* NULL: forgotten */
	void *arg;
	LIST_ENTRY(lookup) link;
};

struct resolver {
	struct event_base *base;
	struct evdns_base *dns;
	LIST_HEAD(, lookup) lookups;
};

/* What goes wrong with a name is said once, with the name, by whoever asked. */
static void be_silent(int is_warning, const char *message)
{
	(void)is_warning;
	(void)message;
}

int resolver_new(struct event_base *base, struct resolver **out)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return -ENOMEM;
	evdns_set_log_fn(be_silent);
	resolver->base = base;
	LIST_INIT(&resolver->lookups);
	resolver->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!resolver->dns) {
		free(resolver);
		return -EIO;
	}
	/* Without the file, evdns asks a server on this host, as the C library does. */
	evdns_base_resolv_conf_parse(resolver->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	/* One server's silence should leave time for the next, within our deadline. */
	evdns_base_set_option(resolver->dns, "timeout:", "2");
	evdns_base_set_option(resolver->dns, "attempts:", "2");
	*out = resolver;
	return 0;
}

static void lookup_delete(struct lookup *lookup)
{
	LIST_REMOVE(lookup, link);
	if (lookup->deadline)
		event_free(lookup->deadline);
	free(lookup);
}

void resolver_free(struct resolver *resolver)
{
	struct lookup *lookup;

	if (!resolver)
		return;
	LIST_FOREACH (lookup, &resolver->lookups, link)
		lookup->done = NULL;
	/* Fails what is under way: on_answer() runs for each, now or from the loop's end. */
	evdns_base_free(resolver->dns, 1);
	while ((lookup = LIST_FIRST(&resolver->lookups)))
		lookup_delete(lookup);
	free(resolver);
}

static size_t copy_addresses(const struct evutil_addrinfo *list,
                             struct endpoint out[static RESOLVE_MAX_ADDRESSES])
{
	size_t count = 0;

	for (; list && count < RESOLVE_MAX_ADDRESSES; list = list->ai_next) {
		struct endpoint e;
		bool known = false;

		if (!list->ai_addr || endpoint_from_sockaddr(list->ai_addr, &e) < 0)
			continue;
		e.port = 0;
		for (size_t i = 0; i < count; i++)
			known = known || endpoint_compare(&out[i], &e) == 0;
		if (!known)
			out[count++] = e;
	}
	return count;
}

static void on_answer(int result, struct evutil_addrinfo *list, void *arg)
{
	struct lookup *lookup = arg;
	struct endpoint addresses[RESOLVE_MAX_ADDRESSES];
	resolve_done_cb *done = lookup->done;
	void *done_arg = lookup->arg;
	size_t count = result == 0 ? copy_addresses(list, addresses) : 0;
	const char *error = NULL;

	if (lookup->timed_out)
		error = "no answer in time";
	else if (result != 0)
		error = evutil_gai_strerror(result);
	else if (count == 0)
		error = "it has no address";
	if (list)
		evutil_freeaddrinfo(list);
	lookup_delete(lookup);
	if (done)
		done(error, addresses, count, done_arg);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *lookup = arg;

	(void)fd;
	(void)what;
	lookup->timed_out = true;
	if (lookup->request)
		evdns_getaddrinfo_cancel(lookup->request);
}

int resolver_lookup(struct resolver *resolver, const char *name, resolve_done_cb *done, void *arg)
{
	const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	const struct timeval tv = {RESOLVE_TIMEOUT_MS / 1000, RESOLVE_TIMEOUT_MS % 1000 * 1000};
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	struct evdns_getaddrinfo_request *request;

	if (!lookup)
		return -ENOMEM;
	lookup->resolver = resolver;
	lookup->done = done;
	lookup->arg = arg;
	LIST_INSERT_HEAD(&resolver->lookups, lookup, link);
	lookup->deadline = evtimer_new(resolver->base, on_deadline, lookup);
	if (!lookup->deadline || evtimer_add(lookup->deadline, &tv) < 0) {
		lookup_delete(lookup);
		return -ENOMEM;
	}
	/* NULL: on_answer() has run already, and the lookup is gone. */
	request = evdns_getaddrinfo(resolver->dns, name, NULL, &hints, on_answer, lookup);
	if (request)
		lookup->request = request;
	return 0;
}
