# SPDX-License-Identifier: GPL-2.0-or-later
# `pprofwall status --html`; PW_LAB_ENVIRONMENT is of CMakeLists.txt.
add_test(NAME integration.status_page
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_status_page.py)
set_tests_properties(integration.status_page PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
