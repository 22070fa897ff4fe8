# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_outbox pw_agent PkgConfig::SQLITE)
target_sources(test_outbox PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/state_lab.c)
