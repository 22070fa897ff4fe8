#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall panic` and `resume` when the daemon cannot help: gone, hung, or not running."""
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest

from firewall_helper import OK, Helper
from lab import IS_ASAN, Lab, environment, program

LIMIT_S = 5 if IS_ASAN else 1


class PanicTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.state = os.path.join(self.lab.directory, "state")
        self.socket = os.path.join(self.lab.directory, "run", "control.sock")
        self.pidfile = os.path.join(self.lab.directory, "run", "firewall.pid")
        self.marker = os.path.join(self.state, "panic")
        self.config = os.path.join(self.lab.directory, "pprofwall.yaml")
        config = self.lab.config(scan={"targets": ["10.91.0.2:9100"]})
        config["state"] = {"directory": self.state}
        config["control"] = {**config.get("control", {}), "socket": self.socket}
        self.settings = config
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(config, file)

    def start_helper(self):
        helper = Helper(self.lab).start(self.settings)
        self.assertEqual(helper.block("10.91.0.2", 9100).result, OK)
        self.assertTrue(self.table_exists())
        with open(self.pidfile, "w", encoding="ascii") as file:
            file.write(f"{helper.pid}\n")
        return helper

    def table_exists(self):
        return "inet pprofwall" in self.lab.nft("list", "tables").stdout

    def verb(self, *argv):
        """(status, output, seconds)"""
        start = time.monotonic()
        done = subprocess.run(
            ["ip", "netns", "exec", self.lab.name_of("target"), program("pprofwall"), *argv],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=20, env=environment(), check=False)
        return done.returncode, done.stdout, time.monotonic() - start

    def panic(self, *argv):
        status, output, seconds = self.verb("panic", "--config", self.config, *argv)
        took = re.search(r"(?:took|after) (\d+) ms", output)
        self.assertTrue(took, output)
        self.assertLess(int(took[1]), LIMIT_S * 1000, output)
        self.assertLess(seconds, 3 * LIMIT_S, output)  # with `ip`, and syncing the marker
        return status, output

    def assert_lifted(self, status, output):
        self.assertEqual(status, 0, output)
        self.assertFalse(self.table_exists(), output)
        self.assertTrue(os.path.exists(self.marker), output)

    def hang_agent(self):
        """A socket that takes connections and never answers, as a stopped agent's does."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.socket)
        listener.listen(8)

    def test_agent_gone_helper_obeys(self):
        helper = self.start_helper()
        status, output = self.panic("--reason", "ticket 4711")
        self.assert_lifted(status, output)
        self.assertIn("SIGUSR1: removed the table", output)
        self.assertIsNone(helper.process.status)
        self.assertNotEqual(helper.block("10.91.0.2", 9100).result, OK)
        with open(self.marker, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("reason: ticket 4711\n", text)
        self.assertRegex(text, r"time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nwho: \S")

    def test_everything_hangs(self):
        helper = self.start_helper()
        self.hang_agent()
        helper.process.signal(signal.SIGSTOP)
        status, output = self.panic()
        self.assert_lifted(status, output)
        self.assertIn("does not answer", output)
        self.assertIn("SIGKILL: ended", output)
        self.assertEqual(helper.process.wait(), -signal.SIGKILL)

    def test_helper_dead_rules_left(self):
        helper = self.start_helper()
        helper.kill()
        self.assertTrue(self.table_exists())  # persistent, or plain: it stays
        status, output = self.panic()
        self.assert_lifted(status, output)
        self.assertIn("--delete-table: done", output)

    def test_a_foreign_process_is_not_signalled(self):
        helper = self.start_helper()
        helper.kill()
        other = subprocess.Popen(["sleep", "60"])
        self.addCleanup(lambda: (other.kill(), other.wait()))
        with open(self.pidfile, "w", encoding="ascii") as file:
            file.write(f"{other.pid}\n")
        self.assert_lifted(*self.panic())
        self.assertIsNone(other.poll())

    def test_nothing_there(self):
        self.assert_lifted(*self.panic())
        self.assert_lifted(*self.panic())  # again: no error

    def test_marker_follows_no_link(self):
        victim = os.path.join(self.lab.directory, "victim")
        os.symlink(victim, self.marker)
        status, output = self.panic()
        self.assertEqual(status, 0, output)
        self.assertFalse(os.path.exists(victim))

    def test_no_state_directory(self):
        os.rmdir(self.state)
        self.start_helper()
        status, output = self.panic()
        self.assertEqual(status, 1, output)  # it would block again after a restart
        self.assertFalse(self.table_exists())
        self.assertIn("WITHOUT THE MARKER", output)

    def test_resume_without_a_daemon(self):
        self.panic()
        status, output, _ = self.verb("resume", "--config", self.config, "--socket", self.socket)
        self.assertEqual(status, 0, output)
        self.assertFalse(os.path.exists(self.marker))
        status, output, _ = self.verb("resume", "--config", self.config, "--socket", self.socket)
        self.assertEqual(status, 0, output)
        self.assertIn("no panic marker", output)

    def test_resume_does_not_go_behind_a_daemon_that_hangs(self):
        self.panic()
        self.hang_agent()
        status, output, _ = self.verb("resume", "--config", self.config, "--socket", self.socket)
        self.assertEqual(status, 3, output)
        self.assertTrue(os.path.exists(self.marker))

    def test_other_verbs_without_a_daemon(self):
        for verb in (["status"], ["blocks", "--json"], ["reload"],
                     ["block", "--reason", "x", "10.91.0.2:9100"]):
            status, output, _ = self.verb(*verb, "--socket", self.socket)
            self.assertEqual(status, 3, output)
            self.assertIn("the daemon is not running", output)
            self.assertEqual(output.count("\n"), 1, output)

    def test_usage(self):
        for argv in (["block", "10.91.0.2:9100"], ["block", "--reason", "x", "host:80"],
                     ["block", "--reason", "x", "--for", "3", "10.91.0.2:80"],
                     ["unblock", "--reason", "x" * 513, "10.91.0.2:80"],
                     ["block", "--reason", "", "10.91.0.2:80"], ["status", "extra"],
                     ["reload", "--json"], ["panic", "extra"]):
            status, output, _ = self.verb(*argv, *(
                [] if argv[0] == "panic" else ["--socket", self.socket]))
            self.assertEqual(status, 2, (argv, output))

    def test_check_config(self):
        status, output, _ = self.verb("check-config", self.config)
        self.assertEqual((status, output), (0, f"{self.config}: ok\n"))
        status, output, _ = self.verb("check-config", "--dump", self.config)
        self.assertEqual(status, 0, output)
        self.assertIn(self.socket, output)
        self.assertEqual(self.verb("check-config", "--schema")[0], 0)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("mode: observe\nmodus: x\n")
        status, output, _ = self.verb("check-config", self.config)
        self.assertEqual(status, 2)
        self.assertRegex(output, r":2:\d+: ")
        self.assertEqual(self.verb("check-config", "/nonexistent")[0], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
