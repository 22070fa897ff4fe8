# SPDX-License-Identifier: GPL-2.0-or-later
# The sender alone: the test plays parent and agent. Needs root; uses loopback only.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(test sender_http sender_services)
  add_test(NAME integration.${test}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_${test}.py)
  set_tests_properties(integration.${test} PROPERTIES LABELS integration TIMEOUT 180
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SANITIZE}")
endforeach()
add_test(NAME integration.sender
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sender.py)
set_tests_properties(integration.sender PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SANITIZE}")
