# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(PW_OUTPUT_SANITIZED 0)
if(PW_SANITIZE)
  set(PW_OUTPUT_SANITIZED 1)
endif()
foreach(class Formats Killed Reader Evidence Explain Terminal Browser)
  add_test(NAME integration.output.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_output.py ${class})
  set_tests_properties(integration.output.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_OUTPUT_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
endforeach()
