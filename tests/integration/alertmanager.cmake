# SPDX-License-Identifier: GPL-2.0-or-later
# The sender and a real Alertmanager, on loopback. Needs root.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.alertmanager
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_alertmanager.py)
set_tests_properties(integration.alertmanager PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SANITIZE}")
