# SPDX-License-Identifier: GPL-2.0-or-later
foreach(class Kills Disks Reboot Upgrade)
  add_test(NAME integration.kills.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_kills.py ${class})
  set_tests_properties(integration.kills.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
