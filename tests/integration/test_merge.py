#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall merge`: what shards have written, and what becomes of it."""
import csv
import json
import os
import pathlib
import re
import sqlite3
import stat
import subprocess
import tempfile
import unittest

import lab
from test_scan import ScanTest, recorded, scan

SWEEP, OTHER = "5" * 32, "7" * 32
VERDICTS = ("error", "confirmed", "likely", "protected", "unknown", "clear", "closed", "filtered")


def finding(endpoint, **changes):
    address, _, port = endpoint.rpartition(":")
    row = {"schema": 1, "time": "2026-11-22T21:00:00Z", "scan_id": "a" * 32, "vantage": "10.0.0.1",
           "endpoint": endpoint, "address": address, "port": int(port), "scheme": "http",
           "host": None, "path": "/debug/pprof/", "verdict": "confirmed", "severity": "high",
           "risk": "HIGH_RISK", "kind": "go-pprof", "evidence": ["index"], "profiles": ["heap"],
           "status": 200, "go_version": "go1.26", "module": None, "program": None, "command": [],
           "identified_by": [], "relatives": [], "serves": [], "advice": None,
           "signatures": None, "labels": [], "accepted": None, "error": None, "latency_ms": 1, "bytes": 100}
    return {**row, **changes}


def trailer(shard, shards, **changes):
    row = {"schema": 1, "type": "sweep", "sweep_id": SWEEP, "scan_id": f"{shard:032x}",
           "shard": shard, "shards": shards, "complete": True, "started": "2026-11-22T21:00:00Z",
           "ended": "2026-11-22T21:01:00Z", "endpoints": 10,
           "verdicts": {name: 0 for name in VERDICTS}}
    return {**row, **changes}


class MergeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, *rows, end="\n"):
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows)[:-1] + end,
                        encoding="utf-8")
        return path

    def merge(self, *arguments, status, **kwargs):
        done = lab.run(lab.program("pprofwall"), "merge", *arguments, check=False, **kwargs)
        self.assertEqual(done.returncode, status, done.stdout[:2000] + done.stderr)
        return done

    def rows(self, *arguments, status):
        done = self.merge("--format", "ndjson", *arguments, status=status)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return ([row for row in rows if "type" not in row],
                [row for row in rows if "type" in row], done.stderr)


class Findings(MergeTest):
    def test_whole(self):
        files = [self.file("1", finding("10.0.0.9:80"), trailer(1, 2)),
                 self.file("2", finding("10.0.0.10:80", verdict="clear", severity="none"),
                           trailer(2, 2))]
        findings, trailers, said = self.rows(*files, status=1)
        self.assertEqual([f["endpoint"] for f in findings], ["10.0.0.9:80", "10.0.0.10:80"])
        self.assertEqual(findings[0], finding("10.0.0.9:80"))
        self.assertEqual(trailers, [trailer(1, 2), trailer(2, 2)])
        self.assertEqual(said, "merged 2 files: 20 endpoints probed, 2 findings, 1 exposed, "
                               "0 there more than once\n")
        self.assertEqual(self.rows(*reversed(files), status=1)[:2], (findings, trailers))
        # Nothing exposed; or accepted, or of no severity that counts.
        self.rows(self.file("3", trailer(1, 1)), status=0)
        self.rows(self.file("4", finding("10.0.0.9:80", accepted="SEC-1"), trailer(1, 1)), status=0)
        self.rows(self.file("5", finding("10.0.0.9:80", severity="info"), trailer(1, 1)), status=0)
        self.assertEqual(self.rows("--quiet", files[0], files[1], status=1)[2], "")

    def test_what_is_missing(self):
        files = [self.file(str(i), finding(f"10.0.0.{i}:80"), trailer(i, 8)) for i in (1, 2, 4, 7)]
        files.append(self.file("5", trailer(5, 8, complete=False)))
        files.append(self.file("7b", trailer(7, 8, scan_id="f" * 32)))
        findings, _, said = self.rows(*files, status=3)
        self.assertEqual(len(findings), 4)
        self.assertIn("of 8 shards these are missing: 3, 6, 8\n", said)
        self.assertIn("of 8 shards these are incomplete: 5\n", said)
        self.assertIn("of 8 shards these are here twice: 7\n", said)

    def test_a_shard_that_was_killed_and_resumed(self):
        killed = self.file("1a", finding("10.0.0.1:80"), finding("10.0.0.2:80"),
                           end=json.dumps(finding("10.0.0.3:80"))[:99])
        resumed = self.file("1b", finding("10.0.0.2:80", time="2026-11-22T22:00:00Z"),
                            finding("10.0.0.3:80"), trailer(1, 1))
        findings, _, said = self.rows(killed, resumed, status=1)
        self.assertEqual([(f["endpoint"], f["time"][11:13]) for f in findings],
                         [("10.0.0.1:80", "21"), ("10.0.0.2:80", "22"), ("10.0.0.3:80", "21")])
        self.assertIn("1a: its last line is cut off", said)
        self.assertIn("1a ends without a line about its sweep", said)
        self.rows(killed, status=3)

    def test_different_sweeps(self):
        mine = self.file("1", finding("10.0.0.1:80"), trailer(1, 1))
        other = self.file("2", finding("10.0.0.2:80"), trailer(1, 1, sweep_id=OTHER))
        done = self.merge(mine, other, status=2)
        self.assertEqual(done.stdout, "")
        self.assertIn("of 2 different sweeps; --force joins them", done.stderr)
        findings, trailers, _ = self.rows("--force", mine, other, status=1)
        self.assertEqual((len(findings), len(trailers)), (2, 2))
        # Those that say nothing of their sweep, but are of two scans.
        plain = [self.file("3", finding("10.0.0.1:80")),
                 self.file("4", finding("10.0.0.2:80", scan_id="b" * 32))]
        self.merge(*plain, status=2)
        self.assertEqual(len(self.rows("--force", *plain, status=3)[0]), 2)
        torn = self.file("5", trailer(1, 3))
        self.assertIn("not in 3 shards", self.merge(mine, torn, status=2).stderr)

    def test_formats(self):
        source = self.file("1", finding("10.0.0.1:80"), trailer(1, 1))
        names = [self.folder / f"r.{ending}" for ending in ("csv", "sarif", "html", "ndjson")]
        done = self.merge(*(word for name in names for word in ("--output", name)), source,
                          status=1)
        self.assertIn("10.0.0.1:80", done.stdout)
        with open(names[0], newline="", encoding="utf-8") as stream:
            row, = csv.DictReader(stream, strict=True)
        self.assertEqual(row["endpoint"], "10.0.0.1:80")
        run, = json.loads(names[1].read_text())["runs"]
        self.assertIs(run["invocations"][0]["executionSuccessful"], True)
        self.assertEqual(len(run["results"]), 1)
        self.assertIn("10.0.0.1:80", names[2].read_text())
        # What was joined can be joined again.
        self.assertEqual(names[3].read_text(), source.read_text().replace(", ", ",")
                         .replace(": ", ":"))
        self.rows(names[3], self.file("2", trailer(1, 1)), status=1)

    def test_not_whole_shows_in_the_report(self):
        source = self.file("1", trailer(1, 2))
        self.merge("--output", self.folder / "r.sarif", source, status=3)
        run, = json.loads((self.folder / "r.sarif").read_text())["runs"]
        self.assertIs(run["invocations"][0]["executionSuccessful"], False)

    def test_standard_input(self):
        text = self.file("1", finding("10.0.0.1:80"), trailer(1, 1)).read_text()
        done = subprocess.run([lab.program("pprofwall"), "merge", "-"], input=text, text=True,
                              capture_output=True, timeout=30, env=lab.environment())
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("10.0.0.1:80", done.stdout)

    def test_refused(self):
        good = self.file("1", finding("10.0.0.1:80"), trailer(1, 1))
        bad = self.file("2", finding("10.0.0.1:80", verdict="fine"), trailer(1, 1))
        self.assertIn("2:1: no finding: verdict", self.merge(good, bad, status=2).stderr)
        before = good.read_text()
        for words in ((), ("--nonsense", good), (self.folder / "none",), ("--format", "x", good),
                      ("--output", good, good), ("--history", self.folder / "h.db", good),
                      ("--history", self.folder / "h.db", "--format", "csv", good)):
            with self.subTest(words):
                self.assertRegex(self.merge(*words, status=2).stderr, "^pprofwall: merge: ")
        self.assertEqual(good.read_text(), before)

    def test_secrets_stay_their_owners(self):
        source = self.file("1", finding("10.0.0.1:80"), trailer(1, 1))
        source.chmod(0o600)
        self.merge("--output", self.folder / "r.csv", source, status=1)
        self.assertEqual(stat.S_IMODE((self.folder / "r.csv").stat().st_mode), 0o600)

    @unittest.skipIf(lab.IS_ASAN, "the sanitizer's own memory")
    def test_memory_does_not_grow_with_the_findings(self):
        padding = ["x" * 500] * 2
        peaks = []
        for count in (2000, 40000):
            path = self.folder / f"{count}"
            with open(path, "w", encoding="utf-8") as file:
                for i in range(count):
                    endpoint = f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:80"
                    file.write(json.dumps(finding(endpoint, profiles=padding)) + "\n")
                file.write(json.dumps(trailer(1, 1)) + "\n")
            process = subprocess.Popen([lab.program("pprofwall"), "merge", "--output",
                                        f"{path}.ndjson", "--format", "ndjson", path],
                                       stderr=subprocess.DEVNULL, env=lab.environment())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, 1)
            peaks.append(usage.ru_maxrss)
            with open(f"{path}.ndjson", encoding="utf-8") as file:
                self.assertEqual(sum(1 for _ in file), count + 1)
        self.assertLess(peaks[1], 48 * 1024, peaks)


class Histories(ScanTest):
    def setUp(self):
        super().setUp()
        self.paths = [pathlib.Path(self.folder.name, name) for name in ("a.db", "b.db", "all.db")]

    def merge(self, *arguments, status):
        done = lab.run(lab.program("pprofwall"), "merge", *arguments, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr

    def make_shards(self, complete=1):
        """Two scans that become the shards of one sweep."""
        endpoints = []
        for shard, path in enumerate(self.paths[:2], 1):
            server = self.serve(recorded("go1.26-std"))
            endpoints.append(server.endpoint)
            scan("--history", path, "--vantage", "here", server.endpoint, status=1)
            book = sqlite3.connect(path)
            with book:
                book.execute("UPDATE sweep SET name = ?, shard = ?, shards = 2, complete = ?",
                             (SWEEP, shard, complete))
            book.close()
        return endpoints

    def test_shards(self):
        endpoints = self.make_shards()
        one, two, both = self.paths
        self.assertIn("these are missing: 2", self.merge("--history", both, one, status=3))
        said = self.merge("--history", both, one, two, status=1)
        self.assertEqual(said, "added 1 shard, 1 were there, 0 from another run; the latest sweep: "
                               "2 of 2 shards, 2 exposed\n")
        self.assertEqual(stat.S_IMODE(both.stat().st_mode), 0o600)
        done = lab.run(lab.program("pprofwall"), "report", "--history", both, "--format", "ndjson")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual({row["endpoint"] for row in rows}, set(endpoints))
        self.assertEqual({row["state"] for row in rows}, {"new"})

    def test_one_that_was_cut_short(self):
        self.make_shards(complete=0)
        one, two, both = self.paths
        self.assertIn("these are incomplete: 1-2",
                      self.merge("--history", both, one, two, status=3))

    def test_refused(self):
        self.make_shards()
        one, two, both = self.paths
        self.assertIn("for histories, --history FILE", self.merge(one, status=2))
        self.assertIn("is read and written", self.merge("--history", one, two, one, status=2))
        text = pathlib.Path(self.folder.name, "text")
        text.write_text("nothing\n" * 1000)
        self.merge("--history", both, text, status=2)


class Metrics(unittest.TestCase):
    def test_promtool_likes_them(self):
        program = os.path.join(lab.BUILD_DIR, "tests/unit/test_sweep_metrics")
        text = lab.run(program, "print").stdout
        done = subprocess.run([lab.server_program("promtool"), "check", "metrics"], input=text,
                              capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        for name in re.findall(r"(?m)^# TYPE (\S+)", text):
            self.assertRegex(name, r"^pprofwall_sweep_last_")


if __name__ == "__main__":
    unittest.main(verbosity=2)
