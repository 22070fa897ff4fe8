/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which host this is, the same after every restart: /etc/machine-id, or, where there is none (a
 * container's image), the host's name. machine-id(5) wants it kept to oneself: hash it before
 * anything of it is shown. Any thread.
 */
#pragma once

enum { HOST_ID_LEN = 65 }; /* with the NUL */

/* Always leaves text, "unknown" at worst. Reads a file: call it before a system call filter. */
void host_id_read(char id[static HOST_ID_LEN]);
