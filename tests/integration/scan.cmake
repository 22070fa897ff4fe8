# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(class Verdicts Traps CommandLine Ending)
  add_test(NAME integration.scan.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_scan.py ${class})
  # Undumpable, as the sandbox makes it, a process cannot be searched for leaks.
  set_tests_properties(integration.scan.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
endforeach()
add_test(NAME integration.prober
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_prober.py)
set_tests_properties(integration.prober PROPERTIES LABELS integration TIMEOUT 120
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
