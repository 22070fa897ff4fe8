# SPDX-License-Identifier: GPL-2.0-or-later
pw_unit_test(test_fingerprint pw_fingerprint PkgConfig::ZLIB)
target_sources(test_fingerprint PRIVATE ${CMAKE_SOURCE_DIR}/tests/zoo/zoo.c)
foreach(test test_fingerprint_traps test_fingerprint_exposure)
  pw_unit_test(${test} pw_fingerprint)
  target_sources(${test} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/scripted_server.c)
endforeach()
pw_unit_test(test_fingerprint_further pw_fingerprint)
pw_unit_test(test_redact pw_fingerprint)
