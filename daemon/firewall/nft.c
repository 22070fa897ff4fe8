/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall/nft.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum {
	/* A transaction is one message to the kernel: 100,000 blocks are about 60 MB. EMSGSIZE
	 * came at 360 KB with the default. */
	SEND_BUFFER_BYTES = 256 * 1024 * 1024,
	RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024,
};

static int set_buffers(int fd)
{
	const int send_bytes = SEND_BUFFER_BYTES, receive_bytes = RECEIVE_BUFFER_BYTES, on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_bytes, sizeof(send_bytes)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes)))
		return -errno;
	/* Acknowledgements without the request, which may be larger than our buffer. */
	if (setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)))
		return -errno;
	return 0;
}

int nft_open(struct nft *nft)
{
	struct nft opened = {.table = NFT_TABLE_NAME};
	int err;

	opened.buffer = malloc(NFT_BUFFER_BYTES);
	if (!opened.buffer)
		return -ENOMEM;
	/* Non-blocking: a kernel that does not answer is an error, not a hang. */
	opened.socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!opened.socket || mnl_socket_bind(opened.socket, 0, MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	else
		err = set_buffers(mnl_socket_get_fd(opened.socket));
	if (err) {
		nft_close(&opened);
		return err;
	}
	opened.portid = mnl_socket_get_portid(opened.socket);
	*nft = opened;
	return 0;
}

void nft_close(struct nft *nft)
{
	if (nft->socket)
		mnl_socket_close(nft->socket);
	free(nft->buffer);
	*nft = (struct nft){0};
}

/* Transactions */

void nft_batch_init(struct nft *nft, struct nft_batch *batch)
{
	struct nlmsghdr *message;

	*batch = (struct nft_batch){
	    .seq = nft->seq, .table = nft->table, .bridge = nft->bridge, .family = NFPROTO_INET};
	message = nft_batch_message(batch, NFNL_MSG_BATCH_BEGIN, 0);
	if (!message)
		return;
	if (nft->expected_generation)
		mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(nft->expected_generation));
	nft_batch_end_message(batch, message);
}

void nft_batch_fini(struct nft_batch *batch)
{
	free(batch->bytes);
	batch->bytes = NULL;
}

struct nlmsghdr *nft_batch_message(struct nft_batch *batch, uint16_t type, uint16_t flags)
{
	const bool is_frame = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
	struct nlmsghdr *message;
	struct nfgenmsg *family;

	if (batch->failed)
		return NULL;
	if (batch->size - batch->used < NFT_BUFFER_BYTES) {
		size_t size = 2 * batch->size + NFT_BUFFER_BYTES;
		uint8_t *bytes = realloc(batch->bytes, size);

		if (!bytes) {
			batch->failed = true;
			return NULL;
		}
		batch->bytes = bytes;
		batch->size = size;
	}
	message = mnl_nlmsg_put_header(batch->bytes + batch->used);
	message->nlmsg_type = is_frame ? type : (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = batch->seq++;
	family = mnl_nlmsg_put_extra_header(message, sizeof(*family));
	family->nfgen_family = is_frame ? NFPROTO_UNSPEC : batch->family;
	family->version = NFNETLINK_V0;
	family->res_id = htons(is_frame ? NFNL_SUBSYS_NFTABLES : 0);
	return message;
}

void nft_batch_end_message(struct nft_batch *batch, const struct nlmsghdr *message)
{
	batch->last = batch->used;
	batch->used += NLMSG_ALIGN(message->nlmsg_len);
}

void nft_batch_delete_table(struct nft_batch *batch)
{
	struct nlmsghdr *message = nft_batch_message(batch, NFT_MSG_DELTABLE, 0);

	if (!message)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, batch->table);
	nft_batch_end_message(batch, message);
}

/* The verdict: the last message is acknowledged only when the whole transaction was committed. */
static int read_verdict(struct nft *nft, uint32_t last_seq)
{
	bool acknowledged = false;
	int first_error = 0;
	ssize_t length;

	while ((length = mnl_socket_recvfrom(nft->socket, nft->buffer, NFT_BUFFER_BYTES)) > 0) {
		const struct nlmsghdr *m = (const void *)nft->buffer;
		int left = (int)length;

		for (; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

			if (m->nlmsg_type != NLMSG_ERROR ||
			    mnl_nlmsg_get_payload_len(m) < sizeof(e->error))
				continue;
			if (e->error && !first_error)
				first_error = e->error;
			else if (!e->error && m->nlmsg_seq == last_seq)
				acknowledged = true;
		}
	}
	if (length < 0 && errno != EAGAIN)
		return -errno;
	return first_error ? first_error : acknowledged ? 0 : -EIO;
}

int nft_batch_commit(struct nft *nft, struct nft_batch *batch)
{
	struct nlmsghdr *message;
	uint32_t last_seq;

	if (batch->failed)
		return -ENOMEM;
	message = (struct nlmsghdr *)(void *)(batch->bytes + batch->last);
	message->nlmsg_flags |= NLM_F_ACK;
	last_seq = message->nlmsg_seq;
	message = nft_batch_message(batch, NFNL_MSG_BATCH_END, 0);
	if (!message)
		return -ENOMEM;
	nft_batch_end_message(batch, message);
	nft->seq = batch->seq;
	if (mnl_socket_sendto(nft->socket, batch->bytes, batch->used) < 0)
		return -errno;
	return read_verdict(nft, last_seq);
}

/* Questions */

struct nlmsghdr *nft_request(struct nft *nft, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(nft->buffer);
	struct nfgenmsg *family;

	message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = nft->seq++;
	family = mnl_nlmsg_put_extra_header(message, sizeof(*family));
	family->nfgen_family = NFPROTO_INET;
	family->version = NFNETLINK_V0;
	return message;
}

int nft_send(struct nft *nft, const struct nlmsghdr *message)
{
	return mnl_socket_sendto(nft->socket, message, message->nlmsg_len) < 0 ? -errno : 0;
}

int nft_receive(struct nft *nft, uint32_t seq, mnl_cb_t see, void *closure)
{
	ssize_t length = mnl_socket_recvfrom(nft->socket, nft->buffer, NFT_BUFFER_BYTES);
	int rc;

	if (length < 0)
		return errno == EAGAIN ? -EIO : -errno;
	rc = mnl_cb_run(nft->buffer, (size_t)length, seq, nft->portid, see, closure);
	return rc < 0 ? -errno : rc != MNL_CB_STOP;
}

int nft_ask(struct nft *nft, const struct nlmsghdr *message, mnl_cb_t see, void *closure)
{
	const uint32_t seq = message->nlmsg_seq;
	int more = nft_send(nft, message);

	if (more)
		return more;
	do
		more = nft_receive(nft, seq, see, closure);
	while (more > 0);
	return more;
}

void nft_drain(struct nft *nft)
{
	while (mnl_socket_recvfrom(nft->socket, nft->buffer, NFT_BUFFER_BYTES) > 0)
		;
}

static int exists(struct nft *nft, uint8_t family)
{
	struct nlmsghdr *message = nft_request(nft, NFT_MSG_GETTABLE, NLM_F_ACK);
	struct nfgenmsg *head = mnl_nlmsg_get_payload(message);
	int err;

	head->nfgen_family = family;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, nft->table);
	err = nft_ask(nft, message, NULL, NULL);
	return err == -ENOENT ? 0 : err ? err : 1;
}

int nft_table_exists(struct nft *nft)
{
	return exists(nft, NFPROTO_INET);
}

int nft_bridge_table_exists(struct nft *nft)
{
	return exists(nft, NFPROTO_BRIDGE);
}

static int take_generation(const struct nlattr *attribute, void *closure)
{
	if (mnl_attr_get_type(attribute) == NFTA_GEN_ID &&
	    mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
		*(uint32_t *)closure = ntohl(mnl_attr_get_u32(attribute));
	return MNL_CB_OK;
}

static int see_generation(const struct nlmsghdr *message, void *closure)
{
	return mnl_attr_parse(message, sizeof(struct nfgenmsg), take_generation, closure);
}

int nft_get_generation(struct nft *nft, uint32_t *out)
{
	uint32_t generation = 0;
	int err =
	    nft_ask(nft, nft_request(nft, NFT_MSG_GETGEN, NLM_F_ACK), see_generation, &generation);

	if (!err && !generation)
		err = -EPROTO;
	if (!err)
		*out = generation;
	return err;
}

struct nft_key nft_key_from_endpoint(const struct endpoint *e)
{
	const size_t address_bytes = e->family == AF_INET ? 4 : 16;
	const uint16_t port = htons(e->port);
	struct nft_key key = {.length = (uint32_t)address_bytes + 8};

	memcpy(key.bytes, e->address, address_bytes);
	key.bytes[address_bytes] = IPPROTO_TCP;
	memcpy(key.bytes + address_bytes + 4, &port, sizeof(port));
	return key;
}

uint32_t nft_peer_key_length(sa_family_t family)
{
	return family == AF_INET ? 2 * 4 + 4 : 2 * 16 + 4;
}

struct nft_peer_key nft_peer_key_from(const struct endpoint *e, const uint8_t peer[static 16])
{
	const size_t address_bytes = e->family == AF_INET ? 4 : 16;
	const uint16_t port = htons(e->port);
	struct nft_peer_key key = {.length = nft_peer_key_length(e->family)};

	memcpy(key.bytes, peer, address_bytes);
	memcpy(key.bytes + address_bytes, e->address, address_bytes);
	memcpy(key.bytes + 2 * address_bytes, &port, sizeof(port));
	return key;
}
