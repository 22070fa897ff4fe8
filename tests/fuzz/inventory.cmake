# SPDX-License-Identifier: GPL-2.0-or-later
pw_fuzzer(fuzz_cgroup pw_inventory)
pw_fuzzer(fuzz_inventory_wire pw_inventory)
