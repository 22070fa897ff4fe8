# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(PW_SIGNATURES_SANITIZED 0)
if(PW_SANITIZE)
  set(PW_SIGNATURES_SANITIZED 1)
endif()
add_test(NAME integration.signatures
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_signatures.py)
# Undumpable, as the sandbox makes it, a process cannot be searched for leaks.
set_tests_properties(integration.signatures PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SIGNATURES_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
