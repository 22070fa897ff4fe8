# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_signatures pw_signatures pw_target pw_conf)
pw_unit_test(test_program pw_signatures pw_conf)
target_sources(test_program PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/scripted_server.c)
