# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_sandbox pw_sandbox)
pw_unit_test(test_sandbox_filter pw_sandbox)
target_link_libraries(test_sandbox PRIVATE PkgConfig::CAPNG)
