# SPDX-License-Identifier: GPL-2.0-or-later
# The filter as a process of the service; PW_LAB_ENVIRONMENT is of CMakeLists.txt.
add_test(NAME integration.filter_service
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_service.py)
set_tests_properties(integration.filter_service PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
# Each waits for scrapes, for a minute or two.
foreach(class Switching Failing)
  add_test(NAME integration.filter_prometheus.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_prometheus.py ${class})
  set_tests_properties(integration.filter_prometheus.${class} PROPERTIES LABELS integration
    TIMEOUT 300 ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
