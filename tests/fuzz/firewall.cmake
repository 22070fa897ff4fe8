# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_firewall_wire pw_firewall)
