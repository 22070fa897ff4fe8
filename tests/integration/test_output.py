# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pprofwall scan` writes: formats, files that outlive a kill, evidence, explanations."""
import contextlib
import csv
import fcntl
import hashlib
import html.parser
import json
import os
import pathlib
import pty
import random
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import termios
import unittest
import urllib.parse

import lab
from test_scan import NOT_FOUND, ScanTest, answer, body_of, recorded, scan

HOSTILE = "\"><script>document.title='pwned'</script><img src=x onerror=document.title='pwned'>"
BROWSER = shutil.which("chromium")


def hostile(connection, path):
    """An exposure that puts markup and secrets wherever it may choose a string."""
    index = body_of("node_exporter-1.5").replace(b"heap", b"he<b>" + HOSTILE.encode() + b"ap")
    if path == "/debug/pprof/":
        connection.sendall(answer(body=index, kind="text/html; charset=utf-8",
                                  extra="Set-Cookie: sid=hunter1\r\nX-Evil: \x1b[2J\r\n"))
    elif path == "/debug/pprof/symbol":
        connection.sendall(answer(body=b"num_symbols: 1\n"))
    elif path == "/debug/pprof/cmdline":
        connection.sendall(answer(body=f"=/bin/{HOSTILE}\0--db-password=hunter2".encode()))
    else:
        connection.sendall(NOT_FOUND)


class OutputTest(ScanTest):
    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def start(self, *arguments, **kwargs):
        kwargs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                  "stderr": subprocess.PIPE, "env": lab.environment()} | kwargs
        return subprocess.Popen([lab.program("pprofwall"), "scan", *map(str, arguments)], **kwargs)


class Formats(OutputTest):
    def test_several_files_and_the_table(self):
        server = self.serve(recorded("node_exporter-1.5"))
        files = [self.path(f"r.{ending}") for ending in ("ndjson", "csv", "sarif", "html")]
        done = scan(*(word for file in files for word in ("--output", file)), server.endpoint,
                    status=1)
        self.assertIn("ENDPOINT", done.stdout)
        self.assertEqual(json.loads(files[0].read_text())["endpoint"], server.endpoint)
        with open(files[1], newline="", encoding="utf-8") as stream:
            row, = csv.DictReader(stream, strict=True)
        self.assertEqual((row["endpoint"], row["risk"]), (server.endpoint, "HIGH_RISK"))
        self.assertIn(server.endpoint, files[2].read_text())
        self.assertIn(server.endpoint, files[3].read_text())

    def test_a_format_that_is_given_is_that_of_the_file(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan("--format", "csv", "--output", self.path("r.html"), server.endpoint, status=1)
        self.assertEqual(done.stdout, "")
        self.assertTrue(self.path("r.html").read_text().startswith("schema,time,"))

    def test_csv_runs_no_formula(self):
        server = self.serve(hostile)
        done = scan("--format", "csv", server.endpoint, status=1)
        header, row = csv.reader(done.stdout.splitlines(), strict=True)
        self.assertEqual(len(header), len(row))
        self.assertTrue(row[header.index("command")].startswith("'=/bin/"))
        for field in row:
            self.assertNotRegex(field, "^[=+@-]")

    def test_sarif_is_valid(self):
        schema = pathlib.Path(lab.SERVERS_DIR, "sarif-2.1.0.json")
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        if not schema.exists():
            self.skipTest("the schema was not fetched: ./dev test does")
        validator = jsonschema.Draft4Validator(json.loads(schema.read_text()),
                                               format_checker=jsonschema.FormatChecker())
        targets = [self.serve(handler).endpoint for handler in (
            hostile, recorded("node_exporter-1.5"), recorded("v8109-auth-debug"),
            recorded("v8111-spa"), recorded("v8108-auth-all"), lambda connection, path: None)]
        for arguments in (["--all", "--evidence", self.path("evidence")], []):
            path = self.path("r.sarif")
            scan(*arguments, "--output", path, *targets, "[::1]:1", status=1)
            log = json.loads(path.read_text())
            self.assertEqual([error.message for error in validator.iter_errors(log)], [])
            self.assertIs(log["runs"][0]["invocations"][0]["executionSuccessful"], True)
        self.assertEqual(len(log["runs"][0]["results"]), 2)

    def test_sarif_alerts_are_the_same_in_the_next_scan(self):
        server = self.serve(recorded("node_exporter-1.5"))
        prints = []
        for name in ("a.sarif", "b.sarif"):
            scan("--output", self.path(name), server.endpoint, status=1)
            result, = json.loads(self.path(name).read_text())["runs"][0]["results"]
            prints.append(result["partialFingerprints"])
        self.assertEqual(*prints)

    def test_appended_and_piped_reports_are_whole(self):
        server = self.serve(recorded("node_exporter-1.5"))
        json.loads(scan("--format", "sarif", server.endpoint, status=1).stdout)
        path = self.path("log")
        path.write_text("before\n")
        with open(path, "ab") as stream, self.start("--quiet", "--format", "sarif",
                                                    server.endpoint, stdout=stream) as process:
            process.communicate(timeout=30)
        text = path.read_text()
        self.assertTrue(text.startswith("before\n"))
        json.loads(text[len("before\n"):])

    def test_usage_errors(self):
        for arguments in (("--explain", "--format", "csv", "127.0.0.1:1"),
                          ["--output", "x"] * 9 + ["127.0.0.1:1"],
                          ("--evidence", "/dev/null/x", "127.0.0.1:1")):
            with self.subTest(arguments):
                done = scan(*arguments, status=2)
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)


class Killed(OutputTest):
    """SIGKILL at a random moment: what is there is whole."""
    ROUNDS = 6 if lab.IS_ASAN else 20

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [os.pidfd_open(int(child)) for child in file.read().split()]

    def kill_after(self, size, path, *arguments):
        """Kills the scan when a file has so many bytes, and waits for all who wrote."""
        with self.start("--quiet", *arguments, stderr=subprocess.DEVNULL) as process:
            lab.wait_until(lambda: process.poll() is not None or
                           (path.exists() and path.stat().st_size >= size), 30, f"{path} grows")
            writers = self.children(process.pid) if process.poll() is None else []
            process.kill()
        for writer in writers:  # that of evidence goes on until it has written
            select.select([writer], [], [], 30)
            os.close(writer)

    def targets(self):
        server = self.serve(recorded("node_exporter-1.5"), address="0.0.0.0")
        return ["--concurrency", "8", "--ports", str(server.port), "127.3.0.0/24"]

    def test_sarif(self):
        targets, choice, path = self.targets(), random.Random(3), self.path("r.sarif")
        counts = set()
        for _ in range(self.ROUNDS):
            path.unlink(missing_ok=True)
            self.kill_after(choice.randrange(1, 400000), path, "--output", path, *targets)
            run = json.loads(path.read_text())["runs"][0]
            if len(run["results"]) < 256:
                self.assertIs(run["invocations"][0]["executionSuccessful"], False)
            counts.add(len(run["results"]))
        self.assertGreater(len(counts), 2, "kills at different moments")

    def test_html(self):
        targets, choice, path = self.targets(), random.Random(4), self.path("r.html")
        for _ in range(self.ROUNDS // 2):
            path.unlink(missing_ok=True)
            self.kill_after(choice.randrange(1, 400000), path, "--output", path, *targets)
            text = path.read_text()
            self.assertTrue(text.rstrip().endswith("</html>"))
            rows = text.count("<tr><td>")
            self.assertIn(f'<dt>high</dt><dd class="count high">{rows}</dd>', text)

    def test_evidence(self):
        targets, choice = self.targets(), random.Random(5)
        for n in range(self.ROUNDS // 2):
            folder = self.path(f"evidence{n}")
            self.kill_after(choice.randrange(1, 60000), folder / "SHA256SUMS",
                            "--evidence", folder, *targets)
            sums = dict(reversed(line.split("  ")) for line in
                        (folder / "SHA256SUMS").read_text().splitlines())
            index = [json.loads(line)
                     for line in (folder / "index.ndjson").read_text().splitlines()]
            self.assertEqual({row["file"]: row["sha256"] for row in index}, sums)
            for name, digest in sums.items():
                self.assertEqual(hashlib.sha256((folder / name).read_bytes()).hexdigest(), digest)


class Reader(OutputTest):
    def test_that_does_not_read_keeps_no_signal_waiting(self):
        for form in (["--format", "table"], ["--format", "sarif"], ["--explain"]):
            reading, writing = os.pipe()
            self.addCleanup(os.close, reading)
            self.addCleanup(os.close, writing)
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 14)
            with self.start("--quiet", "--all", *form, "--ports", "20000-20600",
                            "127.0.0.1", stdout=writing) as process:
                lab.wait_until(lambda: not select.select([], [writing], [], 0)[1], 20,
                               "a full pipe")

                # the first one may come before the scan is held up
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGINT)
                try:
                    self.assertEqual(process.wait(20), 3)
                finally:
                    process.kill()


    def test_of_both_outputs(self):
        """`2>&1 |`: what is said of a signal must not wait either."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        hanging = self.serve(lambda connection, path: connection.recv(1))
        with self.start("--timeout", "60s", hanging.endpoint, stdout=writing,
                        stderr=writing) as process:
            lab.wait_until(lambda: hanging.connections > 0, 20, "a probe")
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x" * 65536)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x")
            os.set_blocking(writing, True)  # it is the scan's, too
            process.send_signal(signal.SIGINT)
            try:
                self.assertEqual(process.wait(10), 3)
            finally:
                process.kill()


class Evidence(OutputTest):
    def keep(self, handler, *arguments, **kwargs):
        server = self.serve(handler)
        folder = self.path("evidence")
        scan("--quiet", "--evidence", folder, *arguments, server.endpoint, **kwargs)
        files = {file.name: file for file in folder.iterdir()}
        index = [json.loads(line) for line in files["index.ndjson"].read_text().splitlines()]
        return folder, files, index

    def test_answers_are_kept_as_they_came(self):
        page = answer(body=body_of("node_exporter-1.5"), kind="text/html; charset=utf-8")

        def handler(connection, path):
            if path == "/debug/pprof/":
                connection.sendall(page)
            else:
                recorded("node_exporter-1.5")(connection, path)
        folder, files, index = self.keep(handler, status=1)
        first = index[0]
        self.assertEqual((first["step"], first["status"]), ("index", 200))
        self.assertEqual(first["request"][0], "GET /debug/pprof/ HTTP/1.1")
        self.assertEqual(files[first["file"]].read_bytes(), page)
        lab.run("sha256sum", "-c", "--strict", "SHA256SUMS", cwd=folder)
        self.assertEqual(set(files) - {"SHA256SUMS", "index.ndjson"},
                         {row["file"] for row in index})
        for file in files.values():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
            self.assertRegex(file.name, r"^[0-9A-Za-z._-]+$")

    def test_secrets(self):
        folder, files, _ = self.keep(hostile, status=1)
        kept = b"".join(file.read_bytes() for file in files.values())
        self.assertNotIn(b"hunter", kept)
        self.assertIn(b"--db-password=[redacted]", kept)
        self.assertIn(b"Set-Cookie:[redacted]\r\n", kept)
        shutil.rmtree(folder)
        _, files, _ = self.keep(hostile, "--show-secrets", status=1)
        kept = b"".join(file.read_bytes() for file in files.values())
        self.assertIn(b"hunter1", kept)
        self.assertIn(b"hunter2", kept)

    def test_only_what_is_reported(self):
        _, files, index = self.keep(recorded("v8111-spa"), status=0)
        self.assertEqual((set(files), index), ({"SHA256SUMS", "index.ndjson"}, []))
        _, _, index = self.keep(recorded("v8111-spa"), "--all", status=0)
        self.assertEqual(index[0]["verdict"], "clear")

    def test_sweeps_share_a_directory(self):
        _, _, first = self.keep(recorded("node_exporter-1.5"), status=1)
        _, _, both = self.keep(recorded("node_exporter-1.5"), status=1)
        self.assertEqual(len({row["file"] for row in both}), 2 * len(first))

    def test_reports_link_to_it(self):
        for report in ("r.html", "r.sarif"):
            folder, files, index = self.keep(recorded("node_exporter-1.5"), "--output",
                                             self.path(report), status=1)
            text = self.path(report).read_text()
            for row in index:
                self.assertIn(row["sha256"], text)
                link = "./evidence/" + row["file"]
                self.assertIn(f'"{link}"', text)
                self.assertTrue(self.path(urllib.parse.unquote(link)).exists())
            shutil.rmtree(folder)

    def test_that_cannot_be_kept(self):
        """The finding counts all the same as not reported in full: exit 3, and it is said."""
        folder = self.path("evidence")

        def handler(connection, path):
            shutil.rmtree(folder, ignore_errors=True)
            recorded("node_exporter-1.5")(connection, path)
        server = self.serve(handler)
        done = scan("--evidence", folder, server.endpoint, status=3)
        self.assertIn("evidence cannot be kept: No such file", done.stderr)

    def test_lists_that_are_no_files_of_their_own(self):
        for n, name in enumerate(("SHA256SUMS", "index.ndjson")):
            folder = self.path(f"evidence{n}")
            folder.mkdir()
            os.mkfifo(folder / name)
            done = scan("--evidence", folder, "127.0.0.1:1", status=2)
            self.assertIn("cannot write there", done.stderr)
            (folder / name).unlink()
            other = self.path("other")
            other.write_text("somebody else's\n")
            os.link(other, folder / name)
            if os.geteuid() == 0:
                os.chown(folder, 65534, 65534)
            done = scan("--evidence", folder, "127.0.0.1:1", status=2)
            self.assertIn("no file of its own", done.stderr)
            self.assertEqual(other.stat().st_uid, os.geteuid())
            self.assertEqual(other.read_text(), "somebody else's\n")

    def test_writer_has_no_privileges(self):
        slow = self.serve(lambda connection, path: connection.recv(1))
        with self.start("--timeout", "1m", "--evidence", self.path("evidence"),
                        slow.endpoint) as process:
            lab.wait_until(lambda: slow.requests, 20, "a request")
            child, = pathlib.Path(
                f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

            def status():
                text = pathlib.Path(f"/proc/{child}/status").read_text()
                return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            if not lab.IS_ASAN:
                lab.wait_until(lambda: status()["Seccomp"].strip() == "2", 20, "the filter")
            lab.wait_until(lambda: int(status()["CapPrm"], 16) == 0, 20, "no capabilities")
            self.assertEqual(status()["NoNewPrivs"].strip(), "1")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


class Explain(OutputTest):
    def test_requests_answers_and_rule(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan("--quiet", "--explain", server.endpoint, status=1)
        for path in ("/debug/pprof/", "/debug/pprof/symbol", "/debug/pprof/goroutine?debug=2"):
            self.assertIn(f"> GET {path} HTTP/1.1\n", done.stdout)
        for text in (server.endpoint + "\n", "> Host: " + server.endpoint, "< HTTP/1.1 200 OK",
                     "(IDX)", "(SYM)", "(CTL)", "verdict   confirmed: index and symbol handler",
                     "severity  high HIGH_RISK"):
            self.assertIn(text, done.stdout)

    def test_what_is_not_exposed_too(self):
        clear = self.serve(recorded("v8111-spa"))
        done = scan("--quiet", "--explain", clear.endpoint, "127.0.0.1:1", status=0)
        self.assertIn("verdict   clear: ", done.stdout)
        self.assertIn("Connection refused", done.stdout)
        self.assertIn("verdict   closed: ", done.stdout)

    def test_hostile_bytes_and_secrets(self):
        server = self.serve(hostile)
        done = scan("--quiet", "--explain", server.endpoint, status=1)
        self.assertNotRegex(done.stdout, r"[\x00-\x09\x0b-\x1f\x7f]")
        self.assertNotIn("hunter", done.stdout)

    def test_beside_a_file(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan("--explain", "--format", "ndjson", "--output", self.path("r"), server.endpoint,
                    status=1)
        self.assertIn("verdict   confirmed", done.stdout)
        self.assertEqual(json.loads(self.path("r").read_text())["verdict"], "confirmed")


class Terminal(OutputTest):
    def run_on_terminal(self, *arguments, columns=100, until=None):
        """Output and errors on one terminal, as a person has it. Returns its text and the status."""
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        text = b""
        with self.start(*arguments, stdout=follower, stderr=follower,
                        env=dict(lab.environment(), TERM="xterm", NO_COLOR="1")) as process:
            os.close(follower)
            with contextlib.suppress(OSError), open(leader, "rb", buffering=0) as stream:
                while chunk := stream.read(4096):
                    text += chunk
                    if until and until in text:
                        process.send_signal(signal.SIGINT)
                        until = None
        return text.decode(), process.returncode

    @staticmethod
    def screen(text):
        """The lines that a terminal shows in the end: CR returns, ESC [ K clears to the right."""
        lines = []
        for line in text.split("\n"):
            shown = ""
            for part in line.rstrip("\r").split("\r"):
                cleared, _, rest = part.rpartition("\x1b[K")
                shown = cleared + rest if _ else part + shown[len(part):]
            lines.append(shown)
        return lines

    def test_progress_and_table_share_it(self):
        found = self.serve(recorded("node_exporter-1.5"))
        slow = self.serve(lambda connection, path: connection.recv(1))
        text, status = self.run_on_terminal("--timeout", "1500ms", found.endpoint, slow.endpoint)
        self.assertEqual(status, 1)
        self.assertIn("\r1 of 2 (50.0%) endpoints, 1 exposed, ", text)
        lines = self.screen(text)
        self.assertEqual([line.split()[0] for line in lines[:3]],
                         ["ENDPOINT", found.endpoint, "scanned"])
        self.assertEqual(lines[3:], [""])

    def test_interrupt_ends_clean(self):
        slow = self.serve(lambda connection, path: connection.recv(1))
        text, status = self.run_on_terminal("--timeout", "1m", slow.endpoint, until=b" endpoints, ")
        self.assertEqual(status, 3)
        lines = self.screen(text)
        self.assertEqual(lines[0], "pprofwall: stopped by SIGINT")
        self.assertTrue(lines[1].startswith("scanned 0 endpoints"))

    def test_quiet_shows_none(self):
        slow = self.serve(lambda connection, path: connection.recv(1))
        text, _ = self.run_on_terminal("--quiet", "--timeout", "700ms", slow.endpoint)
        self.assertEqual(text, "")

    def test_rows_fit(self):
        server = self.serve(recorded("node_exporter-1.5"))
        for columns in (80, 100, 300):
            text, _ = self.run_on_terminal("--quiet", server.endpoint, columns=columns)
            header, row = text.splitlines()
            self.assertLessEqual(max(len(header), len(row)), columns)
            self.assertTrue(row.startswith(server.endpoint))
            self.assertEqual(row.endswith("…"), columns < 120)


class Tables(html.parser.HTMLParser):
    """Counts the tags of a page, and collects the text of its rows."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data):
        if self.rows:
            self.rows[-1] += data


@unittest.skipUnless(BROWSER, "chromium is not installed")
class Browser(OutputTest):
    def look(self, page, *arguments):
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", f"--user-data-dir={self.path('profile')}", "--enable-logging=stderr",
             *arguments, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, done.stderr

    def report(self):
        targets = [self.serve(handler).endpoint for handler in (
            hostile, recorded("node_exporter-1.5"), recorded("v8109-auth-debug"))]
        page = self.path("r.html")
        scan("--all", "--output", page, *targets, status=1)
        return page, targets

    def test_script_sorts_and_strings_do_nothing(self):
        page, targets = self.report()
        dom, log = self.look(page, "--dump-dom")
        tables = Tables(dom)
        self.assertEqual(tables.tags.count("button"), 7)  # a header to sort by each
        self.assertEqual(tables.tags.count("input"), 1)
        self.assertEqual(tables.tags.count("script"), 1)
        self.assertEqual(tables.tags.count("img"), 0)
        self.assertNotIn("<title>pwned", dom)
        self.assertNotIn("Content Security Policy", log)
        for target in targets:
            self.assertEqual(sum(target in row for row in tables.rows), 1)

    def paint(self, page):
        picture = self.path("page.png")
        self.look(page, "--window-size=1400,900", f"--screenshot={picture}")
        data = picture.read_bytes()
        self.assertEqual(struct.unpack(">II", data[16:24]), (1400, 900))
        # An empty page of that size takes a few KB.
        self.assertGreater(len(data), 30000)
        return data

    def test_without_script(self):
        """All of it stands in the file, and without the script it is painted too."""
        page, targets = self.report()
        tables = Tables(page.read_text())
        self.assertEqual(tables.tags.count("button"), 0)
        for target in targets:
            self.assertEqual(sum(target in row for row in tables.rows), 1)
        bare = self.path("bare.html")
        bare.write_text(re.sub(r"<script>.*</script>", "", page.read_text()))
        self.assertTrue(self.paint(bare) != self.paint(page), "the script adds its field")


if __name__ == "__main__":
    unittest.main(verbosity=2)
