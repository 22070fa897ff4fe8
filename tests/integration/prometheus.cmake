# SPDX-License-Identifier: GPL-2.0-or-later
# What is shipped for Prometheus and Grafana; PW_LAB_ENVIRONMENT is of CMakeLists.txt.
add_test(NAME integration.prometheus
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_prometheus.py)
set_tests_properties(integration.prometheus PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
