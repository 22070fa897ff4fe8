# SPDX-License-Identifier: GPL-2.0-or-later
# One ctest for each class, so that they run side by side; each has namespaces of its own.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(class Privileges Wall Recovery Alerts Health Deaths Stopping Configuration Control Targets
    Panic)
  add_test(NAME integration.daemon.${class}
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/test_daemon.py ${class})
  set_tests_properties(integration.daemon.${class} PROPERTIES LABELS integration TIMEOUT 300
    ENVIRONMENT "${PW_LAB_ENVIRONMENT}")
endforeach()
# It measures a second.
set_tests_properties(integration.daemon.Panic PROPERTIES RUN_SERIAL ON)
