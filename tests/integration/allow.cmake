# SPDX-License-Identifier: GPL-2.0-or-later
# allow_from by file and name.
foreach(class Names Files)
  add_test(NAME integration.allow.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_allow.py ${class})
  set_tests_properties(integration.allow.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
