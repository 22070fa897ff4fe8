# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Found Changes Latency)
  add_test(NAME integration.listeners.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_listeners.py ${class})
  set_tests_properties(integration.listeners.${class} PROPERTIES LABELS integration TIMEOUT 400
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
