# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_scan_state pw_scan)
pw_unit_test(test_scan_feed pw_scan)
