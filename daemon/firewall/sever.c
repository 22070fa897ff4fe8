/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/sever.h"

#include "common/cleanup.h"
#include "daemon/firewall/conntrack.h"
#include "daemon/firewall/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
	RECEIVE_BYTES = 32 * 1024,
	/* Without a byte in either direction; and where the kernel's clock is too coarse to tell
	 * which of two was the last. */
	IDLE_MS = 250,
	IDLE_UNSURE_MS = 500,
};

/* One end of a connection, the one that this host has. */
struct end {
	struct endpoint local, remote;
	uid_t uid;
	uint8_t family;   /* of the socket: an IPv6 one may serve IPv4 */
	bool transparent; /* accepted by the filter process, or for it */
	bool idle;
	struct inet_diag_sockid id;
};

struct ends {
	struct end *items;
	size_t count, size;
	int error;
};

static void free_ends(struct ends *ends)
{
	free(ends->items);
}

int sever_open(struct mnl_socket **out)
{
	struct mnl_socket *socket =
	    mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int err;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		mnl_socket_close(socket);
		return err;
	}
	*out = socket;
	return 0;
}

/* Finding them */

struct details {
	struct inet_diag_sockopt options;
	bool has_info;
	struct tcp_info info;
};

static struct endpoint read_endpoint(uint8_t family, const uint32_t address[static 4],
                                     uint16_t port)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct endpoint e = {.family = family, .port = ntohs(port)};

	if (family == AF_INET6 && !memcmp(address, mapped, sizeof(mapped))) {
		e.family = AF_INET;
		memcpy(e.address, &address[3], 4);
	} else {
		memcpy(e.address, address, family == AF_INET ? 4 : 16);
	}
	return e;
}

/*
 * Has the server answered whatever it was asked, and the client taken all of it? If something came
 * after what was sent last, a request waits for its answer.
 */
static bool is_idle(const struct inet_diag_msg *m, const struct tcp_info *info)
{
	const uint32_t sent_ms = info->tcpi_last_data_sent, came_ms = info->tcpi_last_data_recv;

	if (m->idiag_rqueue || m->idiag_wqueue || info->tcpi_unacked || came_ms < sent_ms)
		return false;
	return sent_ms >= (sent_ms == came_ms ? IDLE_UNSURE_MS : IDLE_MS);
}

static int take_attribute(const struct nlattr *attribute, void *closure)
{
	const uint16_t length = mnl_attr_get_payload_len(attribute);
	const uint16_t type = mnl_attr_get_type(attribute);
	struct details *details = closure;

	if (type == INET_DIAG_SOCKOPT && length >= sizeof(details->options))
		memcpy(&details->options, mnl_attr_get_payload(attribute),
		       sizeof(details->options));
	/* Kernels tell more, or less, than this program knows of. */
	if (type == INET_DIAG_INFO) {
		details->has_info = true;
		memcpy(&details->info, mnl_attr_get_payload(attribute),
		       length < sizeof(details->info) ? length : sizeof(details->info));
	}
	return MNL_CB_OK;
}

static int take_end(const struct nlmsghdr *message, void *closure)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(message);
	struct ends *ends = closure;
	struct details details = {0};

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*m))
		return MNL_CB_OK;
	if (ends->count == ends->size) {
		size_t size = 2 * ends->size + 64;
		struct end *items = reallocarray(ends->items, size, sizeof(*items));

		if (!items) {
			ends->error = -ENOMEM;
			return MNL_CB_STOP;
		}
		ends->items = items;
		ends->size = size;
	}
	mnl_attr_parse(message, sizeof(*m), take_attribute, &details);
	ends->items[ends->count++] = (struct end){
	    .local = read_endpoint(m->idiag_family, m->id.idiag_src, m->id.idiag_sport),
	    .remote = read_endpoint(m->idiag_family, m->id.idiag_dst, m->id.idiag_dport),
	    .uid = m->idiag_uid,
	    .family = m->idiag_family,
	    .transparent = details.options.transparent,
	    .idle = details.has_info && is_idle(m, &details.info),
	    .id = m->id,
	};
	return MNL_CB_OK;
}

/*
 * "Local or remote port is this": the program that ss(8) compiles for it. A test's operand is the
 * next entry; offsets are in bytes; the end accepts, four bytes behind it refuse. The kernel wants
 * everything to be on the path of "yes", hence the jump.
 */
static void put_port_filter(struct nlmsghdr *message, uint16_t port)
{
	enum { OP = sizeof(struct inet_diag_bc_op) };
	const struct inet_diag_bc_op program[] = {
	    {.code = INET_DIAG_BC_S_EQ, .yes = 2 * OP, .no = 3 * OP},
	    {.no = port},
	    {.code = INET_DIAG_BC_JMP, .yes = OP, .no = 3 * OP},
	    {.code = INET_DIAG_BC_D_EQ, .yes = 2 * OP, .no = 3 * OP},
	    {.no = port},
	};

	mnl_attr_put(message, INET_DIAG_REQ_BYTECODE, sizeof(program), program);
}

static struct inet_diag_req_v2 *put_request(uint8_t *buffer, uint16_t type, uint16_t flags,
                                            uint8_t family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = IPPROTO_TCP;
	return request;
}

/* Sends what is in the buffer and reads all answers. */
static int ask(struct mnl_socket *socket, uint8_t *buffer, mnl_cb_t see, void *closure)
{
	const struct nlmsghdr *message = (const void *)buffer;
	const unsigned portid = mnl_socket_get_portid(socket);

	if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, RECEIVE_BYTES);
		int rc;

		if (length < 0)
			return errno == EAGAIN ? -EIO : -errno;
		rc = mnl_cb_run(buffer, (size_t)length, 0, portid, see, closure);
		if (rc < 0)
			return -errno;
		if (rc == MNL_CB_STOP)
			return 0;
	}
}

static void drain(struct mnl_socket *socket, uint8_t *buffer)
{
	while (mnl_socket_recvfrom(socket, buffer, RECEIVE_BYTES) > 0)
		;
}

static int find_ends(struct mnl_socket *socket, uint8_t *buffer, uint8_t family, uint16_t port,
                     struct ends *ends)
{
	struct inet_diag_req_v2 *request =
	    put_request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family);
	int err;

	request->idiag_states = 1U << TCP_ESTABLISHED | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 |
	                        1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING;
	request->idiag_ext = 1U << (INET_DIAG_INFO - 1);
	put_port_filter((struct nlmsghdr *)(void *)buffer, port);
	err = ask(socket, buffer, take_end, ends);
	if (!err)
		err = ends->error;
	if (err)
		drain(socket, buffer);
	return err;
}

/* Whose they are */

static bool is_listed(const struct conf_prefixes *list, const struct endpoint *client)
{
	for (size_t i = 0; i < list->count; i++)
		if (prefix_contains(&list->items[i], client))
			return true;
	return false;
}

static int compare_ends(const void *a, const void *b)
{
	const struct end *x = a, *y = b;
	int order = endpoint_compare(&x->local, &y->local);

	return order ? order : endpoint_compare(&x->remote, &y->remote);
}

static int take_client(const struct nlmsghdr *message, void *closure)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(message);
	struct ends *found = closure;

	/* Where there is no connection the kernel names the listener of that port. */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*m) || m->idiag_state == TCP_LISTEN)
		return MNL_CB_OK;
	return take_end(message, found);
}

/*
 * A dump is a walk through the kernel's table: of a connection that begins meanwhile it may show
 * the server's end alone. So this one is asked for by name.
 */
static bool ask_for_client(struct mnl_socket *socket, const struct end *client, uid_t *uid)
{
	_Alignas(struct nlmsghdr) uint8_t buffer[RECEIVE_BYTES];
	__attribute__((cleanup(free_ends))) struct ends found = {0};
	struct inet_diag_req_v2 *request =
	    put_request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_ACK, (uint8_t)client->local.family);
	size_t length = client->local.family == AF_INET ? 4 : 16;

	request->idiag_states = UINT32_MAX;
	request->id.idiag_sport = htons(client->local.port);
	request->id.idiag_dport = htons(client->remote.port);
	memcpy(request->id.idiag_src, client->local.address, length);
	memcpy(request->id.idiag_dst, client->remote.address, length);
	request->id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (ask(socket, buffer, take_client, &found) || !found.count)
		return false;
	*uid = found.items[0].uid;
	return true;
}

/* Whether the client is on this host, and whose it is. */
static bool find_client(struct mnl_socket *socket, const struct ends *sorted,
                        const struct end *server, uid_t *uid)
{
	const struct end client = {.local = server->remote, .remote = server->local};
	const struct end *there =
	    bsearch(&client, sorted->items, sorted->count, sizeof(client), compare_ends);

	if (!there)
		return ask_for_client(socket, &client, uid);
	*uid = there->uid;
	return true;
}

static int take_listener(const struct nlmsghdr *message, void *closure)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(message);

	*(bool *)closure =
	    mnl_nlmsg_get_payload_len(message) >= sizeof(*m) && m->idiag_state == TCP_LISTEN;
	return MNL_CB_OK;
}

/* Where nobody is the other end, the kernel names who listens there, on any address too. */
static bool is_listening(struct mnl_socket *socket, const struct endpoint *local)
{
	_Alignas(struct nlmsghdr) uint8_t buffer[RECEIVE_BYTES];
	struct inet_diag_req_v2 *request =
	    put_request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_ACK, (uint8_t)local->family);
	bool found = false;

	request->idiag_states = UINT32_MAX;
	request->id.idiag_sport = htons(local->port);
	memcpy(request->id.idiag_src, local->address, local->family == AF_INET ? 4 : 16);
	request->id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return ask(socket, buffer, take_listener, &found) == 0 && found;
}

/*
 * Is ours the server's end, and who is the client? Of what conntrack has not seen since it began,
 * the ports tell; where both look like a server's, or both like a client's, who chose his own may
 * be either, and it is the server's end if somebody listens there.
 */
static bool is_server(struct nft *nft, struct mnl_socket *socket, const struct end *end,
                      struct endpoint *client)
{
	enum { CLIENT_PORTS = 32768 }; /* the first of net.ipv4.ip_local_port_range */
	const bool ours_is_low = end->local.port < CLIENT_PORTS;
	const bool other_is_low = end->remote.port < CLIENT_PORTS;

	*client = end->remote;
	switch (conntrack_find_role(nft, &end->local, &end->remote, client)) {
	case CONNTRACK_SERVER: return true;
	case CONNTRACK_CLIENT: return false;
	case CONNTRACK_UNKNOWN: break;
	}
	return ours_is_low == other_is_low ? is_listening(socket, &end->local) : ours_is_low;
}

/* `address` is the client's as it opened the connection, `server` has it as it arrived. */
static bool is_let_through(struct mnl_socket *socket, const struct sever_rule *rule,
                           const struct ends *ends, const struct end *server,
                           const struct endpoint *address)
{
	const struct conf *conf = rule->conf;
	const struct conf_breaker *breaker =
	    rule->rule && rule->rule <= conf->n_breakers ? &conf->breakers[rule->rule - 1] : NULL;
	uid_t uid = 0;

	if (is_listed(&conf->protect.sources, address))
		return true;
	if (breaker) {
		const struct conf_prefixes said =
		    allowed_get(rule->allowed, rule->rule, address->family);

		if (is_listed(&breaker->allow_from, address) || is_listed(&said, address))
			return true;
	}
	if (!find_client(socket, ends, server, &uid))
		return false;
	return !(breaker && breaker->seal_local) || uid == rule->prober_uid ||
	       (rule->kind != SEVER_ALL && uid == rule->filter_uid);
}

static bool is_meant(const struct sever_rule *rule, const struct end *end)
{
	return rule->kind == SEVER_ALL ||
	       (!end->transparent && (rule->kind != SEVER_IDLE || end->idle));
}

/* Ending them */

/* One that has ended by itself meanwhile is no error. */
static int destroy(struct mnl_socket *socket, uint8_t *buffer, const struct end *end)
{
	struct inet_diag_req_v2 *request =
	    put_request(buffer, SOCK_DESTROY, NLM_F_ACK, end->family);

	request->idiag_states = UINT32_MAX;
	request->id = end->id;
	return ask(socket, buffer, NULL, NULL);
}

static int compare_blocks(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return endpoint_compare(&x->endpoint, &y->endpoint);
}

static const struct block *find_block(const struct block *blocks, size_t count,
                                      const struct endpoint *local)
{
	const struct block key = {.endpoint = *local};

	return bsearch(&key, blocks, count, sizeof(key), compare_blocks);
}

int sever_connections(struct mnl_socket *socket, struct nft *nft, const struct block *blocks,
                      size_t count, struct sever_rule *rule, size_t *ended)
{
	_Alignas(struct nlmsghdr) uint8_t buffer[RECEIVE_BYTES];
	__attribute__((cleanup(free_ends))) struct ends ends = {0};
	const uint16_t port = blocks->endpoint.port;
	int err = find_ends(socket, buffer, AF_INET6, port, &ends);
	int first_error = 0;

	*ended = 0;
	/* IPv4 is ordered before IPv6. */
	if (!err && blocks->endpoint.family == AF_INET)
		err = find_ends(socket, buffer, AF_INET, port, &ends);
	if (err || !ends.count)
		return err;
	qsort(ends.items, ends.count, sizeof(ends.items[0]), compare_ends);
	for (size_t i = 0; i < ends.count; i++) {
		const struct end *end = &ends.items[i];
		const struct block *block = find_block(blocks, count, &end->local);
		struct endpoint client;

		if (!block || !is_meant(rule, end) || !is_server(nft, socket, end, &client))
			continue;
		rule->rule = block->rule;
		if (is_let_through(socket, rule, &ends, end, &client))
			continue;
		err = destroy(socket, buffer, end);
		if (!err)
			++*ended;
		if (err == -EOPNOTSUPP)
			return err;
		if (err && err != -ENOENT && !first_error)
			first_error = err;
	}
	return first_error;
}
