# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_syn_packet pw_discover_syn_pure)
