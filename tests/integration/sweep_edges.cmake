# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Processes BackPressure Resume Lost)
  add_test(NAME integration.sweep_edges.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sweep_edges.py ${class})
  set_tests_properties(integration.sweep_edges.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
endforeach()
