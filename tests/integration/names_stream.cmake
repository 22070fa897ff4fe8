# SPDX-License-Identifier: GPL-2.0-or-later
add_test(NAME integration.names_stream
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_names_stream.py)
set_tests_properties(integration.names_stream PROPERTIES LABELS integration TIMEOUT 240
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
