# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_serves pw_signatures)
target_sources(test_serves PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/scripted_server.c)
