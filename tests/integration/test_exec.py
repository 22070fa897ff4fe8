#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with sinks of type exec: from an event to a program of the user's."""
import json
import os
import signal
import unittest

from lab import Lab, wait_until
from test_daemon import DaemonTest, read_status

ENDPOINT = f"{Lab.TARGET}:7777"
RUNNER_UID = 64107


class Exec(DaemonTest):
    def setUp(self):
        super().setUp()
        self.told = os.path.join(self.lab.directory, "told")
        os.mkdir(self.told)
        os.chown(self.told, RUNNER_UID, RUNNER_UID)
        self.script = os.path.join(self.lab.directory, "tell")
        self.write(f'cat >{self.told}/new.$$ && mv {self.told}/new.$$ '
                   f'{self.told}/"$PPROFWALL_EVENT".$$\n')

    def write(self, body):
        with open(self.script, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + body)
        os.chmod(self.script, 0o755)

    def config_with(self, *alerts):
        config = self.lab.config(scan={"targets": []})
        config["alerts"] = list(alerts)
        return config

    def start_with(self, *alerts):
        self.daemon = self.lab.daemon(self.config_with(*alerts))
        return self.daemon.start()

    def exec_sink(self, **more):
        return {"name": "tell", "type": "exec", "command": [self.script], **more}

    def events(self, kind):
        """What programs were given for this kind of event."""
        found = []
        for name in sorted(os.listdir(self.told)):
            if name.startswith(kind + "."):
                with open(os.path.join(self.told, name), encoding="utf-8") as file:
                    found.append(json.load(file))
        return found

    def block(self, address):
        self.daemon.ctl("block", address, "--for", "1h", "--reason", "it's a \"test\"; $(id)")

    def wait_told(self, address, timeout=20):
        def told():
            return next((e for e in self.events("manual_block") if e["endpoint"] == address), None)
        return wait_until(told, timeout, f"{address} is told")

    def test_an_event_reaches_the_program(self):
        daemon = self.start_with(self.exec_sink())
        self.block(ENDPOINT)
        event = self.wait_told(ENDPOINT)
        self.assertEqual(event["reason"], "it's a \"test\"; $(id)")
        self.assertEqual(event["who"], "root")
        status = read_status(daemon.child("runner"))
        self.assertEqual(status["Uid"].split(), [str(RUNNER_UID)] * 4)
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)

    def test_what_is_no_program_is_told_in_words(self):
        daemon = self.start_with(self.exec_sink(command=["/nowhere/page"]))
        done = daemon.ctl("test-alert", "tell", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^tell: failed after \d+ ms: exit status 126: cannot be "
                                      r"executed; the log says why\n$")
        daemon.process.wait_line("alert tell: the test failed: exit status 126")
        self.assertIn("the program says: cannot be executed: No such file", daemon.output)
        self.assertNotIn("gave up", daemon.output)

    def test_the_runner_comes_with_the_first_program(self):
        daemon = self.start_with()
        self.assertNotIn("runner", daemon.children())
        daemon.write_config(self.config_with(self.exec_sink()))
        daemon.ctl("reload")
        daemon.child("runner")
        self.block(ENDPOINT)
        self.wait_told(ENDPOINT)
        # And hears of another command.
        other = os.path.join(self.lab.directory, "other")
        os.rename(self.script, other)
        daemon.write_config(self.config_with(self.exec_sink(command=[other])))
        daemon.ctl("reload")
        self.block(f"{Lab.TARGET}:7778")
        self.wait_told(f"{Lab.TARGET}:7778")

    def test_neither_death_loses_an_alert(self):
        """Of the runner, and of the sender, each with a program under way."""
        blocker = os.path.join(self.told, "hold")
        tell = f'cat >{self.told}/new.$$ && mv {self.told}/new.$$ {self.told}/manual_block.$$\n'
        self.write(f'echo $$ >{self.told}/running.$$\nwhile [ -e {blocker} ]; do sleep 0.02; done\n'
                   + tell)
        daemon = self.start_with(self.exec_sink())
        daemon.child("runner")
        for role, port in (("runner", 7001), ("sender", 7002)):
            with self.subTest(role):
                with open(blocker, "w", encoding="ascii"):
                    pass
                before = len([n for n in os.listdir(self.told) if n.startswith("running.")])
                self.block(f"{Lab.TARGET}:{port}")
                wait_until(lambda: len([n for n in os.listdir(self.told)  # noqa: B023
                                        if n.startswith("running.")]) > before,  # noqa: B023
                           20, "the program runs")
                os.kill(daemon.child(role), signal.SIGKILL)
                wait_until(lambda: f"the {role} process is back" in daemon.output,  # noqa: B023
                           20, f"another {role}")
                os.unlink(blocker)
                self.wait_told(f"{Lab.TARGET}:{port}", 60)
        wait_until(lambda: daemon.http("/readyz")[0] == 200, 20, "ready again")

    def test_what_fails_is_tried_again_and_shown(self):
        self.write(f"echo 'no way to the pager' >&2; [ -e {self.told}/up ] && exec cat "
                   f">{self.told}/manual_block.1; exit 1\n")
        daemon = self.start_with(self.exec_sink())
        self.block(ENDPOINT)
        wait_until(lambda: "exit status 1" in daemon.ctl("status").stdout, 20, "status says why")
        self.assertIn("alert tell: the program says: no way to the pager", daemon.output)
        with open(os.path.join(self.told, "up"), "w", encoding="ascii"):
            pass
        os.chown(os.path.join(self.told, "up"), RUNNER_UID, RUNNER_UID)
        self.wait_told(ENDPOINT, 60)

    def test_a_stop_takes_the_program_along(self):
        self.write(f"echo $$ >{self.told}/pid.1; sleep 600\n")
        daemon = self.start_with(self.exec_sink(timeout="5m"))
        self.block(ENDPOINT)
        path = os.path.join(self.told, "pid.1")
        wait_until(lambda: os.path.exists(path) and os.path.getsize(path), 20, "the program runs")
        with open(path, encoding="ascii") as file:
            pid = int(file.read())
        self.assertEqual(daemon.stop(), 0)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the program is gone")


if __name__ == "__main__":
    unittest.main()
