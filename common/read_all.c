/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/read_all.h"

#include <errno.h>
#include <unistd.h>

ssize_t read_all(int fd, char *bytes, size_t room)
{
	size_t done = 0;

	while (done < room) {
		ssize_t n = pread(fd, bytes + done, room - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}
