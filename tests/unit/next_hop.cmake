# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_neighbour pw_next_hop pw_sweep)
pw_unit_test(test_next_hop pw_next_hop pw_sandbox)
