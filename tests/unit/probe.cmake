# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_probe pw_probe)
target_sources(test_probe PRIVATE loopback.c)
