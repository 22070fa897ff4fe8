#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sinks on the host itself: the journal. The sender sees a /run of the test's own."""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import test_sender

JOURNALD = "/lib/systemd/systemd-journald"
CONFIG = "alerts: [{name: journal, type: journald, timeout: 5s}]\n"
EVENT = {
    "schema": 1, "id": "5f0c6a9b", "event": "opened", "time": "2026-11-22T21:00:04Z",
    "host": "web-3", "endpoint": "10.0.0.7:9100", "action": "drop", "reason": "x\nPRIORITY=0",
    "text": "pprofwall: opened: 10.0.0.7:9100 (naïve)", "breaker": {"name": "default"},
    "finding": {"severity": "high", "verdict": "confirmed"},
}


def journal_fields(datagram):
    """What journald makes of it (systemd.io/JOURNAL_NATIVE_PROTOCOL): [(name, value)]."""
    found = []
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8:8 + size], datagram[8 + size:]
            assert datagram[:1] == b"\n"
            datagram = datagram[1:]
        found.append((name.decode(), value.decode()))
    return found


class LocalTest(test_sender.SenderTest):
    def setUp(self):
        super().setUp()
        self.run_folder = tempfile.mkdtemp(prefix="pprofwall-test-")
        os.chmod(self.run_folder, 0o755)
        self.addCleanup(shutil.rmtree, self.run_folder)

    def path(self, *names):
        return os.path.join(self.run_folder, *names)

    def listen(self, *names):
        path = self.path(*names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.settimeout(10)
        return listener


class Journal(LocalTest):
    def test_an_event_is_one_datagram_of_fields(self):
        journal = self.listen("systemd", "journal", "socket")
        sender = self.sender(CONFIG, run=self.run_folder)
        sender.send(1, EVENT)
        self.assert_results(sender.results(until=1), ("journal", "delivered", 0))
        fields = journal_fields(journal.recv(65536))
        names = [name for name, _ in fields]
        self.assertEqual(len(names), len(set(names)), fields)
        told = dict(fields)
        self.assertEqual(told["MESSAGE"], EVENT["text"])
        self.assertEqual(told["PRIORITY"], "2")
        self.assertEqual(told["PPROFWALL_ENDPOINT"], "10.0.0.7:9100")
        self.assertEqual(told["PPROFWALL_REASON"], "x PRIORITY=0")
        self.assertRegex(told["MESSAGE_ID"], r"^[0-9a-f]{32}$")

    def test_waits_for_a_journal_that_is_not_there(self):
        sender = self.sender(CONFIG, run=self.run_folder)
        sender.send(1, EVENT)
        result = sender.read_result(sender.agent.receive())
        self.assertEqual((result.outcome, result.text), ("retry", "its socket: No such file or directory"))
        journal = self.listen("systemd", "journal", "socket")
        self.assertEqual(sender.results(until=1)[-1].outcome, "delivered")
        self.assertIn(b"PPROFWALL_EVENT=opened\n", journal.recv(65536))

    def test_a_journal_that_hangs_holds_nobody_up(self):
        """Nobody reads: the kernel's queue is full after a while, and the sender does not wait."""
        journal = self.listen("systemd", "journal", "socket")
        receiver = self.receiver()
        sender = self.sender("alerts:\n- {name: journal, type: journald}\n"
                             f"- {{name: ops, type: webhook, url: '{receiver.url}'}}\n",
                             run=self.run_folder)
        seq, stuck = 0, None
        while not stuck and seq < 2000:
            seq += 1
            sender.send(seq, EVENT)
            results = [sender.read_result(sender.agent.receive()) for _ in range(2)]
            self.assertIn(("ops", "delivered"), [(r.sink, r.outcome) for r in results])
            stuck = next((r for r in results if r.outcome == "retry"), None)
            receiver.requests.get(timeout=5)
            if not stuck:
                sender.results(until=seq)
        self.assertEqual((stuck.sink, stuck.text), ("journal", "the receiver does not read"))
        journal.recv(65536)
        self.assertEqual(sender.results(until=seq)[-1].outcome, "delivered")

    @unittest.skipUnless(os.path.exists(JOURNALD), "no systemd-journald")
    def test_journalctl_finds_it(self):
        # As a namespace's, it listens for nobody else on this machine: neither kernel nor audit.
        os.makedirs(self.path("log", "journal"))
        os.makedirs(self.path("systemd", "journal.test"))
        os.symlink("journal.test", self.path("systemd", "journal"))
        journald = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec",
             'mount --bind "$1/log" /var/log; mount --bind "$1" /run; exec "$2" test', "sh",
             self.run_folder, JOURNALD], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.addCleanup(journald.wait)
        self.addCleanup(journald.terminate)
        sender = self.sender(CONFIG, run=self.run_folder)
        sender.send(1, EVENT)
        self.assertEqual(sender.results(until=1, timeout=30)[-1].outcome, "delivered")
        found = self.journalctl("PPROFWALL_ENDPOINT=10.0.0.7:9100", "PRIORITY=2")
        self.assertEqual(found["MESSAGE"], EVENT["text"])
        self.assertEqual(found["SYSLOG_IDENTIFIER"], "pprofwalld")
        self.assertEqual(found["_UID"], str(test_sender.driver.UID))

    def journalctl(self, *match):
        """The first entry; journald writes when it gets to it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for folder in os.listdir(self.path("log", "journal")):
                out = subprocess.run(
                    ["journalctl", "-D", self.path("log", "journal", folder), "-o", "json", "-n1",
                     *match], capture_output=True, text=True, timeout=30).stdout
                with contextlib.suppress(json.JSONDecodeError):
                    return json.loads(out)
            time.sleep(0.1)
        raise AssertionError("not in the journal")


if __name__ == "__main__":
    unittest.main()
