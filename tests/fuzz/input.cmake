# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_input_formats pw_input pw_target)
