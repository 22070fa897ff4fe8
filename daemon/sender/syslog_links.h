/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections to receivers of syslog over TCP and TLS: one a sink, kept from message to message,
 * and closed when it has been idle for a while. Loop's thread only.
 */
#pragma once

#include "conf/conf.h"
#include "daemon/sender/dial.h"

struct syslog_links;
struct syslog_link;

/* `failure` is NULL when the kernel has taken all of it: nobody confirms a message. */
typedef void syslog_sent_cb(const char *failure, void *arg);

/* Both must outlive the links. Returns 0 or -ENOMEM. */
int syslog_links_new(struct event_base *base, struct dialer *dialer, struct syslog_links **out);
/* Nothing may be under way. NULL is allowed. */
void syslog_links_free(struct syslog_links *links);

/*
 * Sends a frame over the sink's connection, or over a new one. One at a time for each sink; the
 * bytes must stay until it is over. The callback comes from the loop, never from within this call.
 * Returns 0, -EINVAL (the URL) or -ENOMEM.
 */
int syslog_links_send(struct syslog_links *links, const struct conf_alert *conf, const char *bytes,
                      size_t length, int64_t timeout_ms, syslog_sent_cb *done, void *arg,
                      struct syslog_link **out);
/* No callback after this. */
void syslog_link_cancel(struct syslog_link *link);
