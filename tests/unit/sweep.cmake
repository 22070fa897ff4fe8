# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_sweep_order pw_sweep)
pw_unit_test(test_sweep_space pw_sweep)
pw_unit_test(test_sweep_exclude pw_sweep)
