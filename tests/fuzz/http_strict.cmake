# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_http_strict pw_http_strict)
