/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/loopback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

int listen_on_loopback(struct endpoint *out)
{
	struct endpoint any = {.family = AF_INET, .address = {127, 0, 0, 1}};
	struct sockaddr_storage address;
	socklen_t length = endpoint_to_sockaddr(&any, &address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(endpoint_from_sockaddr((struct sockaddr *)&address, out), 0);
	return fd;
}
