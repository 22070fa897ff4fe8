# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_fingerprint pw_fingerprint PkgConfig::ZLIB)
target_sources(test_fingerprint PRIVATE ${CMAKE_SOURCE_DIR}/tests/zoo/zoo.c)
pw_unit_test(test_fingerprint_traps pw_fingerprint)
pw_unit_test(test_redact pw_fingerprint)
