# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_schedule pw_agent)
pw_unit_test(test_wall pw_agent)
pw_unit_test(test_targets pw_agent)
pw_unit_test(test_rules pw_agent)
pw_unit_test(test_listeners pw_agent)
pw_unit_test(test_story pw_agent)
pw_unit_test(test_allow pw_agent)
pw_unit_test(test_verify pw_agent)
