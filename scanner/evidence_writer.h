/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that writes evidence. Internal to evidence.c. */
#pragma once

#include "scanner/evidence.h"

/* One file; then come its bytes and the line about it for the index. Host byte order: a fork. */
struct evidence_message {
	struct evidence_file file;
	uint32_t file_bytes;
	uint32_t line_bytes;
};

enum { EVIDENCE_FILE_MAX_BYTES = 1 << 20, EVIDENCE_LINE_MAX_BYTES = 64 * 1024 };

struct evidence_writer {
	int socket; /* messages come in; at their end an int32_t goes out, 0 or -errno */
	int directory;
	int sums, index; /* both O_APPEND */
};

/* Gives up all privileges, writes until the other end is closed, and never returns. */
_Noreturn void evidence_writer_run(struct evidence_writer *w);
