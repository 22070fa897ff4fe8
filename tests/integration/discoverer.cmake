# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(PW_DISCOVERER_SANITIZED 0)
if(PW_SANITIZE)
  set(PW_DISCOVERER_SANITIZED 1)
endif()
add_test(NAME integration.discoverer
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_discoverer.py)
set_tests_properties(integration.discoverer PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_DISCOVERER_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
