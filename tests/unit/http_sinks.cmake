# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_http_sinks pw_sender)
