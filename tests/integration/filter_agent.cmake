# SPDX-License-Identifier: GPL-2.0-or-later
# A filter as its users see it. PW_LAB_ENVIRONMENT is of daemon.cmake.
foreach(class Rule Standing Tls)
  add_test(NAME integration.filter_agent.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_agent.py ${class})
  set_tests_properties(integration.filter_agent.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
