# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_backoff pw_sender)
pw_unit_test(test_circuit pw_sender)
pw_unit_test(test_group pw_sender)
pw_unit_test(test_parcel pw_sender)
pw_unit_test(test_message pw_sender)
