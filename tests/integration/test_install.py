#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""cmake --install: what lies where, and that it runs from there."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD_DIR = os.environ["PW_BUILD_DIR"]
CMAKE = os.environ.get("PW_CMAKE", "cmake")

EXPECTED = {
    "bin/pprofwall", "sbin/pprofwalld",
    "libexec/pprofwall/pprofwall-agent", "libexec/pprofwall/pprofwall-prober",
    "libexec/pprofwall/pprofwall-firewall", "libexec/pprofwall/pprofwall-sender",
    "libexec/pprofwall/pprofwall-inventory", "libexec/pprofwall/pprofwall-runner",
    "libexec/pprofwall/pprofwall-filter",
    "etc/pprofwall/pprofwall.yaml",
    "lib/systemd/system/pprofwalld.service",
    "etc/pprofwall/sweep.env", "lib/systemd/system/pprofwall-sweep.service",
    "lib/systemd/system/pprofwall-sweep.timer",
    "lib/sysusers.d/pprofwall.conf", "lib/tmpfiles.d/pprofwall.conf",
    "share/pprofwall/signatures.yaml",
    "share/pprofwall/special-purpose.txt", "share/pprofwall/never.txt",
    "share/man/man1/pprofwall.1", "share/man/man5/pprofwall.yaml.5",
    "share/man/man8/pprofwalld.8",
}


def run(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="pprofwall-install-")
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        cls.prefix = os.path.join(cls.top, "opt")
        cls.install("--prefix", cls.prefix)

    @staticmethod
    def install(*argv, **environment):
        done = subprocess.run([CMAKE, "--install", BUILD_DIR, *argv], capture_output=True,
                              text=True, timeout=120, env={**os.environ, **environment})
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    @staticmethod
    def tree(top):
        return {os.path.relpath(os.path.join(folder, name), top)
                for folder, _, names in os.walk(top) for name in names}

    def path(self, name):
        return os.path.join(self.prefix, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_every_file_and_no_other(self):
        self.assertEqual(self.tree(self.prefix), EXPECTED)

    def test_programs_run_from_there(self):
        for name in ("bin/pprofwall", "sbin/pprofwalld"):
            done = run(self.path(name), "--version")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"^pprofwalld? \d+\.\d+\.\d+")

    def test_shipped_configuration_is_valid_and_found_without_an_option(self):
        done = run(self.path("sbin/pprofwalld"), "--check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(self.path("etc/pprofwall/pprofwall.yaml"), done.stdout)
        self.assertRegex(self.text("etc/pprofwall/pprofwall.yaml"), r"(?m)^mode: *observe\b")

    def test_an_installation_can_be_moved(self):
        moved = os.path.join(self.top, "moved")
        shutil.copytree(self.prefix, moved)
        done = run(os.path.join(moved, "sbin/pprofwalld"), "--check")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(os.path.join(moved, "etc/pprofwall/pprofwall.yaml"), done.stdout)

    def test_units_name_the_prefix(self):
        unit = self.text("lib/systemd/system/pprofwalld.service")
        self.assertIn(f"ExecStart={self.prefix}/sbin/pprofwalld --config "
                      f"{self.prefix}/etc/pprofwall/pprofwall.yaml --foreground", unit)
        self.assertNotRegex(unit, r"@[A-Z_]+@")
        if shutil.which("systemd-analyze"):
            done = run("systemd-analyze", "--man=no", "verify",
                       self.path("lib/systemd/system/pprofwalld.service"))
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_sweep_units(self):
        unit = self.text("lib/systemd/system/pprofwall-sweep.service")
        self.assertIn(f"ExecStart={self.prefix}/bin/pprofwall scan ", unit)
        self.assertIn(f"EnvironmentFile={self.prefix}/etc/pprofwall/sweep.env", unit)
        self.assertNotRegex(unit, r"@[A-Z_]+@")
        # Findings are no failure of the unit; usage errors and sweeps that were cut short are.
        self.assertRegex(unit, r"(?m)^SuccessExitStatus=1$")
        timer = self.text("lib/systemd/system/pprofwall-sweep.timer")
        self.assertRegex(timer, r"(?m)^Persistent=true$")
        self.assertRegex(timer, r"(?m)^RandomizedDelaySec=")
        users = self.text("lib/sysusers.d/pprofwall.conf")
        for user in re.findall(r"(?m)^User=(.+)$", unit):
            self.assertRegex(users, rf"(?m)^u {user} ")
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        paths = [self.path(f"lib/systemd/system/pprofwall-sweep.{kind}")
                 for kind in ("service", "timer")]
        done = run("systemd-analyze", "--man=no", "verify", *paths)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # Of 100; a service that nobody has hardened has 96.
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=25", paths[0])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_prefix_usr_has_its_configuration_in_etc(self):
        root = os.path.join(self.top, "root")
        self.install("--prefix", "/usr", DESTDIR=root)
        self.assertIn("etc/pprofwall/pprofwall.yaml", self.tree(root))
        with open(os.path.join(root, "usr/lib/systemd/system/pprofwalld.service"),
                  encoding="utf-8") as file:
            self.assertIn("ExecStart=/usr/sbin/pprofwalld --config /etc/pprofwall/pprofwall.yaml",
                          file.read())

    def test_an_edited_configuration_survives_another_installation(self):
        for name in ("etc/pprofwall/pprofwall.yaml", "etc/pprofwall/sweep.env"):
            with self.subTest(name):
                self.edit_and_install_again(name)

    def edit_and_install_again(self, name):
        path, before = self.path(name), self.text(name)
        with open(path, "a", encoding="utf-8") as file:
            file.write("# edited\n")
        try:
            self.install("--prefix", self.prefix)
            self.assertEqual(self.text(name), before + "# edited\n")
            self.assertEqual(self.text(name + ".new"), before)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".new")
            with open(path, "w", encoding="utf-8") as file:
                file.write(before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
