/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/diag.h"

#include "daemon/inventory/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_BYTES = 256, TRIES = 5 };

/* Linux 5.9's IPPROTO_MPTCP; it does not fit the request's field, and goes into an attribute. */
enum { PROTOCOL_MPTCP = 262 };

/* One dump: what is asked, what is kept, and where it goes. */
struct dump {
	uint8_t family;
	int protocol;
	uint32_t states;
	bool peers;
	uint16_t port; /* peers */
	uint8_t wanted_family;
	const uint8_t *address; /* peers of this address alone; NULL: of any */
	const uint32_t *inodes; /* sorted: these alone; NULL: whatever there is */
	size_t n_inodes;
	size_t max;
	struct diag_list *list;
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* The kernel's words of an address; mapped ones are what they stand for. Returns the family. */
static uint8_t copy_address(uint8_t family, const uint32_t words[4], uint8_t out[static 16])
{
	memset(out, 0, 16);
	if (family == AF_INET) {
		memcpy(out, words, 4);
		return AF_INET;
	}
	if (memcmp(words, mapped_prefix, sizeof(mapped_prefix)) == 0) {
		memcpy(out, words + 3, 4);
		return AF_INET;
	}
	memcpy(out, words, 16);
	return AF_INET6;
}

static int append(struct diag_list *list, const struct diag_socket *s)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		struct diag_socket *items = reallocarray(list->items, room, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = *s;
	return 0;
}

static int on_attribute(const struct nlattr *attr, void *arg)
{
	struct diag_socket *s = arg;

	if (mnl_attr_get_type(attr) == INET_DIAG_SKV6ONLY &&
	    mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
		s->v6only = mnl_attr_get_u8(attr) != 0;
	return MNL_CB_OK;
}

/* Does the connection's own end have the address that was asked for? */
static bool is_wanted(const struct dump *d, const struct inet_diag_msg *m)
{
	uint8_t address[16];

	if (!d->address)
		return true;
	return copy_address(m->idiag_family, m->id.idiag_src, address) == d->wanted_family &&
	       memcmp(address, d->address, sizeof(address)) == 0;
}

static int compare_inodes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool is_held(const struct dump *d, uint32_t inode)
{
	return !d->inodes ||
	       bsearch(&inode, d->inodes, d->n_inodes, sizeof(d->inodes[0]), compare_inodes);
}

static int on_socket(const struct nlmsghdr *nlh, void *arg)
{
	struct dump *d = arg;
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct diag_socket s = {0};

	if ((nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY && nlh->nlmsg_type != TCPDIAG_GETSOCK) ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(*m) ||
	    (m->idiag_family != AF_INET && m->idiag_family != AF_INET6) ||
	    !is_held(d, m->idiag_inode))
		return MNL_CB_OK;
	s.inode = m->idiag_inode;
	s.uid = m->idiag_uid;
	if (d->peers) {
		if (ntohs(m->id.idiag_sport) != d->port || !is_wanted(d, m))
			return MNL_CB_OK;
		s.port = ntohs(m->id.idiag_dport);
		s.family = copy_address(m->idiag_family, m->id.idiag_dst, s.address);
	} else {
		s.port = ntohs(m->id.idiag_sport);
		s.family = copy_address(m->idiag_family, m->id.idiag_src, s.address);
		if (s.family == AF_INET6)
			mnl_attr_parse(nlh, sizeof(*m), on_attribute, &s);
	}
	if (s.port == 0)
		return MNL_CB_OK;
	if (d->list->count >= d->max) {
		d->list->cut = true;
		return MNL_CB_OK;
	}
	if (append(d->list, &s) < 0) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

/* The port, as a program for the kernel: at least it, and at most it; else behind the end. */
static void put_port(struct nlmsghdr *nlh, uint16_t port)
{
	enum { STEP = 2 * sizeof(struct inet_diag_bc_op) };
	const struct inet_diag_bc_op code[] = {
	    {.code = INET_DIAG_BC_S_GE, .yes = STEP, .no = 2 * STEP + 4},
	    {.no = port},
	    {.code = INET_DIAG_BC_S_LE, .yes = STEP, .no = STEP + 4},
	    {.no = port},
	};

	mnl_attr_put(nlh, INET_DIAG_REQ_BYTECODE, sizeof(code), code);
}

static int ask(struct dump *d)
{
	_Alignas(8) uint8_t bytes[REQUEST_BYTES] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(bytes);
	struct inet_diag_req_v2 *request;
	int rc;

	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request = mnl_nlmsg_put_extra_header(nlh, sizeof(*request));
	request->sdiag_family = d->family;
	request->sdiag_protocol = (uint8_t)d->protocol;
	request->idiag_states = d->states;
	if (d->protocol > UINT8_MAX)
		mnl_attr_put_u32(nlh, INET_DIAG_REQ_PROTOCOL, (uint32_t)d->protocol);
	if (d->peers)
		put_port(nlh, d->port);
	rc = netlink_ask(NETLINK_SOCK_DIAG, nlh, on_socket, d);
	if (rc > 1) /* on old kernels, always: the last only says that this was all */
		d->list->in_pieces = true;
	return rc < 0 ? rc : 0;
}

/* IPv4, then IPv6; a kernel without the latter answers with an error that means "none". */
static int ask_both(struct dump *d)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int err = 0;

	for (size_t i = 0; i < 2; i++) {
		size_t before = d->list->count;
		bool was_cut = d->list->cut;

		d->family = families[i];
		for (int try = 0; try < TRIES; try++) {
			d->list->count = before;
			d->list->cut = was_cut;
			err = ask(d);
			if (err != -EINTR)
				break;
		}
		if (families[i] == AF_INET6 && err == -ENOENT) {
			d->list->count = before;
			err = 0;
		}
		if (err < 0) {
			diag_list_free(d->list);
			return err;
		}
	}
	return 0;
}

/*
 * The request that was there before sock_diag(7): it has no family, and so the kernel, which goes
 * through the sockets of every namespace for each answer, does that once and not twice.
 */
static int ask_at_once(struct dump *d)
{
	int err = -EINTR;

	for (int try = 0; try < TRIES && err == -EINTR; try++) {
		_Alignas(8) uint8_t bytes[REQUEST_BYTES] = {0};
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(bytes);
		struct inet_diag_req *request;

		nlh->nlmsg_type = TCPDIAG_GETSOCK;
		nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		request = mnl_nlmsg_put_extra_header(nlh, sizeof(*request));
		request->idiag_family = AF_INET;
		request->idiag_states = d->states;
		if (d->peers)
			put_port(nlh, d->port);
		d->list->count = 0;
		d->list->cut = false;
		err = netlink_ask(NETLINK_SOCK_DIAG, nlh, on_socket, d);
	}
	if (err > 1)
		d->list->in_pieces = true;
	return err < 0 ? err : 0;
}

/* Of TCP. */
static int ask_all(struct dump *d)
{
	int err = ask_at_once(d);

	if (err == 0)
		return 0;
	d->list->count = 0;
	d->list->cut = false;
	return ask_both(d);
}

int diag_compare(const struct diag_socket *a, const struct diag_socket *b)
{
	int order = (int)a->family - (int)b->family;

	if (order == 0)
		order = memcmp(a->address, b->address, sizeof(a->address));
	return order ? order : (int)a->port - (int)b->port;
}

static int compare_with_inode(const void *a, const void *b)
{
	const struct diag_socket *x = a, *y = b;
	int order = diag_compare(x, y);

	return order ? order : (x->inode > y->inode) - (x->inode < y->inode);
}

static int list_listeners(int protocol, struct diag_list *out)
{
	struct dump d = {.protocol = protocol,
	                 .states = 1U << TCP_LISTEN,
	                 .max = DIAG_MAX_LISTENERS,
	                 .list = out};
	int err;

	*out = (struct diag_list){0};
	err = protocol == IPPROTO_TCP ? ask_all(&d) : ask_both(&d);
	if (err == 0 && out->count)
		qsort(out->items, out->count, sizeof(*out->items), compare_with_inode);
	return err;
}

int diag_list_listeners(struct diag_list *out)
{
	return list_listeners(IPPROTO_TCP, out);
}

int diag_list_mptcp(struct diag_list *out)
{
	return list_listeners(PROTOCOL_MPTCP, out);
}

int diag_list_peers(uint8_t family, const uint8_t address[static 16], uint16_t port, size_t max,
                    struct diag_list *out)
{
	static const uint8_t any[16];
	struct dump d = {
	    .protocol = IPPROTO_TCP,
	    .states = 1U << TCP_ESTABLISHED,
	    .peers = true,
	    .port = port,
	    .wanted_family = family,
	    .address = memcmp(address, any, sizeof(any)) == 0 ? NULL : address,
	    .max = max,
	    .list = out,
	};

	*out = (struct diag_list){0};
	return ask_all(&d);
}

int diag_list_held(const uint32_t *inodes, size_t n_inodes, struct diag_list *out)
{
	struct dump d = {
	    .protocol = IPPROTO_TCP,
	    .states = 1U << TCP_LISTEN | 1U << TCP_ESTABLISHED,
	    .inodes = inodes,
	    .n_inodes = n_inodes,
	    .max = n_inodes,
	    .list = out,
	};
	size_t kept = 0;
	int err;

	*out = (struct diag_list){0};
	if (n_inodes == 0)
		return 0;
	err = ask_all(&d);
	if (err < 0 || out->count == 0)
		return err;
	qsort(out->items, out->count, sizeof(*out->items), compare_with_inode);
	for (size_t i = 0; i < out->count; i++) {
		if (i == 0 || diag_compare(&out->items[kept - 1], &out->items[i]) != 0)
			out->items[kept++] = out->items[i];
	}
	out->count = kept;
	return 0;
}

void diag_list_free(struct diag_list *list)
{
	free(list->items);
	*list = (struct diag_list){0};
}
