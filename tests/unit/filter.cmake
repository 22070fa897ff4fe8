# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_filter_response pw_http_strict)
pw_unit_test(test_filter_tell pw_filter)
