# SPDX-License-Identifier: GPL-2.0-or-later
# The runner alone, whose parent and sender the test plays; and within the daemon. Needs root.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(part runner exec)
  add_test(NAME integration.${part}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_${part}.py)
  set_tests_properties(integration.${part} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
