# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.continue
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_continue.py)
set_tests_properties(integration.continue PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};ASAN_OPTIONS=detect_leaks=0")
