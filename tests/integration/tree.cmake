# SPDX-License-Identifier: GPL-2.0-or-later
# What was built and what is installed, without running the daemon.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(name boundaries docs install)
  add_test(NAME integration.${name}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_${name}.py)
  set_tests_properties(integration.${name} PROPERTIES LABELS integration TIMEOUT 120
    ENVIRONMENT "PW_BUILD_DIR=${CMAKE_BINARY_DIR};PW_CMAKE=${CMAKE_COMMAND}")
endforeach()
