# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(PW_DETECTION_SANITIZED 0)
if(PW_SANITIZE)
  set(PW_DETECTION_SANITIZED 1)
endif()
foreach(class Products GoPrograms Traps)
  add_test(NAME integration.detection.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_detection.py ${class})
  set_tests_properties(integration.detection.${class} PROPERTIES LABELS integration TIMEOUT 480
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SERVERS=${CMAKE_SOURCE_DIR}/build/servers;PW_SANITIZED=${PW_DETECTION_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
endforeach()
