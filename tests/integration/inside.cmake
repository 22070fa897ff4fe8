# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Seen Lost)
  add_test(NAME integration.inside.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_inside.py ${class})
  set_tests_properties(integration.inside.${class} PROPERTIES LABELS integration TIMEOUT 400
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
