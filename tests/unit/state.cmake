# SPDX-License-Identifier: GPL-2.0-or-later
foreach(test test_state test_state_disk)
  pw_unit_test(${test} pw_agent_parts PkgConfig::SQLITE)
  target_sources(${test} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/state_lab.c)
endforeach()
