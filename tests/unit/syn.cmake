# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_syn_packet pw_discover_syn_pure)
pw_unit_test(test_syn_plan pw_discover_syn_pure)
pw_unit_test(test_rate pw_discover_syn_pure)
