# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_neighbour pw_next_hop)
