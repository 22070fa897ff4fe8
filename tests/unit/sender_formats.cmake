# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_journal_format pw_sender)
pw_unit_test(test_syslog_format pw_sender)
