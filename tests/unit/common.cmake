# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_bisect pw_common)
pw_unit_test(test_endpoint pw_common)
pw_unit_test(test_frame pw_common)
pw_unit_test(test_siphash pw_common)
pw_unit_test(test_rollout pw_conf)
pw_unit_test(test_template pw_common)
