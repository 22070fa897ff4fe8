# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_blast pw_agent_parts)
pw_unit_test(test_ledger pw_agent_parts pw_inventory)
