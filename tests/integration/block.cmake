# SPDX-License-Identifier: GPL-2.0-or-later
# From findings to the wall, with the daemon and without it, and on a gateway.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(name block_from standalone gateway)
  add_test(NAME integration.${name}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_${name}.py)
  set_tests_properties(integration.${name} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SCAN_SANITIZED}")
endforeach()
