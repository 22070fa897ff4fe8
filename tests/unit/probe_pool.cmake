# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_probe_pool pw_probe_pool)
target_sources(test_probe_pool PRIVATE loopback.c)
