# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Requests Answers Differential)
  add_test(NAME integration.filter_evasion.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_evasion.py ${class})
  set_tests_properties(integration.filter_evasion.${class} PROPERTIES LABELS integration
    TIMEOUT 300 ENVIRONMENT "${PW_LAB_ENVIRONMENT};PW_FILTER_DRIVER=$<TARGET_FILE:filter_driver>")
endforeach()
foreach(class Segments Wall Before)
  add_test(NAME integration.filter_segments.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_filter_segments.py ${class})
  set_tests_properties(integration.filter_segments.${class} PROPERTIES LABELS integration
    TIMEOUT 300 ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
