/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter/reply.h"

#include <stdio.h>
#include <string.h>

size_t reply_write(enum reply reply, unsigned minor, bool to_head, bool keep_alive,
                   char out[static REPLY_MAX_BYTES])
{
	static const struct {
		const char *status, *text;
	} replies[] = {
	    [REPLY_BAD_REQUEST] = {"400 Bad Request",
	                           "refused by pprofwall: not a request in strict HTTP/1.x\n"},
	    [REPLY_FORBIDDEN] = {"403 Forbidden",
	                         "blocked by pprofwall: this path is not served to you\n"},
	    [REPLY_BAD_GATEWAY] = {"502 Bad Gateway",
	                           "pprofwall: the server behind gives no answer\n"},
	};
	const char *connection = "";

	if (!keep_alive)
		connection = "Connection: close\r\n";
	else if (minor == 0)
		connection = "Connection: keep-alive\r\n";
	return (size_t)snprintf(out, REPLY_MAX_BYTES,
	                        "HTTP/1.1 %s\r\n"
	                        "Content-Type: text/plain; charset=utf-8\r\n"
	                        "X-Content-Type-Options: nosniff\r\n"
	                        "Content-Length: %zu\r\n"
	                        "%s\r\n%s",
	                        replies[reply].status, strlen(replies[reply].text), connection,
	                        to_head ? "" : replies[reply].text);
}
