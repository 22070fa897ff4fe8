# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_signatures pw_signatures pw_target pw_conf)
