# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_block_list pw_agent_bench)
pw_unit_test(test_block_input pw_verbs)
