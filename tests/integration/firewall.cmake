# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.firewall
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_firewall.py)
add_test(NAME integration.firewall_lists
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_firewall_lists.py)
set_tests_properties(integration.firewall integration.firewall_lists
  PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SANITIZE}")
