# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_follow pw_agent_bench)
target_sources(test_follow PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/state_lab.c)
