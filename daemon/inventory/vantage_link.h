/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the namespace of vantage.h and what joins it to the host. Only at the start, with
 * CAP_NET_ADMIN and CAP_SYS_ADMIN.
 */
#pragma once

#include "daemon/inventory/vantage.h"

/*
 * `home` is the namespace to come back to. Returns the new one's descriptor, or -errno with one
 * line in `why`, nothing being left behind then.
 */
int vantage_link_make(int home, char why[static VANTAGE_WHY_LEN]);
