# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Requests Answers Upstream Limits Life Opaque)
  add_test(NAME integration.filter_process.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_process.py ${class})
  set_tests_properties(integration.filter_process.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
