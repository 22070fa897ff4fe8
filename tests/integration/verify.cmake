# SPDX-License-Identifier: GPL-2.0-or-later
# Is a wall in the path? PW_LAB_ENVIRONMENT is of daemon.cmake.
add_test(NAME integration.verify
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_verify.py)
set_tests_properties(integration.verify PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
