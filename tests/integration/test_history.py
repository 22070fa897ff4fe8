# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall scan --history`, `diff` and `report`, accepted risks and labels, on loopback."""
import contextlib
import datetime
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import unittest

import lab
from test_scan import NOT_FOUND, ScanTest, is_open, recorded, say, scan

EXPOSED = "go1.26-std"


class HistoryTest(ScanTest):
    def setUp(self):
        super().setUp()
        self.history = pathlib.Path(self.folder.name, "history.db")

    def file(self, name, text):
        path = pathlib.Path(self.folder.name, name)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def sweep(self, *arguments, status=None):
        return scan("--history", self.history, "--timeout", "500ms", *arguments, status=status)

    def verb(self, verb, *arguments, status=None):
        done = lab.run(lab.program("pprofwall"), verb, "--history", self.history, "--format",
                       "ndjson", *arguments, check=False)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def state(self, *arguments, status=None):
        """Of the one endpoint there is."""
        rows = self.verb("diff", *arguments, status=status)
        self.assertEqual(len(rows), 1, rows)
        return rows[0]["state"]


class Diff(HistoryTest):
    def test_new_still_fixed_and_back(self):
        server = self.serve(say(NOT_FOUND))
        self.sweep(server.endpoint, status=0)
        self.verb("diff", status=3)
        server.handler = recorded(EXPOSED)
        self.sweep(server.endpoint, status=1)
        self.assertEqual(self.state(status=1), "new")
        self.sweep(server.endpoint)
        self.assertEqual(self.state(status=0), "still")
        server.handler = say(NOT_FOUND)
        self.sweep(server.endpoint, status=0)
        self.assertEqual(self.state(status=0), "fixed")
        self.sweep(server.endpoint, status=0)
        self.assertEqual(self.verb("diff", status=0), [])
        (row,) = self.verb("report", status=0)
        self.assertEqual(row["state"], "fixed")
        self.assertLessEqual(row["first_seen"], row["fixed"])
        server.handler = recorded(EXPOSED)
        self.sweep(server.endpoint, status=1)
        (row,) = self.verb("diff", status=1)
        self.assertEqual((row["state"], row["returned"]), ("new", True))

    def test_changed(self):
        server = self.serve(recorded("go1.26-std"))
        self.sweep(server.endpoint)
        server.handler = recorded("node_exporter-1.5")
        self.sweep(server.endpoint)
        (row,) = self.verb("diff")
        self.assertEqual(row["state"], "changed")
        self.assertTrue(any(c.startswith("go_version: ") for c in row["changes"]),
                        row["changes"])

    def test_closed_and_protected_are_fixed(self):
        server = self.serve(recorded(EXPOSED))
        self.sweep(server.endpoint)
        server.handler = recorded("v8109-auth-debug")
        self.sweep(server.endpoint)
        self.assertEqual(self.state(), "fixed")
        server.handler = recorded(EXPOSED)
        self.sweep(server.endpoint)
        server.close()
        lab.wait_until(lambda: not is_open(server.port), 5, "the port is closed")
        self.sweep(server.endpoint)
        self.assertEqual(self.state(), "fixed")

    def test_what_is_never_fixed(self):
        server = self.serve(recorded(EXPOSED))
        port = str(server.port)
        self.sweep(server.endpoint)

        self.sweep("--exclude", "127.0.0.1", server.endpoint, status=0)
        self.assertEqual(self.state(), "excluded")

        self.sweep("127.0.0.2:1", status=0)
        self.assertEqual(self.state(), "not-asked")

        # Answers that are no answer.
        server.handler = say(b"")
        self.sweep(server.endpoint, status=0)
        self.assertEqual(self.state(), "error")
        server.handler = recorded("v8108-auth-all")
        self.sweep(server.endpoint, status=0)
        self.assertEqual(self.state(), "unknown")

        # Walled: whatever comes then is the wall's.
        blocks = self.file("blocks", json.dumps({"ok": True, "blocks": [
            {"endpoint": server.endpoint, "rule": "default"}]}))
        server.handler = say(NOT_FOUND)
        self.sweep("--blocks", blocks, server.endpoint, status=0)
        self.assertEqual(self.state(), "walled")

        # From elsewhere: another story.
        self.sweep("--vantage", "elsewhere", server.endpoint, status=0)
        self.verb("diff", status=3)

        # And it is open all the while.
        self.sweep("--exclude", "127.0.0.0/8", "--ports", port, "127.0.0.1")
        (row,) = self.verb("report", status=0)
        self.assertEqual((row["state"], row["fixed"]), ("excluded", None))
        server.handler = recorded(EXPOSED)
        self.sweep(server.endpoint, status=1)
        self.assertEqual(self.state(status=0), "still")

    def hanging(self, server, waiting):
        """A scan that hangs at one of the two before it has come to the other."""
        for seed in range(64):
            process = subprocess.Popen(
                [lab.program("pprofwall"), "scan", "--quiet", "--history", str(self.history),
                 "--concurrency", "1", "--timeout", "60s", "--seed", str(seed), waiting.endpoint,
                 server.endpoint],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=lab.environment())
            waited, served = waiting.connections, server.connections
            lab.wait_until(lambda: waiting.connections > waited, 10, "a probe")
            if server.connections == served:
                return process
            process.kill()
            process.wait(timeout=10)
        raise AssertionError("no order has it last")

    def test_interrupted(self):
        server = self.serve(recorded(EXPOSED))
        waiting = self.serve(lambda connection, path: connection.recv(1))
        self.sweep(server.endpoint)
        for number in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(number=number):
                process = self.hanging(server, waiting)
                process.send_signal(number)
                process.wait(timeout=10)
                # The writer outlives a scanner that is killed, until it has written.
                self.assertEqual(self.state(), "interrupted")

    def test_missing_shard(self):
        server = self.serve(recorded(EXPOSED))
        self.sweep(server.endpoint)
        self.sweep("127.0.0.2:1")
        with sqlite3.connect(self.history) as db:
            db.execute("UPDATE sweep SET shards = 4 WHERE id = 2")
            db.execute("UPDATE coverage SET network = '127.0.0.0/8', ports = '1-65535'"
                       " WHERE sweep = 2")
        db.close()
        self.assertEqual(self.state(), "shard-missing")

    def test_usage(self):
        self.verb("diff", status=3)  # no such file
        self.sweep("127.0.0.1:1")
        self.verb("diff", "a", "b", "c", status=2)
        self.verb("diff", "zzz", status=3)
        self.assertEqual(lab.run(lab.program("pprofwall"), "diff", check=False).returncode, 2)
        self.history.write_text("no database", encoding="utf-8")
        self.sweep("127.0.0.1:1", status=2)
        for file, message in (("/", "/:1:1: cannot be read: Is a directory"),
                              ("/nonexistent", "cannot be read: No such file or directory"),
                              (self.file("empty", ""), "empty:1:1: '[' or '{' expected"),
                              (self.file("other", "{}"), "not what `pprofwall blocks --json`")):
            self.assertIn(message, scan("--blocks", file, "127.0.0.1:1", status=2).stderr)

    def test_hangup(self):
        """The terminal goes away: what was found is kept."""
        server = self.serve(recorded(EXPOSED))
        slow = self.serve(lambda connection, path: connection.recv(1))
        with subprocess.Popen([lab.program("pprofwall"), "scan", "--quiet", "--timeout", "1m",
                               "--format", "ndjson", "--history", self.history, server.endpoint,
                               slow.endpoint], stdout=subprocess.PIPE, env=lab.environment(),
                              start_new_session=True) as process:
            process.stdout.readline()
            os.killpg(process.pid, signal.SIGHUP)
            process.wait(20)
        lab.wait_until(lambda: self.verb("report"), 20, "the finding")

    def test_damaged_record(self):
        self.sweep(self.serve(recorded(EXPOSED)).endpoint, status=1)
        for column, text in (("finding", "{"), ("verdict", "none")):
            with contextlib.closing(sqlite3.connect(self.history)) as db, db:
                db.execute(f"UPDATE observation SET {column} = ?", (text,))
            done = lab.run(lab.program("pprofwall"), "report", "--history", self.history,
                           check=False)
            self.assertEqual(done.returncode, 3)
            self.assertIn("a record in it is damaged", done.stderr)
            with contextlib.closing(sqlite3.connect(self.history)) as db, db:
                db.execute("UPDATE observation SET finding = NULL")

    def test_edited_texts_reach_no_terminal(self):
        self.sweep("--host-header", "a.example", self.serve(recorded(EXPOSED)).endpoint, status=1)
        nasty = "\x1b]0;x\x07\x7f\x9b\u202e"
        with contextlib.closing(sqlite3.connect(self.history)) as db, db:
            text, = db.execute("SELECT finding FROM observation").fetchone()
            edited = json.loads(text)
            edited |= {"program": nasty, "labels": [nasty], "risk": nasty, "severity": nasty}
            db.execute("UPDATE observation SET finding = ?, vantage = ?",
                       (json.dumps(edited), nasty))
            db.execute("UPDATE subject SET endpoint = endpoint || ?, host = ?, prefix = ?",
                       (nasty,) * 3)
            db.execute("UPDATE coverage SET network = ?, ports = ?", (nasty, nasty))
            db.execute("UPDATE sweep SET name = ?, vantage = ?", ("a" + nasty, "b" + nasty))
            # not even UTF-8
            db.execute("UPDATE subject SET host = CAST(x'41ff' AS TEXT)")
        for form in ("table", "ndjson"):
            done = lab.subprocess.run([lab.program("pprofwall"), "report", "--history",
                                       self.history, "--format", form], capture_output=True,
                                      env=lab.environment(), timeout=20, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            shown = (done.stdout + done.stderr).decode()
            self.assertIn("\ufffd", shown)
            for bad in nasty.replace("]0;x", ""):
                self.assertNotIn(bad, shown)

    def test_size_does_not_follow_the_number_of_targets(self):
        self.sweep("--ports", "1-9", "127.0.0.0/28", status=0)
        size = self.history.stat().st_size
        self.assertEqual(self.history.stat().st_mode & 0o777, 0o600)
        with sqlite3.connect(self.history) as db:
            rows = db.execute("SELECT count(*) FROM observation").fetchone()
            coverage = db.execute("SELECT network, ports FROM coverage").fetchall()
            verdicts = db.execute("SELECT verdicts FROM sweep").fetchone()[0]
        db.close()
        self.assertEqual(rows, (0,))
        self.assertEqual(coverage, [("127.0.0.0/28", "1-9")])
        self.assertEqual(sum(map(int, verdicts.split())), 16 * 9)
        self.sweep("--ports", "1-9", "127.0.0.0/24", status=0)
        self.assertLess(self.history.stat().st_size - size, 8192)


class Accept(HistoryTest):
    def accept(self, endpoint, day):
        return self.file("accept.yaml", f"""accepted:
  - name: SEC-1
    endpoints: ["{endpoint}"]
    reason: behind the VPN
    owner: lab
    expires: {day}
""")

    def test_accepted_and_back(self):
        server = self.serve(recorded(EXPOSED))
        today = datetime.datetime.now(datetime.timezone.utc).date()
        tomorrow, yesterday = (today + datetime.timedelta(days=n) for n in (1, -1))
        self.sweep("127.0.0.2:1")
        file = self.accept(server.endpoint, tomorrow)
        done = self.sweep("--accept", file, "--format", "ndjson", server.endpoint, status=0)
        self.assertEqual(json.loads(done.stdout)["accepted"],
                         f"SEC-1: behind the VPN (lab, until {tomorrow})")
        sarif = pathlib.Path(self.folder.name, "report.sarif")
        scan("--accept", file, "--output", sarif, server.endpoint, status=0)
        result, = json.loads(sarif.read_text(encoding="utf-8"))["runs"][0]["results"]
        self.assertEqual(result["suppressions"][0]["kind"], "external")
        (row,) = self.verb("diff", "--accept", file, status=0)
        self.assertEqual(row["state"], "new")
        self.assertIn("SEC-1", row["accepted"])
        table = lab.run(lab.program("pprofwall"), "diff", "--history", self.history, "--accept",
                        file).stdout
        self.assertLess(table.index("accepted risks"), table.index(server.endpoint))
        # It comes back when its time is over.
        file = self.accept(server.endpoint, yesterday)
        self.sweep("--accept", file, server.endpoint, status=1)
        first = self.verb("report", "--accept", file, status=0)[0]
        self.assertIsNone(first["accepted"])

    def test_mistakes(self):
        file = self.accept("127.0.0.1:http", "2030-01-01")
        done = self.sweep("--accept", file, "127.0.0.1:1", status=2)
        self.assertIn(f"{file}:3:17: ", done.stderr)


class Labels(HistoryTest):
    def test_they_travel(self):
        server = self.serve(recorded(EXPOSED))
        targets = self.file("targets", f"# ours\n{server.endpoint}  team=payments env=prod # x\n")
        done = self.sweep("--format", "ndjson", f"@{targets}", status=1)
        self.assertEqual(json.loads(done.stdout)["labels"], ["team=payments", "env=prod"])
        table = scan(f"@{targets}", status=1).stdout
        self.assertIn("team=payments", table)
        report = lab.run(lab.program("pprofwall"), "report", "--history", self.history).stdout
        self.assertIn("[team=payments] [env=prod]", report)

    def test_mistakes(self):
        targets = self.file("targets", "127.0.0.1:1\n127.0.0.1:2 team\n")
        done = scan(f"@{targets}", status=2)
        self.assertIn("targets:2: ", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
