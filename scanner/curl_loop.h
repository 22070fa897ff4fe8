/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl's multi-socket interface on a libevent loop, written once: the prober's engine and the
 * sender's transport both stand on it. It moves bytes and says when a transfer is over; what a
 * transfer is, its limits included, is the caller's. One thread: that of the event loop.
 */
#pragma once

#include <curl/curl.h>
#include <event2/event.h>

struct curl_loop;

/*
 * A transfer is over. Always called from the event loop, never from within a call of the owner's.
 * `easy` is still in the multi handle: the callback takes it out with curl_multi_remove_handle(),
 * and may then add it again, add others, or clean it up. It must not call curl_loop_free().
 */
typedef void curl_loop_done_cb(CURL *easy, CURLcode result, void *arg);

/* Returns 0, -ENOMEM, or -EIO when libcurl cannot be set up. `base` must outlive the loop. */
int curl_loop_new(struct event_base *base, curl_loop_done_cb *done, void *arg,
                  struct curl_loop **out);

/*
 * The multi handle: for options, curl_multi_add_handle() and curl_multi_remove_handle(). The
 * CURLMOPT_SOCKET* and CURLMOPT_TIMER* options are taken.
 */
CURLM *curl_loop_multi(struct curl_loop *loop);

/*
 * From a CURLOPT_OPENSOCKETFUNCTION: this descriptor is a new socket. Saves a system call for each
 * request on a kept connection, if it is called for every socket of the loop's transfers.
 */
void curl_loop_note_socket(struct curl_loop *loop, curl_socket_t fd);

/*
 * What holds for every transfer, whoever it goes to: HTTP/1.1 over TCP or TLS and nothing older,
 * no proxy, no redirects, no credentials from files, no signals. Returns an error of libcurl.
 */
CURLcode curl_loop_restrict(CURL *easy);

/* Every easy handle must have been removed before. NULL is allowed. */
void curl_loop_free(struct curl_loop *loop);
