# SPDX-License-Identifier: GPL-2.0-or-later
add_library(pw_agent_bench STATIC ${CMAKE_CURRENT_SOURCE_DIR}/agent_bench.c)
target_link_libraries(pw_agent_bench PUBLIC pw_agent PkgConfig::CMOCKA)
pw_unit_test(test_enforce pw_agent_bench)
pw_unit_test(test_observe pw_agent_bench)
pw_unit_test(test_inside pw_agent_bench)
pw_unit_test(test_filtering pw_agent_bench)
pw_unit_test(test_filters pw_agent_bench)
pw_unit_test(test_refusals pw_agent)
