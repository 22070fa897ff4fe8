# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon and sinks that fail; in network namespaces.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(class Kinds DeadSink Independence Together)
  add_test(NAME integration.sender_failures.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sender_failures.py ${class})
  set_tests_properties(integration.sender_failures.${class} PROPERTIES LABELS integration
    TIMEOUT 180 ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
