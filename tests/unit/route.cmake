# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_route pw_agent)
