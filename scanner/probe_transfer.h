/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One HTTP exchange of a probe on one reusable easy handle: what is sent, what bounds the answer,
 * and what libcurl's result means. Internal to the engine (probe.c).
 *
 *	transfer_init(&t, loop, limits, user_agent, owner);
 *	transfer_prepare(&t, ...);   then t.easy runs in a multi handle until it is over, then
 *	transfer_answer(&t, result, &answer);
 */
#pragma once

#include "scanner/probe.h"

#include <curl/curl.h>

enum {
	TRANSFER_VALUE_MAX_LEN = 1024, /* of one header field; longer ones are cut */
	TRANSFER_HEAD_MAX_LEN = 2048,  /* whole lines, as many as fit */
};

struct curl_loop;

struct transfer {
	CURL *easy;
	struct curl_loop *loop;
	struct curl_slist *connect_to;
	const struct probe_route *route; /* or NULL */
	struct endpoint endpoint;
	size_t header_max_bytes;
	size_t body_max_bytes;
	bool tls;
	bool http2;
	bool first;           /* of its probe */
	bool from_inside;     /* on a socket that was given, and on no other */
	int given;            /* that socket, until it is used; or -1 */
	bool asks_everywhere; /* set by the owner: also where the first answer shows nothing */
	bool keeps_open;      /* the connection, for another request */

	/* What has come. */
	size_t header_bytes;
	int status;
	bool head_done; /* trailers are no headers */
	char content_type[TRANSFER_VALUE_MAX_LEN];
	char location[TRANSFER_VALUE_MAX_LEN];
	char head[TRANSFER_HEAD_MAX_LEN];
	size_t head_length;
	bool go_pprof_header;
	bool nosniff;
	uint8_t *body; /* grows up to body_max_bytes */
	size_t body_length;
	size_t body_size;
	bool body_cut;
	uint8_t banner[64]; /* how that begins which is no HTTP */
	size_t banner_length;
	char curl_error[CURL_ERROR_SIZE];

	bool socket_opened; /* not a kept connection */
	int socket_error;   /* errno of a socket(2) that failed, or 0 */
};

/* Returns 0 or -ENOMEM. `owner` is what CURLINFO_PRIVATE gives back. */
int transfer_init(struct transfer *t, struct curl_loop *loop, const struct probe_limits *limits,
                  const char *user_agent, void *owner);
void transfer_fini(struct transfer *t);
/* For all requests to come. Returns 0 or -ENOMEM. */
int transfer_set_route(struct transfer *t, const struct probe_route *route);

/*
 * Sets the handle up for one request. `first` of a probe: never on a connection that somebody
 * else has left. Returns 0 or -ENOMEM.
 */
int transfer_prepare(struct transfer *t, const struct probe_request *probe,
                     const struct fingerprint_request *request, const struct probe_limits *limits,
                     bool first);

/* For the next request of a probe with `from_inside`; takes it over. */
void transfer_give_socket(struct transfer *t, int fd);

/* We ran out of descriptors or local ports: this says nothing about the endpoint. */
bool transfer_is_starved(const struct transfer *t, CURLcode result);

/* What the result means. Points into *t, until the next transfer_prepare(). */
void transfer_answer(const struct transfer *t, CURLcode result, struct http_answer *out);

/*
 * After an answer with -EREMOTEIO: the proxy is not there, hung up, or is not willing. Else it may
 * be the way on from there: a gateway's 5xx, or no answer in time.
 */
bool transfer_is_proxy_failure(const struct transfer *t, CURLcode result);

/*
 * Takes the handle of a transfer that is over out of its multi handle. When the probe is over, too,
 * a connection that was kept is ended; libcurl closes the descriptor later.
 */
void transfer_detach(struct transfer *t, CURLM *multi, bool is_last);

/* The probe is over: gives back what was large. */
void transfer_release(struct transfer *t);
