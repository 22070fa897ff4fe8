# SPDX-License-Identifier: GPL-2.0-or-later
# Joining shards, and what runs them: Slurm for real, manifests by their schema.
add_test(NAME integration.merge
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_merge.py)
set_tests_properties(integration.merge PROPERTIES LABELS integration TIMEOUT 180
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
add_test(NAME integration.slurm
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_slurm.py)
set_tests_properties(integration.slurm PROPERTIES LABELS integration TIMEOUT 300
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_SANITIZED=${PW_SCAN_SANITIZED};ASAN_OPTIONS=detect_leaks=0")
add_test(NAME integration.kubernetes
  COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_kubernetes.py)
set_tests_properties(integration.kubernetes PROPERTIES LABELS integration TIMEOUT 60
  ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR}")
