# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_guard_hosts pw_guard)
pw_unit_test(test_guards pw_guard)
pw_unit_test(test_knock pw_guard)
foreach(test test_guards test_knock)
  target_sources(${test} PRIVATE guard_lab.c)
endforeach()
