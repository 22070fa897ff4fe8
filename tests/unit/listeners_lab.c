/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listeners_lab.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <string.h>

static void on_appeared(struct watch *w, int64_t seen_ns, void *arg)
{
	struct table *t = arg;

	t->appeared++;
	t->seen_ns = seen_ns;
	t->last = w;
}

static void on_changed(struct watch *w, void *arg)
{
	struct table *t = arg;

	t->changed++;
	t->last = w;
}

static void on_gone(struct watch *w, void *arg)
{
	struct table *t = arg;

	t->gone++;
	watch_set_remove(t->watches, w);
}

static bool is_own(int pid, void *arg)
{
	(void)arg;
	return pid == OWN_PID;
}

void configure(struct table *t, bool seals_loopback)
{
	static const uint16_t protected_ports[] = {22, 8022};
	const struct listeners_conf conf = {
	    .protected_ports = protected_ports,
	    .n_protected = ARRAY_LEN(protected_ports),
	    .metrics = {.family = AF_INET, .port = 9464},
	    .seals_loopback = seals_loopback,
	    .inside = t->inside,
	};

	assert_int_equal(listeners_configure(t->l, &conf), 0);
}

static void parse(const char *text, uint8_t *family, uint8_t address[static 16])
{
	memset(address, 0, 16);
	*family = strchr(text, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(*family, text, address), 1);
}

/* `addresses` with blanks between, each with flags before it: "L" loopback, "S" service, "Z" fe80.
 */
void tell_namespace(struct table *t, uint64_t netns, enum inventory_change change,
                    const char *addresses)
{
	struct inventory_namespace f = {.version = INVENTORY_WIRE_VERSION,
	                                .change = (uint8_t)change,
	                                .host = netns == HOST,
	                                .netns = netns};
	auto_free char *copy = strdup(addresses);
	char *rest = copy, *word;

	while ((word = strsep(&rest, " "))) {
		struct inventory_address *a = &f.addresses[f.count];

		if (!*word)
			continue;
		a->flags = *word == 'L'   ? INVENTORY_ADDRESS_LOOPBACK
		           : *word == 'S' ? INVENTORY_ADDRESS_SERVICE
		           : *word == 'Z' ? INVENTORY_ADDRESS_LINK_LOCAL
		                          : 0;
		parse(word + (a->flags != 0), &a->family, a->address);
		f.count++;
	}
	assert_int_equal(listeners_take_namespace(t->l, &f,
	                                          offsetof(struct inventory_namespace, addresses) +
	                                              f.count * sizeof(f.addresses[0]),
	                                          1000),
	                 0);
}

struct inventory_listener make_listener(uint64_t netns, const char *address, uint16_t port)
{
	struct inventory_listener f = {.version = INVENTORY_WIRE_VERSION,
	                               .change = INVENTORY_ADDED,
	                               .port = port,
	                               .netns = netns,
	                               .seen_ns = 77,
	                               .sockets = 1,
	                               .pid = 1,
	                               .command = "server"};

	parse(address, &f.family, f.address);
	return f;
}

void tell(struct table *t, const struct inventory_listener *f, int64_t now_ms)
{
	assert_int_equal(listeners_take_listener(t->l, f, sizeof(*f), now_ms), 0);
}

void tell_listener(struct table *t, uint64_t netns, const char *address, uint16_t port)
{
	const struct inventory_listener f = make_listener(netns, address, port);

	tell(t, &f, 1000);
}

void tell_gone(struct table *t, uint64_t netns, const char *address, uint16_t port, int64_t now_ms)
{
	struct inventory_listener f = make_listener(netns, address, port);

	f.change = INVENTORY_GONE;
	tell(t, &f, now_ms);
}

void tell_synced(struct table *t, int64_t now_ms)
{
	const struct inventory_status status = {.version = INVENTORY_WIRE_VERSION,
	                                        .mode = INVENTORY_BY_EVENTS};

	assert_int_equal(listeners_take_synced(t->l, &status, sizeof(status), now_ms), 0);
}

struct watch *find(const struct table *t, const char *endpoint)
{
	struct watch_key key;

	assert_int_equal(watch_parse_name(endpoint, &key), 0);
	return watch_set_find_key(t->watches, &key);
}

int set_up(void **state)
{
	struct table *t = calloc(1, sizeof(*t));
	const struct listeners_handlers handlers = {.appeared = on_appeared,
	                                            .changed = on_changed,
	                                            .gone = on_gone,
	                                            .is_own = is_own,
	                                            .arg = t};

	assert_non_null(t);
	t->watches = watch_set_new();
	assert_int_equal(listeners_new(t->watches, &handlers, &t->l), 0);
	configure(t, false);
	tell_namespace(t, HOST, INVENTORY_ADDED,
	               "L127.0.0.1 10.0.0.5 S10.96.0.1 L::1 2001:db8::5 Zfe80::1");
	tell_synced(t, 1000);
	*state = t;
	return 0;
}

int tear_down(void **state)
{
	struct table *t = *state;

	listeners_free(t->l);
	watch_set_free(t->watches);
	free(t);
	return 0;
}
