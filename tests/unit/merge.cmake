# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_sweep_trailer pw_sweep_trailer)
pw_unit_test(test_sweep_metrics pw_sweep_trailer)
pw_unit_test(test_merge pw_merge pw_history)
