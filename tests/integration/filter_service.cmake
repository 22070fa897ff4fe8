# SPDX-License-Identifier: GPL-2.0-or-later
# The filter as a process of the service; PW_LAB_ENVIRONMENT is of CMakeLists.txt.
foreach(name filter_service filter_prometheus)
  add_test(NAME integration.${name}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_${name}.py)
  set_tests_properties(integration.${name} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
