# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall scan` against servers, real and hostile, on loopback."""
import contextlib
import gzip
import json
import os
import pathlib
import pty
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import lab

ZOO = pathlib.Path(lab.SOURCE_DIR, "tests", "zoo")
KEYS = {"schema", "time", "scan_id", "vantage", "endpoint", "address", "port", "scheme", "host",
        "path", "verdict", "severity", "risk", "kind", "evidence", "profiles", "status",
        "go_version", "module", "program", "command", "identified_by", "relatives", "serves",
        "advice", "signatures", "labels", "accepted", "error", "latency_ms", "bytes"}
# What a scanner must never ask for: it costs the server, or changes something.
FORBIDDEN = re.compile(r"/(profile|trace|fgprof)\b|[?&]seconds=\d")
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nnot found\n"


class Server:
    """A TCP server whose handler writes raw bytes; it remembers what was asked."""

    asked = []  # (method, path) of all servers together

    def __init__(self, handler, address="127.0.0.1", port=0, tls=None, keep_alive=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family, backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self.handler, self.tls, self.keep_alive = handler, tls, keep_alive
        self.requests = []  # whole heads
        self.open = self.most_open = self.connections = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with self._lock:
                    self.connections += 1
                    self.open += 1
                    self.most_open = max(self.most_open, self.open)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with contextlib.suppress(OSError, ValueError), connection:
                if self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                while self._answer(connection) and self.keep_alive:
                    pass
                connection.close()
        finally:
            with self._lock:
                self.open -= 1

    def _answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65536)
            if not more:
                break
            head += more
            if not re.match(rb"[A-Z]{1,9}( |$)", head):
                break
        if not head:
            return False
        text = head.decode("latin-1")
        self.requests.append(text)
        words = text.split("\r\n")[0].split(" ")
        if len(words) == 3 and words[2].startswith("HTTP/1"):  # HTTP/2 begins with PRI
            Server.asked.append((words[0], words[1]))
        self.handler(connection, words[1] if len(words) == 3 else "")
        return True

    def close(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(status="200 OK", body=b"", kind="text/plain; charset=utf-8", extra="", length=None):
    size = len(body) if length is None else length
    return (f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}"
            f"Content-Length: {size}\r\n\r\n").encode() + body


def say(data):
    return lambda connection, path: connection.sendall(data)


def recorded(name):
    """Serves what a server of the zoo answered."""
    folder = ZOO / name

    def handler(connection, path):
        file = folder / (re.sub(r"[/?]", "_", path.lstrip("/")) + ".raw")
        if path == "/":
            file = folder / "root.raw"
        if not file.exists():
            file = folder / "zz9nope.raw"
        connection.sendall(file.read_bytes() if file.exists() else NOT_FOUND)
    return handler


def body_of(name, path="debug_pprof_"):
    return (ZOO / name / f"{path}.raw").read_bytes().split(b"\r\n\r\n", 1)[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def is_open(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=self-signed", "-keyout", f"{folder}/key.pem",
                    "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return context


def scan(*arguments, status=None, **kwargs):
    done = lab.run(lab.program("pprofwall"), "scan", *arguments, check=False, **kwargs)
    if status is not None and done.returncode != status:
        raise AssertionError(f"exit status {done.returncode}, expected {status}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def findings(*arguments, status=None, **kwargs):
    done = scan("--format", "ndjson", *arguments, status=status, **kwargs)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        if set(row) != KEYS:
            raise AssertionError(f"keys: {set(row) ^ KEYS}")
    return rows


class ScanTest(unittest.TestCase):
    def setUp(self):
        Server.asked = []
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.chmod(self.folder.name, 0o755)

    def serve(self, handler, **kwargs):
        server = Server(handler, **kwargs)
        self.addCleanup(server.close)
        return server

    def probe(self, handler, *arguments, **kwargs):
        """The one finding about a server."""
        server = self.serve(handler, **kwargs)
        rows = findings("--all", "--timeout", "1s", *arguments, server.endpoint)
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0]["endpoint"], server.endpoint)
        return rows[0]

    def tearDown(self):
        for method, path in Server.asked:
            self.assertEqual(method, "GET")
            self.assertIsNone(FORBIDDEN.search(path), path)


class Verdicts(ScanTest):
    def test_recorded_servers(self):
        for name, verdict, high_risk in (("node_exporter-1.5", "confirmed", True),
                                         ("go1.26-std", "confirmed", True),
                                         ("v8125-forced-gzip", "confirmed", None),
                                         ("v8108-auth-all", "unknown", False),
                                         ("v8109-auth-debug", "protected", False),
                                         ("v8111-spa", "clear", False),
                                         ("v8121-docs", "clear", False),
                                         # no pprof, but expvar
                                         ("etcd-3.4-nopprof", "confirmed", False)):
            with self.subTest(name):
                row = self.probe(recorded(name))
                self.assertEqual(row["verdict"], verdict)
                if high_risk is not None:
                    self.assertEqual(row["risk"], "HIGH_RISK" if high_risk else None)

    def test_facts(self):
        row = self.probe(recorded("node_exporter-1.5"))
        self.assertEqual(row["vantage"], "127.0.0.1")
        self.assertEqual(row["scheme"], "http")
        self.assertEqual(row["status"], 200)
        self.assertIsNone(row["host"])
        self.assertGreater(row["bytes"], 1000)
        self.assertGreaterEqual(row["latency_ms"], 0)
        self.assertRegex(row["scan_id"], r"^[0-9a-f]{32}$")

    def test_closed(self):
        port = free_port()
        row, = findings("--all", f"127.0.0.1:{port}", status=0)
        self.assertEqual(row["verdict"], "closed")
        self.assertEqual(findings(f"127.0.0.1:{port}", status=0), [])

    def test_filtered(self):
        # A listener whose backlog is full answers no further SYN.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, \
                contextlib.ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            row, = findings("--all", "--timeout", "300ms",
                            f"127.0.0.1:{full.getsockname()[1]}", status=0)
        self.assertEqual(row["verdict"], "filtered")
        self.assertIsNone(row["vantage"])

    def test_ipv6(self):
        row = self.probe(recorded("node_exporter-1.5"), address="::1")
        self.assertEqual(row["verdict"], "confirmed")
        self.assertEqual(row["vantage"], "::1")

    def test_self_signed_tls(self):
        tls = certificate(self.folder.name)
        server = self.serve(recorded("node_exporter-1.5"), tls=tls)
        for target in (f"https://127.0.0.1:{server.port}/", server.endpoint):
            with self.subTest(target):
                rows = findings("--all", "--timeout", "2s", target)
                self.assertEqual([(r["verdict"], r["scheme"]) for r in rows],
                                 [("confirmed", "https")])

    def test_plain_request_to_tls_port(self):
        """What Go answers to a plain request on its TLS port makes us ask again over TLS."""
        tls = certificate(self.folder.name)
        plain = (ZOO / "v8119-http-to-tls" / "debug_pprof_.raw").read_bytes()

        def both(connection):
            first = connection.recv(1, socket.MSG_PEEK)
            if first != b"\x16":
                connection.recv(65536)
                connection.sendall(plain)
                connection.close()
                raise OSError
            return tls.wrap_socket(connection, server_side=True)

        class Either:
            def wrap_socket(self, connection, server_side):
                return both(connection)
        row = self.probe(recorded("node_exporter-1.5"), tls=Either())
        self.assertEqual((row["verdict"], row["scheme"]), ("confirmed", "https"))

    def test_keep_alive_uses_one_connection(self):
        index, symbol = body_of("node_exporter-1.5"), b"num_symbols: 1\n"

        def handler(connection, path):
            if path == "/debug/pprof/":
                connection.sendall(answer(body=index, kind="text/html; charset=utf-8"))
            elif path == "/debug/pprof/symbol":
                connection.sendall(answer(body=symbol))
            else:
                connection.sendall(NOT_FOUND)
        server = self.serve(handler, keep_alive=True)
        row, = findings("--all", server.endpoint)
        self.assertEqual(row["verdict"], "confirmed")
        self.assertGreater(len(server.requests), 2)
        self.assertEqual(server.connections, 1)

    def test_real_node_exporter(self):
        port = free_port()
        process = subprocess.Popen(
            [lab.server_program("prometheus-node-exporter"),
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            lab.wait_until(lambda: is_open(port), 20, "node_exporter listens")
            row, = findings(f"127.0.0.1:{port}", status=1)
        finally:
            process.kill()
            process.wait()
        self.assertEqual((row["verdict"], row["severity"], row["risk"]),
                         ("confirmed", "high", "HIGH_RISK"))
        self.assertEqual(row["module"], "github.com/prometheus/node_exporter")


class Traps(ScanTest):
    """Each ends within the deadlines of its requests, and none is taken for an exposure."""

    def check(self, handler, seconds=4.0, verdicts=("clear",), **kwargs):
        started = time.monotonic()
        row = self.probe(handler, **kwargs)
        self.assertLess(time.monotonic() - started, seconds * (4 if lab.IS_ASAN else 1))
        self.assertIn(row["verdict"], verdicts, row)
        return row

    def test_endless_body(self):
        def handler(connection, path):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
            while True:
                connection.sendall(b"x" * 65536)
        row = self.check(handler)
        self.assertLessEqual(row["bytes"], 10 * 65536)

    def test_endless_chunks(self):
        def handler(connection, path):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        self.check(handler)

    def test_chunks_without_end(self):
        def handler(connection, path):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"4\r\nnope\r\n")
            connection.recv(1)
        self.check(handler, seconds=12)

    @staticmethod
    def trickle(first):
        def handler(connection, path):
            connection.sendall(first)
            connection.settimeout(0.2)
            while True:
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        return
                connection.sendall(b"x")
        return handler

    def test_tarpit_in_body(self):
        self.check(self.trickle(answer(length=100000)), seconds=12)

    def test_tarpit_in_head(self):
        """Else whoever is slow enough would pass for clear, and its wall would open."""
        for begin in (b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 404 Not Found\r\n"):
            with self.subTest(begin):
                row = self.check(self.trickle(begin), seconds=12, verdicts=("error",))
                self.assertEqual(row["error"], "no answer within the deadline")
                self.assertIsNone(row["status"])

    def test_head_that_breaks_off(self):
        for head in (b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n",
                     b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"):
            with self.subTest(head):
                row = self.check(say(head), verdicts=("error",))
                self.assertEqual(row["error"], "Connection reset by peer")

    def test_silence(self):
        self.check(lambda connection, path: connection.recv(1), seconds=12, verdicts=("error",))

    def test_what_came_before_the_deadline_counts(self):
        index = body_of("node_exporter-1.5")

        def handler(connection, path):
            if path == "/debug/pprof/":
                connection.sendall(answer(body=index, kind="text/html; charset=utf-8",
                                          length=len(index) + 1000))
                connection.recv(1)
            elif path == "/debug/pprof/symbol":
                connection.sendall(answer(body=b"num_symbols: 1\n"))
            else:
                connection.sendall(NOT_FOUND)
        row = self.probe(handler)
        self.assertIn(row["verdict"], ("confirmed", "likely"))

    def test_gzip_bomb(self):
        bomb = gzip.compress(b"\0" * (64 << 20))
        row = self.check(say(answer(body=bomb, extra="Content-Encoding: gzip\r\n")))
        self.assertLessEqual(row["bytes"], 10 * 65536)

    def test_broken_gzip(self):
        self.check(say(answer(body=b"\x1f\x8bnonsense", extra="Content-Encoding: gzip\r\n")))

    def test_ssh_banner(self):
        self.check(say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), verdicts=("clear",))

    def test_http09(self):
        self.check(say(b"<title>/debug/pprof/</title> hello\n"), verdicts=("clear",))

    def test_empty_answer(self):
        row = self.check(lambda connection, path: None, verdicts=("error",))
        self.assertEqual(row["error"], "Connection reset by peer")

    def test_huge_head(self):
        row = self.check(say(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 8000 + b"\r\n"
                             + b"X: yyyy\r\n" * 100000 + b"\r\n"), verdicts=("error",))
        self.assertEqual(row["error"], "the head of the answer is too long")

    def test_switching_protocols(self):
        self.check(say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), verdicts=("clear",))

    def test_endless_interim_answers(self):
        def handler(connection, path):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        self.check(handler, verdicts=("error",))

    def test_reset(self):
        def handler(connection, path):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        row = self.check(handler, verdicts=("error",))
        self.assertEqual(row["error"], "Connection reset by peer")

    def test_redirect_loop(self):
        self.check(say(answer("302 Found", extra="Location: /debug/pprof/\r\n")))

    def test_redirect_elsewhere(self):
        with Server(recorded("node_exporter-1.5"), address="127.0.0.2") as elsewhere:
            self.check(say(answer("302 Found",
                                  extra=f"Location: http://{elsewhere.endpoint}/debug/pprof/\r\n")))
            self.assertEqual(elsewhere.connections, 0)

    def test_redirect_to_nonsense(self):
        for location in ("http://[", "//127.0.0.2:1/debug/pprof/", "gopher://x/", "\\\\x\\y",
                         "/debug/pprof/ HTTP/1.1", "/" + "a" * 5000, "file:///etc/passwd"):
            with self.subTest(location):
                self.check(say(answer("302 Found", extra=f"Location: {location}\r\n")))

    def test_hostile_bytes_in_fields(self):
        index = body_of("node_exporter-1.5").replace(b"heap", b"he\x1b[31m\xff\x00ap")

        def handler(connection, path):
            if path == "/debug/pprof/":
                connection.sendall(answer(body=index, kind="text/html"))
            elif path == "/debug/pprof/symbol":
                connection.sendall(answer(body=b"num_symbols: 1\n"))
            elif path == "/debug/pprof/cmdline":
                connection.sendall(answer(body=b"/bin/\x1b]0;x\x07\0--p\xff\n"))
            else:
                connection.sendall(NOT_FOUND)
        server = self.serve(handler)
        done = scan(server.endpoint, status=1)
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotIn("\x07", done.stdout)
        self.assertEqual(len(done.stdout.splitlines()), 2)


    def test_table_stays_a_table(self):
        """Columns hold whatever a server says its program is."""
        for program, shown in (("/opt/日本語", "???"),
                               ("/opt/שלום\u202ea", "?????a"),
                               ("/a\u0301\u200b", "a??"),
                               ("/" + "x" * 200 + "end", "..." + "x" * 32 + "end"),
                               ("/bin/\xff".encode("latin-1"), "?"),
                               ("/bin/a\n127.0.0.1", "a?127.0.0.1")):
            argv = program if isinstance(program, bytes) else program.encode()

            def handler(connection, path, argv=argv):
                if path == "/debug/pprof/cmdline":
                    connection.sendall(answer(body=argv + b"\0"))
                elif "goroutine" in path:
                    connection.sendall(NOT_FOUND)
                else:
                    recorded("node_exporter-1.5")(connection, path)
            with self.subTest(program):
                done = scan(self.serve(handler).endpoint, status=1)
                header, row = done.stdout.splitlines()
                begin, end = header.index("PROGRAM"), header.index("EVIDENCE")
                self.assertEqual(row[begin:end].rstrip(), shown)
                self.assertTrue(row[end:].startswith("index,"), row)


class CommandLine(ScanTest):
    def test_usage_errors(self):
        for arguments in ((), ("--nonsense", "127.0.0.1"), ("--ports",), ("--all=yes", "127.0.0.1"),
                          ("--ports", "0", "127.0.0.1"), ("--timeout", "3", "127.0.0.1"),
                          ("--timeout", "1ms", "127.0.0.1"), ("--concurrency", "0", "127.0.0.1"),
                          ("--concurrency", "many", "127.0.0.1"), ("--format", "xml", "127.0.0.1"),
                          ("--fail-on", "sometimes", "127.0.0.1"), ("127.0.0.256",), ("http://a@b/",),
                          ("@/dev/null/file",), ("--output", "/dev/null/x", "127.0.0.1")):
            with self.subTest(arguments):
                done = scan(*arguments, status=2)
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertTrue(done.stderr.startswith("pprofwall: "))

    def test_refused_options_are_named(self):
        for argument, message in (("--nonsense", "unknown or ambiguous option '--nonsense'"),
                                  ("--f", "unknown or ambiguous option '--f'"),
                                  ("--all=yes", "'--all=yes': this option takes no value"),
                                  ("-xy", "unknown option '-x'; options have long names"),
                                  ("--timeout", "--timeout needs a value")):
            with self.subTest(argument):
                self.assertEqual(scan("127.0.0.1", argument, status=2).stderr,
                                 f"pprofwall: scan: {message}\n")

    def test_help(self):
        done = scan("--help", status=0)
        for word in ("--ports", "--timeout", "--fail-on", "Exit status"):
            self.assertIn(word, done.stdout)

    def test_mistake_in_a_file_is_found_before_anything_is_sent(self):
        server = self.serve(say(NOT_FOUND))
        path = os.path.join(self.folder.name, "hosts")
        pathlib.Path(path).write_text(f"# hosts\n\n{server.endpoint}\n  10.0.0.0/40 \n")
        done = scan("@" + path, status=2)
        self.assertIn(f"{path}:4: ", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertEqual(server.connections, 0)

    def test_directory(self):
        done = scan("@" + self.folder.name, status=2)
        self.assertEqual(done.stderr, f"pprofwall: {self.folder.name}: Is a directory\n")

    def test_standard_input_goes_on_where_it_was(self):
        path = pathlib.Path(self.folder.name, "hosts")
        path.write_text("no target\n127.0.0.1:1\n")
        with open(path, "rb", buffering=0) as stream:
            stream.seek(len("no target\n"))
            done = subprocess.run([lab.program("pprofwall"), "scan", "--all", "-"], stdin=stream,
                                  capture_output=True, text=True, env=lab.environment(),
                                  timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("127.0.0.1:1 ", done.stdout)

    def test_closed_standard_streams(self):
        """None of them becomes a socket: what is printed would go to the server."""
        server = self.serve(recorded("node_exporter-1.5"))
        for closed, status in (((0,), 1), ((1,), 3), ((2,), 1), ((0, 1, 2), 3)):
            with self.subTest(closed):
                server.requests.clear()
                done = scan(server.endpoint, status=status,
                            preexec_fn=lambda fds=closed: [os.close(fd) for fd in fds])
                if 1 not in closed:
                    self.assertIn("confirmed", done.stdout)
                elif 2 not in closed:
                    self.assertIn("Bad file descriptor", done.stderr)
                self.assertTrue(server.requests)
                for head in server.requests:
                    self.assertTrue(head.startswith("GET /"), head)
        scan("-", status=3, preexec_fn=lambda: os.close(0))

    def test_targets_in_a_file(self):
        servers = [self.serve(recorded("node_exporter-1.5"), address=f"127.0.0.{i}")
                   for i in (1, 2, 3)]
        path = os.path.join(self.folder.name, "hosts")
        pathlib.Path(path).write_text(
            f"# a comment\r\n\r\n{servers[0].endpoint}\r\n\t{servers[1].endpoint}   # another\n"
            f"http://{servers[2].endpoint}/")
        rows = findings("@" + path, status=1)
        self.assertEqual({row["endpoint"] for row in rows}, {s.endpoint for s in servers})

    def test_targets_from_a_pipe_are_scanned_as_they_come(self):
        server = self.serve(recorded("node_exporter-1.5"))
        process = subprocess.Popen([lab.program("pprofwall"), "scan", "--format", "ndjson", "-"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=lab.environment())
        with process:
            for _ in range(2):
                process.stdin.write(server.endpoint + "\n")
                process.stdin.flush()
                self.assertEqual(json.loads(process.stdout.readline())["verdict"], "confirmed")
            process.stdin.write("10.0.0.300\n")
            process.stdin.close()
            self.assertEqual(process.stdout.read(), "")
            self.assertIn("standard input:3: ", process.stderr.read())
        self.assertEqual(process.returncode, 2)

    def test_network(self):
        server = self.serve(recorded("node_exporter-1.5"), address="127.0.0.9")
        rows = findings("--all", "--ports", str(server.port), "127.0.0.8/30", status=1)
        self.assertEqual({row["address"]: row["verdict"] for row in rows},
                         {"127.0.0.8": "closed", "127.0.0.9": "confirmed",
                          "127.0.0.10": "closed", "127.0.0.11": "closed"})

    def test_ports(self):
        server = self.serve(recorded("node_exporter-1.5"))
        rows = findings("--all", "--ports", f"{server.port},1-3,2", "127.0.0.1", status=1)
        self.assertEqual(sorted(row["port"] for row in rows), sorted([server.port, 1, 2, 3]))

    def test_url_path_is_the_prefix(self):
        server = self.serve(say(NOT_FOUND))
        scan(f"http://{server.endpoint}/x/../pprof", status=0)
        self.assertIn("GET /x/../pprof/ HTTP/1.1\r\n", server.requests[0])

    def test_name(self):
        server = self.serve(recorded("node_exporter-1.5"))
        rows = findings(f"localhost:{server.port}", status=1)
        self.assertEqual([(r["host"], r["address"]) for r in rows if r["verdict"] == "confirmed"],
                         [("localhost", "127.0.0.1")])
        self.assertIn(f"Host: localhost:{server.port}\r\n", server.requests[0])
        self.assertRegex(server.requests[0], r"User-Agent: pprofwall/\d")

    def test_zone(self):
        """Interfaces are known by name also once the sandbox asks the kernel nothing any more."""
        row, = findings("--all", "[fe80::1%lo]:9")
        self.assertEqual(row["endpoint"], f"[fe80::1%{socket.if_nametoindex('lo')}]:9")
        done = scan("[fe80::1%nosuch0]:9", status=2)
        self.assertEqual(done.stderr,
                         "pprofwall: [fe80::1%nosuch0]:9: there is no interface 'nosuch0'\n")

    def test_link_local(self):
        with lab.Lab() as net:
            for namespace, address in (("target", "fe80::91"), ("client", "fe80::93")):
                net.run(namespace, "ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            with net.inside("target"):
                server = self.serve(recorded("node_exporter-1.5"), address="::")
            done = net.run("client", lab.program("pprofwall"), "scan",
                           f"[fe80::91%eth0]:{server.port}", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(" confirmed ", done.stdout)
        self.assertIn(f"Host: [fe80::91]:{server.port}\r\n", server.requests[0])

    def test_unknown_name_does_not_stop_the_others(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan("nosuch.invalid", server.endpoint, status=3)
        self.assertIn("nosuch.invalid: ", done.stderr)
        # Said once: libevent's own lines stay out of it.
        self.assertEqual(done.stderr.count("nosuch.invalid"), 1, done.stderr)
        self.assertNotRegex(done.stderr, r"(?m)^\[")
        self.assertIn(server.endpoint, done.stdout)

    def test_no_proxy_from_the_environment(self):
        server = self.serve(recorded("node_exporter-1.5"))
        env = dict(lab.environment(), http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1",
                   all_proxy="http://127.0.0.1:1")
        done = subprocess.run([lab.program("pprofwall"), "scan", server.endpoint], env=env,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 1)

    def test_fail_on(self):
        exposed = self.serve(recorded("node_exporter-1.5")).endpoint
        protected = self.serve(recorded("v8109-auth-debug")).endpoint
        for fail_on, target, status in (("high", exposed, 1), ("confirmed", exposed, 1),
                                        ("likely", exposed, 1), ("never", exposed, 0),
                                        ("low", protected, 0), ("info", protected, 1),
                                        ("medium", protected, 0)):
            with self.subTest((fail_on, target)):
                scan("--fail-on", fail_on, target, status=status)

    def test_redaction(self):
        def handler(connection, path):
            if path == "/debug/pprof/cmdline":
                connection.sendall(answer(body=b"/bin/app\0--db-password=hunter2"))
            else:
                recorded("node_exporter-1.5")(connection, path)
        server = self.serve(handler)
        self.assertNotIn("hunter2", scan("--format", "ndjson", server.endpoint).stdout)
        self.assertIn("hunter2", scan("--format", "ndjson", "--show-secrets",
                                      server.endpoint).stdout)

    def test_table(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan(server.endpoint, status=1)
        header, row = done.stdout.splitlines()
        self.assertEqual(header.split(), ["ENDPOINT", "VERDICT", "SEVERITY", "RISK", "GO",
                                          "PROGRAM", "EVIDENCE"])
        self.assertEqual(row.split()[:4], [server.endpoint, "confirmed", "high", "HIGH_RISK"])
        self.assertEqual(header.index("VERDICT"), row.index("confirmed"))
        self.assertRegex(done.stderr, r"^scanned 1 endpoint in \d+\.\d s: 1 exposed \(1 HIGH_RISK\)$")
        self.assertEqual(scan("--quiet", server.endpoint).stderr, "")

    def on_terminal(self, endpoint, **extra):
        leader, follower = pty.openpty()
        subprocess.run([lab.program("pprofwall"), "scan", "--quiet", endpoint], stdout=follower,
                       stdin=subprocess.DEVNULL, env=dict(lab.environment(), **extra), timeout=30)
        os.close(follower)
        text = b""
        with contextlib.suppress(OSError), open(leader, "rb", buffering=0) as stream:
            while chunk := stream.read(4096):
                text += chunk
        return text

    def test_colour(self):
        server = self.serve(recorded("node_exporter-1.5"))
        self.assertIn(b"\x1b[", self.on_terminal(server.endpoint))
        self.assertNotIn(b"\x1b[", self.on_terminal(server.endpoint, NO_COLOR="1"))
        self.assertNotIn("\x1b[", scan(server.endpoint).stdout)

    def test_output_file(self):
        server = self.serve(recorded("node_exporter-1.5"))
        path = pathlib.Path(self.folder.name, "out")
        done = scan("--format", "ndjson", "--output", path, server.endpoint, status=1)
        self.assertEqual(done.stdout, "")
        self.assertEqual(json.loads(path.read_text())["verdict"], "confirmed")

    def test_unwritable_output(self):
        server = self.serve(recorded("node_exporter-1.5"))
        done = scan("--output", "/dev/full", server.endpoint, status=3)
        self.assertIn("No space left", done.stderr)


class Ending(ScanTest):
    def start(self, *arguments):
        return subprocess.Popen([lab.program("pprofwall"), "scan", *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=lab.environment())

    def test_interrupted(self):
        found = self.serve(recorded("node_exporter-1.5"))
        slow = self.serve(lambda connection, path: connection.recv(1))
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), self.start("--format", "ndjson", "--timeout", "1m",
                                                  found.endpoint, slow.endpoint) as process:
                row = json.loads(process.stdout.readline())
                started = time.monotonic()
                process.send_signal(number)
                _, errors = process.communicate(timeout=20)
                self.assertLess(time.monotonic() - started, 10)
                self.assertEqual(row["endpoint"], found.endpoint)
                self.assertEqual(process.returncode, 3)
                self.assertIn("scanned 1 endpoint", errors)

    def test_interrupted_in_input_without_end(self):
        with self.start("@/dev/zero") as process:
            self.assertIn("too long", process.stderr.readline())
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=20)
            finally:
                process.kill()
            self.assertEqual(process.returncode, 3)

    def test_privileges(self):
        """While it waits for an answer it is nobody, filtered, and cannot gain anything."""
        slow = self.serve(lambda connection, path: connection.recv(1))
        with self.start("--timeout", "1m", slow.endpoint) as process:
            lab.wait_until(lambda: slow.requests, 20, "a request")
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(int(status["CapPrm"], 16), 0)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertNotIn("0", status["Uid"].split())
        if not lab.IS_ASAN:
            self.assertEqual(status["Seccomp"].strip(), "2")

    def test_few_descriptors(self):
        """With little room it goes slower, and still sees everything."""
        server = self.serve(say(NOT_FOUND), address="0.0.0.0", keep_alive=True)
        done = scan("--all", "--format", "ndjson", "--ports", str(server.port), "127.1.0.0/24",
                    status=0, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                    (100, 100)))
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len({row["address"] for row in rows}), 256)
        self.assertEqual({row["verdict"] for row in rows}, {"clear"})
        self.assertLessEqual(server.most_open, 40)

    def test_no_descriptors(self):
        scan("127.0.0.1:1", status=3, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (20, 20)))

    def test_open_sockets_do_not_grow(self):
        """Servers that keep connections open are hung up on, one by one."""
        server = self.serve(say(NOT_FOUND), address="0.0.0.0", keep_alive=True)
        done = scan("--all", "--format", "ndjson", "--concurrency", "16", "--ports",
                    str(server.port), "127.1.0.0/22", status=0)
        self.assertEqual(len(done.stdout.splitlines()), 1024)
        self.assertEqual(server.connections, 1024)
        # Those that hang up and those that come overlap a little on our side of the wire.
        self.assertLessEqual(server.most_open, 64)


if __name__ == "__main__":
    unittest.main(verbosity=2)
