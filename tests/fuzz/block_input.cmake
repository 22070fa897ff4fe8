# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_block_input pw_verbs)
