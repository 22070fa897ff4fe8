# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_filter_response pw_http_strict)
