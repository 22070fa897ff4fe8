# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_http_head pw_http_strict)
pw_unit_test(test_http_body pw_http_strict)
pw_unit_test(test_http_path pw_http_strict)
pw_unit_test(test_http_write pw_http_strict)
pw_unit_test(test_filter_policy pw_http_strict)
