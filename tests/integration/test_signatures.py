#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures from files: the shipped ones, the user's own, wrong ones and none at all."""
import http.server
import json
import os
import pathlib
import re
import shutil
import tempfile
import threading
import unittest

import lab
import test_prober

ZOO = pathlib.Path(lab.SOURCE_DIR, "tests", "zoo")
SHIPPED = pathlib.Path(lab.SOURCE_DIR, "conf", "signatures.yaml").read_text()
VERSION = re.search(r'^version: "(.*)"$', SHIPPED, re.M)[1]
EXPORTER = "github.com/prometheus/node_exporter"


class Server(http.server.ThreadingHTTPServer):
    """node_exporter as it was recorded, with its pprof under any prefix; it counts its requests."""

    def __init__(self, prefix="/debug/pprof/"):
        self.asked = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                name = self.path.replace(prefix, "debug_pprof_", 1).replace("?", "_")
                file = ZOO / "node_exporter-1.5" / f"{name.replace('/', '_')}.raw"
                if self.path.startswith(prefix) and file.exists():
                    self.wfile.write(file.read_bytes())
                else:
                    self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n"
                                     b"Content-Length: 5\r\n\r\nnope\n")
                self.close_connection = True

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]


class SignaturesTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)

    def serve(self, *arguments):
        server = Server(*arguments)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def write(self, text):
        path = self.folder / "own.yaml"
        path.write_text("schema: 1\nversion: own\n" + text)
        return path

    def scan(self, *arguments, program=None, status=None):
        done = lab.run(program or lab.program("pprofwall"), "scan", "--format", "ndjson", "--quiet",
                       *arguments, check=False)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def test_shipped(self):
        rows, errors = self.scan(f"127.0.0.1:{self.serve().port}", status=1)
        self.assertEqual(errors, "")
        row = rows[0]
        self.assertEqual((row["program"], row["module"], row["signatures"]),
                         ("node_exporter", EXPORTER, VERSION))
        self.assertEqual(set(row["identified_by"]),
                         {"program=module", "module=stack", "go_version=stack-lines",
                          "command=cmdline"})
        self.assertIn("no switch for pprof", row["advice"])

    def test_own(self):
        server = self.serve()
        own = self.write(f"ports:\n  - {{name: ours, ports: [{server.port}]}}\n"
                         f"products:\n  - name: ours\n    modules: [{EXPORTER}]\n"
                         f"    advice: Ask the platform team.\n")
        rows, _ = self.scan("--signatures", own, "--ports", "ours", "127.0.0.1", status=1)
        self.assertEqual(rows[0]["port"], server.port)
        self.assertEqual((rows[0]["program"], rows[0]["signatures"]), ("ours", VERSION + "+own"))
        self.assertTrue(rows[0]["advice"].startswith("Ask the platform team. "))
        rows, _ = self.scan(f"127.0.0.1:{server.port}", status=1)
        self.assertEqual(rows[0]["program"], "node_exporter")

    def test_a_wrong_file_stops_before_the_first_request(self):
        server = self.serve()
        own = self.write("products:\n  - name: ours\n    modul: [x]\n")
        rows, errors = self.scan("--signatures", own, f"127.0.0.1:{server.port}", status=2)
        self.assertEqual((rows, server.asked), ([], []))
        self.assertIn(f'{own}:5:5: unknown key "modul"; did you mean "modules"?', errors)
        for arguments in (["--signatures", "/nonexistent"], ["--prefixes", "pprof"],
                          ["--prefixes", "/a/,/b"], ["--prefixes", "/a b/"], ["--ports", "ours"]):
            rows, errors = self.scan(*arguments, f"127.0.0.1:{server.port}", status=2)
            self.assertEqual((rows, server.asked), ([], []), arguments)
            self.assertRegex(errors, r"/nonexistent:1:1: |--prefixes: |--ports: ")

    def test_prefixes(self):
        server = self.serve("/pprof/")
        target = f"127.0.0.1:{server.port}"
        # it does not look like Go: one request, as ever
        self.assertEqual(self.scan(target, status=0)[0], [])
        self.assertEqual(server.asked, ["/debug/pprof/"])
        rows, _ = self.scan("--prefixes", "all", target, status=1)
        self.assertEqual((rows[0]["path"], rows[0]["verdict"]), ("/pprof/", "confirmed"))
        server = self.serve("/our/own/")
        target = f"127.0.0.1:{server.port}"
        self.assertEqual(self.scan("--prefixes", "all", target, status=0)[0], [])
        rows, _ = self.scan("--prefixes", "/another/,/our/own/", target, status=1)
        self.assertEqual(rows[0]["path"], "/our/own/")
        self.assertIn("/another/", server.asked)
        own = self.write("prefixes: [/our/own/]\n")
        rows, _ = self.scan("--prefixes", "all", "--signatures", own, target, status=1)
        self.assertEqual(rows[0]["path"], "/our/own/")

    def test_without_any(self):
        (self.folder / "bin").mkdir()
        program = self.folder / "bin" / "pprofwall"
        shutil.copy(lab.program("pprofwall"), program)
        rows, errors = self.scan(f"127.0.0.1:{self.serve().port}", program=program, status=1)
        self.assertIn(f"without signatures: {self.folder}/share/pprofwall/signatures.yaml:1:1: "
                      "No such file or directory", errors)
        self.assertEqual((rows[0]["verdict"], rows[0]["module"]), ("confirmed", EXPORTER))
        self.assertIn("separate mux", rows[0]["advice"])

    def test_check_signatures(self):
        def check(*arguments):
            done = lab.run(lab.program("pprofwall"), "check-signatures", *arguments, check=False)
            return done.returncode, done.stdout, done.stderr

        status, output, _ = check()
        self.assertEqual(status, 0)
        self.assertIn(f": ok, version {VERSION}: ", output)
        status, output, _ = check(self.write("prefixes: [/x/]\n"))
        self.assertEqual(status, 0)
        self.assertIn(": ok, version own: 0 port lists, 1 prefixes, ", output)
        status, output, errors = check(self.write("prefixes: [/trace/]\n"))
        self.assertEqual((status, output), (2, ""))
        self.assertIn("own.yaml:3:12: ", errors)
        self.assertEqual(check("--nonsense")[0], 2)

    @unittest.skipUnless(os.geteuid() == 0, "the prober changes its uid")
    def test_the_prober_has_them_behind_its_sandbox(self):
        server = self.serve()
        with test_prober.Prober() as prober:
            prober.agent.send(test_prober.PROBE_START, test_prober.probe(server.port), seq=1)
            row = json.loads(prober.agent.receive()[2])
        self.assertEqual((row["program"], row["signatures"]), ("node_exporter", VERSION))
        self.assertIn("no switch for pprof", row["advice"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
