# SPDX-License-Identifier: GPL-2.0-or-later
# panic and resume, with the firewall helper and without an agent, or with one that hangs.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.panic
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_panic.py)
set_tests_properties(integration.panic PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SANITIZE}")
