/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "common/endpoint.h"

/* A socket that listens on a free port of 127.0.0.1, which is *out; the caller closes it. */
int listen_on_loopback(struct endpoint *out);
