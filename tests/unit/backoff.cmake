# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_message pw_sender)
