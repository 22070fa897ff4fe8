# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_pace pw_pace)
pw_unit_test(test_conntrack pw_discover_connect)
pw_unit_test(test_discover_connect pw_discover_connect)
target_sources(test_discover_connect PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/fake_child.c)
