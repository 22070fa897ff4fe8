# SPDX-License-Identifier: GPL-2.0-or-later
# The sender and what takes alerts on the host itself. Needs root; in mount namespaces.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME integration.sender_local
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sender_local.py)
set_tests_properties(integration.sender_local PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
foreach(part mail syslog)
  add_test(NAME integration.sender_${part}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_sender_${part}.py)
  set_tests_properties(integration.sender_${part} PROPERTIES LABELS integration TIMEOUT 180
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
