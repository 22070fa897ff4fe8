# SPDX-License-Identifier: GPL-2.0-or-later
# The sender alone, with many events, limits and dead sinks. Needs root; uses loopback only.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.sender_groups
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sender_groups.py)
set_tests_properties(integration.sender_groups PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
