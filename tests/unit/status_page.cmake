# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_status_page pw_verbs)
