#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The boundaries of docs/design.md, by the libraries that each program needs."""
import os
import subprocess
import unittest

BUILD_DIR = os.environ["PW_BUILD_DIR"]

# The whole list for each program: another one must be argued for here.
BASE = {"libc.so.6", "libjansson.so.4", "libz.so.1", "libm.so.6",
        # what sanitizers bring along
        "libasan.so.8", "libubsan.so.1", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2",
        "librt.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2", "libresolv.so.2"}
DROP = {"libcap-ng.so.0", "libseccomp.so.2"}
LOOP = {"libevent_core-2.1.so.7", "libevent-2.1.so.7"}
HTTP = {"libevent_extra-2.1.so.7"}
CURL = {"libcurl.so.4"}
YAML = {"libyaml-0.so.2"}
NETLINK = {"libnftnl.so.11", "libmnl.so.0"}

ALLOWED = {
    # history; sums of evidence; names in other scripts; routes (and never the packet filter);
    # the XML of other scanners
    "bin/pprofwall":
        BASE | DROP | LOOP | HTTP | CURL | YAML
        | {"libsqlite3.so.0", "libmd.so.0", "libidn2.so.0", "libmnl.so.0",
           "libexpat.so.1"},
    "sbin/pprofwalld": BASE | DROP | YAML | {"libsystemd.so.0"},
    "libexec/pprofwall/pprofwall-agent":
        BASE | DROP | LOOP | HTTP | YAML | {"libsqlite3.so.0"},
    "libexec/pprofwall/pprofwall-prober": BASE | DROP | LOOP | HTTP | CURL | YAML,
    # and the sum by which it knows its own rules again
    "libexec/pprofwall/pprofwall-firewall": BASE | DROP | LOOP | YAML | NETLINK | {"libmd.so.0"},
    # signatures, and a look into certificates before libcurl is given them
    "libexec/pprofwall/pprofwall-sender":
        BASE | DROP | LOOP | HTTP | CURL | YAML | {"libcrypto.so.3"},
    # Netlink, but never the packet filter.
    "libexec/pprofwall/pprofwall-inventory": BASE | DROP | LOOP | {"libmnl.so.0"},
    "libexec/pprofwall/pprofwall-runner": BASE | DROP | LOOP | YAML,
    # Hostile requests: neither Netlink nor HTTP of anybody else's.
    "libexec/pprofwall/pprofwall-filter": BASE | DROP | LOOP | YAML,
}


def needed(program):
    """The libraries that the program itself asks for (DT_NEEDED), not theirs."""
    out = subprocess.run(["readelf", "-dW", os.path.join(BUILD_DIR, program)], check=True,
                         capture_output=True, text=True).stdout
    return {line.partition("[")[2].partition("]")[0]
            for line in out.splitlines() if "(NEEDED)" in line}


class Boundaries(unittest.TestCase):
    def test_each_program_links_only_what_its_task_needs(self):
        for program, allowed in ALLOWED.items():
            with self.subTest(program):
                self.assertEqual(needed(program) - allowed, set())

    def test_who_needs_what_really_links_it(self):
        # The test above would pass with programs that do nothing.
        self.assertLessEqual(CURL, needed("bin/pprofwall"))
        self.assertLessEqual(CURL, needed("libexec/pprofwall/pprofwall-prober"))
        self.assertLessEqual(CURL | {"libcrypto.so.3"},
                             needed("libexec/pprofwall/pprofwall-sender"))
        self.assertLessEqual(NETLINK, needed("libexec/pprofwall/pprofwall-firewall"))
        self.assertIn("libmnl.so.0", needed("libexec/pprofwall/pprofwall-inventory"))

    def test_programs_are_hardened(self):
        for program in ALLOWED:
            with self.subTest(program):
                path = os.path.join(BUILD_DIR, program)
                out = subprocess.run(["readelf", "-hldW", path], check=True, capture_output=True,
                                     text=True).stdout
                self.assertRegex(out, r"Type:\s+DYN", "position independent")
                self.assertIn("GNU_RELRO", out)
                self.assertRegex(out, r"BIND_NOW|Flags:.*NOW", "no lazy binding")
                stack = next(line for line in out.splitlines() if "GNU_STACK" in line)
                self.assertNotIn("RWE", stack, "the stack is not executable")


if __name__ == "__main__":
    unittest.main(verbosity=2)
