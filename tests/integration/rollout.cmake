# SPDX-License-Identifier: GPL-2.0-or-later
# enforce_percent; PW_LAB_ENVIRONMENT is of daemon.cmake, which comes before.
add_test(NAME integration.rollout
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_rollout.py)
set_tests_properties(integration.rollout PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
