/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "daemon/sender/driver.h"

extern const struct driver driver_syslog;
