#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A scan that goes on does not destroy what the interrupted one has written."""
import json
import os
import socket
import tempfile
import unittest

import lab


class Continue(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        # Bound and not listening: refused, and nobody else's in the meantime.
        self.closed = socket.socket()
        self.addCleanup(self.closed.close)
        self.closed.bind(("127.0.0.1", 0))
        self.target = "127.0.0.1:%d" % self.closed.getsockname()[1]

    def scan(self, *options):
        done = lab.run(lab.program("pprofwall"), "scan", "--all", "--quiet", "--seed", "1",
                       *options, self.target, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def path(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def lines(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()

    def test_lines_follow_lines(self):
        path = self.path("r.ndjson", '{"before": 1}\n')
        self.scan("--start-at", "0:1", "--output", path)
        before, found = map(json.loads, self.lines(path))
        self.assertEqual(before, {"before": 1})
        self.assertEqual(found["endpoint"], self.target)

    def test_half_a_line_is_ended(self):
        path = self.path("r.ndjson", '{"before": 1}\n{"bef')
        self.scan("--start-at", "0:1", "--output", path)
        self.assertEqual(self.lines(path)[:2], ['{"before": 1}', '{"bef'])
        self.assertEqual(json.loads(self.lines(path)[2])["endpoint"], self.target)

    def test_state_that_is_not_complete_counts_as_well(self):
        path = self.path("r.ndjson", "")
        state = os.path.join(self.folder, "state")
        self.scan("--resume", state, "--output", path)
        with open(state, encoding="ascii") as file:
            done = json.load(file)
        done["complete"], done["start_at"] = False, "0:1"
        self.path("state", json.dumps(done))
        self.scan("--resume", state, "--output", path)
        self.assertEqual(len(self.lines(path)), 2)

    def test_a_sweep_that_begins_begins_its_files(self):
        path = self.path("r.ndjson", '{"before": 1}\n')
        self.scan("--output", path)
        self.assertEqual(len(self.lines(path)), 1)

    def test_a_format_of_one_piece_is_written_anew(self):
        path = self.path("r.csv", "before\n")
        self.scan("--start-at", "0:1", "--output", path)
        self.assertNotIn("before", self.lines(path))


if __name__ == "__main__":
    unittest.main(verbosity=2)
