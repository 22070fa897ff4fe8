#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parent does when a child hangs, dies or half takes a reload, in a lab (lab.py)."""
import contextlib
import os
import shutil
import signal
import unittest
import unittest.mock

import lab
from lab import IS_ASAN, Lab, wait_until

OTHER = f"{Lab.TARGET}:9200"
SLOW = 3 if IS_ASAN else 1


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


class Supervision(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.daemon = None

    def run(self, result=None):
        """A failed test shows what the daemon said."""
        outcome = super().run(result)
        if result is not None and self.daemon is not None:
            if any(test is self for test, _ in result.failures + result.errors):
                print(f"--- {self.id()}: pprofwalld said\n{self.daemon.output}\n---", flush=True)
        return outcome

    def start(self, **changes):
        changes = {"scan": {"targets": []}, "alerts": None} | changes
        self.daemon = self.lab.daemon(self.lab.config(**changes))
        return self.daemon.start()

    def test_the_firewall_goes_before_others(self):
        """As the unit has it: what it gives to all is left to one."""
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        try:
            self.start()
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        found = {role: os.getpriority(os.PRIO_PROCESS, self.daemon.child(role))
                 for role in ("firewall", "agent", "prober", "sender")}
        self.assertEqual(found, {"firewall": -10, "agent": 0, "prober": 0, "sender": 0})

    def has_table(self):
        return self.lab.nft("list", "table", "inet", "pprofwall", check=False).returncode == 0

    def block(self, check=True):
        return self.daemon.ctl("block", OTHER, "--reason", "test", check=check)

    @contextlib.contextmanager
    def stopped(self, role):
        pid = self.daemon.child(role)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def test_a_reload_does_not_bring_back_a_panic_that_was_resumed(self):
        with open(os.path.join(self.lab.directory, "state", "panic"), "w", encoding="ascii"):
            pass
        daemon = self.start()
        self.assertNotEqual(self.block(check=False).returncode, 0)
        daemon.ctl("resume")
        self.block()
        daemon.ctl("reload")
        self.assertFalse(daemon.ctl_json("status")["panic"])
        self.block()
        self.assertEqual([b["endpoint"] for b in daemon.ctl_json("blocks")["blocks"]], [OTHER])

    def test_an_agent_that_hangs_does_not_keep_the_table(self):
        daemon = self.start(on_stop="remove")
        self.block()
        with self.stopped("agent"):
            self.assertEqual(daemon.stop(), 1)
        self.assertFalse(self.has_table())

    def test_a_reload_refuses_a_file_that_others_can_write(self):
        daemon = self.start()
        os.chmod(daemon.config_path, 0o666)
        done = daemon.ctl("reload", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("only root can write", done.stdout + done.stderr)
        os.chmod(daemon.config_path, 0o644)
        daemon.ctl("reload")

    def test_a_child_that_hangs_refuses_the_reload_and_goes_on(self):
        daemon = self.start()
        for role in ("sender", "firewall"):
            with self.subTest(role), self.stopped(role):
                daemon.process.signal(signal.SIGHUP)
                daemon.process.wait_line(f"reload refused.*the {role} process does not answer",
                                         15 * SLOW)
        daemon.wait_ready()
        self.block()
        daemon.ctl("reload")
        self.block()

    def test_without_the_parent_everybody_goes_and_the_wall_stays(self):
        daemon = self.start()
        self.block()
        pids = list(daemon.children().values())
        self.assertEqual(len(pids), len(Lab.USERS))
        daemon.process.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids)), 10 * SLOW, "all children are gone")
        self.assertIn("9200", self.lab.nft("list", "table", "inet", "pprofwall").stdout)

    def test_signals_before_it_serves_wait(self):
        """Long enough to read that the signal comes meanwhile."""
        for number, line in ((signal.SIGHUP, "configuration .* reloaded"),
                             (signal.SIGTERM, "stopped")):
            daemon = self.daemon = self.lab.daemon(
                self.lab.config(scan={"targets": []}, alerts=None))
            with open(daemon.config_path, "a", encoding="ascii") as file:
                file.write(("#" * 99 + "\n") * 9000)
            daemon.start(ready=False)

            def reads():
                for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
                    with contextlib.suppress(FileNotFoundError):
                        if "memfd:" in os.readlink(f"/proc/{daemon.pid}/fd/{fd}"):
                            return True
                return False
            wait_until(reads, 10 * SLOW, "it reads its configuration", interval=0)
            daemon.process.signal(number)
            daemon.process.wait_line(line, 20 * SLOW)
            if number != signal.SIGTERM:
                daemon.stop()
            self.assertEqual(daemon.process.wait(20), 0)

    def test_an_installation_that_only_its_owner_may_enter(self):
        """Neither the children's uids nor a parent without capabilities get there by a path."""
        home = os.path.join(self.lab.directory, "home")
        for part in ("sbin", "libexec", "share"):
            shutil.copytree(os.path.join(lab.BUILD_DIR, part), os.path.join(home, part))
        os.chown(home, 64105, 64105)
        os.chmod(home, 0o700)
        with unittest.mock.patch("lab.BUILD_DIR", home):
            daemon = self.start(scan={"targets": [OTHER], "interval": "1s"},
                                filters=[{"name": "f", "match": {"ports": [1]}}])

        def last_probe():
            endpoint, = daemon.ctl_json("status")["endpoints"]
            return endpoint["last_probe"]

        def wait_probe():
            before = last_probe()
            wait_until(lambda: last_probe() != before, 10 * SLOW, "another probe")
        wait_probe()  # right after it none is under way, that would be quarantined
        for role in ("prober", "sender", "inventory", "filter"):
            old = daemon.child(role)
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: daemon.children().get(role, old) != old, 10 * SLOW, "a new one")
        daemon.wait_ready()
        wait_probe()
        self.assertNotIn("without signatures", daemon.output)

    def test_a_manual_block_outlives_a_restart(self):
        daemon = self.start()
        self.block()
        daemon.kill_everything()
        daemon.start()
        self.assertEqual([b["reason"] for b in daemon.ctl_json("blocks")["blocks"]], ["test"])
        daemon.ctl("unblock", OTHER, "--reason", "test")
        daemon.kill_everything()
        daemon.start()
        self.assertEqual(daemon.ctl_json("blocks")["blocks"], [])
        self.assertEqual(daemon.ctl_json("status")["endpoints"][0]["manual"], "unblock")


if __name__ == "__main__":
    unittest.main()
