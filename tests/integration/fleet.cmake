# SPDX-License-Identifier: GPL-2.0-or-later
# A thousand hosts through a real Alertmanager, on loopback. Needs root.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.fleet
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_fleet.py)
set_tests_properties(integration.fleet PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SANITIZE}")
