# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.firewall
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_firewall.py)
add_test(NAME integration.firewall_lists
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_firewall_lists.py)
add_test(NAME integration.firewall_successor
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_firewall_successor.py)
add_test(NAME integration.wall_paths
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_wall_paths.py)
add_test(NAME integration.wall_flush
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_wall_flush.py)
add_test(NAME integration.filter_wall
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_wall.py)
set_tests_properties(
  integration.firewall integration.firewall_lists integration.firewall_successor
  integration.wall_paths integration.wall_flush integration.filter_wall
  PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SANITIZE}")
