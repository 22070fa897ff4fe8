# SPDX-License-Identifier: GPL-2.0-or-later
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(class BlastRadius)
  add_test(NAME integration.blast.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_blast.py ${class})
  set_tests_properties(integration.blast.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
