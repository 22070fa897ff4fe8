# SPDX-License-Identifier: GPL-2.0-or-later
foreach(test test_conf test_conf_filter)
  pw_unit_test(${test} pw_conf)
  target_sources(${test} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/conf_lab.c)
endforeach()
pw_unit_test(test_conf_limits pw_conf)
pw_unit_test(test_conf_scalar pw_conf)
