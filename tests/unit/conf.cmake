# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_conf pw_conf)
pw_unit_test(test_conf_limits pw_conf)
pw_unit_test(test_conf_scalar pw_conf)
