# SPDX-License-Identifier: GPL-2.0-or-later
# One ctest for each class, so that they run side by side; each has namespaces of its own.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(class Match QuietHours Acknowledged Refreshed)
  add_test(NAME integration.routing.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_routing.py ${class})
  set_tests_properties(integration.routing.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
