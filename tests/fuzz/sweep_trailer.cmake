# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_sweep_trailer pw_sweep_trailer)
