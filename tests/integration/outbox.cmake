# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Kills Limits TestAlert)
  add_test(NAME integration.outbox.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_outbox.py ${class})
  set_tests_properties(integration.outbox.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
