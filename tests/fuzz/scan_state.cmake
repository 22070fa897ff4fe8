# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_scan_state pw_scan)
pw_fuzzer(fuzz_discover_wire pw_discover)
