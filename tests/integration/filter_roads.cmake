# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.filter_road
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_road.py)
add_test(NAME integration.filter_roads
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_roads.py)
set_tests_properties(
  integration.filter_road integration.filter_roads
  PROPERTIES LABELS integration TIMEOUT 600
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SANITIZE}")
