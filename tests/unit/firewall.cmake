# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_firewall_wire pw_firewall_wire pw_common)
pw_unit_test(test_firewall_policy pw_firewall)
pw_unit_test(test_firewall_blocks pw_firewall)
pw_unit_test(test_firewall_allowed pw_firewall)
pw_unit_test(test_firewall_heartbeat pw_firewall)
pw_unit_test(test_firewall_chain pw_firewall)
pw_unit_test(test_road pw_firewall_road)
