# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Listeners Polling Owners Requests Connect)
  add_test(NAME integration.inventory.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_inventory.py ${class})
  set_tests_properties(integration.inventory.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
