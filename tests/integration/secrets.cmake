# SPDX-License-Identifier: GPL-2.0-or-later
add_test(NAME integration.secrets
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_secrets.py)
set_tests_properties(integration.secrets PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
