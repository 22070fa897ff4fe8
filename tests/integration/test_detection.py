# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts on real products, on Go programs of every shape, and on servers made to mislead.

Whatever is scanned here, each request is on record, and none may be asked that FORBIDDEN has or
that ALLOWED lacks.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import gobuild
import lab
from test_scan import (NOT_FOUND, ZOO, Server, answer, body_of, certificate, findings, free_port,
                       is_open, recorded, say)

SOURCES = pathlib.Path(__file__).with_name("goservers")
PREFIXES = ("/debug/pprof", "/pprof", "/_debug/pprof", "/api/debug/pprof", "/admin/debug/pprof",
            "/pd/api/v1/debug/pprof", "/v1/sys/pprof", "/internal/prof")
ALLOWED = re.compile(
    "(" + "|".join(PREFIXES) + r")(/(symbol|cmdline|goroutine\?debug=2(&seconds=x)?)?)?"
    r"|/[0-9a-f]{16}"
    r"|/debug/(vars|requests|events|statsviz/|tracez|rpcz|servicez)")
FORBIDDEN = re.compile(r"/(profile|trace|fgprof|heap|allocs|block|mutex)\b|[?&]seconds=\d|[?&]gc=")


class Record:
    """What was asked of anybody, in all tests of this process."""
    asked = []

    @classmethod
    def check(cls, test):
        asked, cls.asked, Server.asked = cls.asked + Server.asked, [], []
        for method, path in asked:
            test.assertEqual(method, "GET", path)
            test.assertIsNone(FORBIDDEN.search(path), path)
            test.assertIsNotNone(ALLOWED.fullmatch(path), path)


class Relay:
    """Passes a connection on to a real server, and reads what is asked on the way."""

    def __init__(self, port):
        self.upstream = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.asked = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            answers = threading.Thread(target=self._pass, args=(server, client, False))
            answers.start()
            self._pass(client, server, True)
            answers.join()

    def _pass(self, source, sink, is_client):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_client:
                    # A request of ours fits in one segment, on loopback.
                    for line in re.findall(rb"(?m)^([A-Z]+) (\S+) HTTP/1", data):
                        self.asked.append(tuple(word.decode("latin-1") for word in line))
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        Record.asked += self.asked
        self.asked = []
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class DetectionTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(Record.check, self)  # the last: servers have ended, and said all
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        Server.asked = []

    def scan(self, target, *arguments):
        """The one finding."""
        rows = findings("--all", "--timeout", "5s", *arguments, target)
        self.assertEqual(len(rows), 1)
        return rows[0]

    def expect(self, row, verdict, severity, risk, kind):
        self.assertEqual((row["verdict"], row["severity"], row["risk"], row["kind"]),
                         (verdict, severity, risk, kind), row)

    def expect_readable(self, row):
        self.expect(row, "confirmed", "high", "HIGH_RISK", "go-pprof")


def product(name):
    """The path of a real server, or None."""
    for folder in ("usr/bin", "usr/sbin"):
        path = os.path.join(lab.SERVERS_DIR, folder, name)
        if os.path.exists(path):
            return path
    return shutil.which(name)


class Products(DetectionTest):
    def start(self, name, *arguments, port, relay=True, shared=False):
        """Runs a product until the test ends; the endpoint to scan."""
        path = product(name)
        if not path:
            self.skipTest(f"{name} could not be fetched: run `./dev servers` as root")
        command = [path, *map(str, arguments)]
        if shared:
            # It looks for its files where its package would have installed them.
            if os.geteuid() != 0:
                self.skipTest(f"{name} needs a mount namespace, and that needs root")
            command = ["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /usr/share\nshift\n'
                       'exec "$@"', "sh", os.path.join(lab.SERVERS_DIR, "usr/share"), *command]
        log = open(self.folder / "log", "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, env=dict(lab.environment(), HOME=str(self.folder)))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def listens():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / 'log').read_text()[-2000:]}")
            return is_open(port)
        lab.wait_until(listens, 60, f"{name} listens")
        if not relay:
            return f"127.0.0.1:{port}"
        between = Relay(port)
        self.addCleanup(between.close)
        return between.endpoint

    def check(self, name, *arguments, port, program=None, module=None, **kwargs):
        row = self.scan(self.start(name, *arguments, port=port, **kwargs))
        self.expect_readable(row)
        self.assertEqual(row["path"], "/debug/pprof/")
        self.assertRegex(row["go_version"], r"^1\.19")
        if module:
            self.assertEqual(row["module"], module)
        if program:
            self.assertEqual(row["program"], program)
        return row

    def test_node_exporter(self):
        port = free_port()
        self.check("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", port=port,
                   program="node_exporter", module="github.com/prometheus/node_exporter")

    def test_prometheus(self):
        port = free_port()
        (self.folder / "prometheus.yml").write_text("global: {}\n")
        self.check("prometheus", "--config.file=prometheus.yml",
                   f"--storage.tsdb.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{port}", port=port, program="prometheus",
                   module="github.com/prometheus/prometheus")

    def test_alertmanager(self):
        port = free_port()
        (self.folder / "am.yml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n")
        self.check("prometheus-alertmanager", "--config.file=am.yml",
                   f"--storage.path={self.folder}/data", "--cluster.listen-address=",
                   f"--web.listen-address=127.0.0.1:{port}", port=port, shared=True,
                   module="github.com/prometheus/alertmanager")

    def test_pushgateway(self):
        port = free_port()
        self.check("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", port=port,
                   module="github.com/prometheus/pushgateway")

    def test_blackbox_exporter(self):
        port = free_port()
        (self.folder / "bb.yml").write_text("modules: {}\n")
        self.check("prometheus-blackbox-exporter", "--config.file=bb.yml",
                   f"--web.listen-address=127.0.0.1:{port}", port=port,
                   module="github.com/prometheus/blackbox_exporter")

    def etcd(self, *arguments):
        port, peer = free_port(), free_port()
        url, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        return self.start("etcd", "--data-dir", self.folder / "data", "--listen-client-urls", url,
                          "--advertise-client-urls", url, "--listen-peer-urls", peers,
                          "--initial-advertise-peer-urls", peers, "--initial-cluster",
                          f"default={peers}", *arguments, port=port)

    def test_etcd_with_pprof(self):
        row = self.scan(self.etcd("--enable-pprof"))
        self.expect_readable(row)
        self.assertEqual((row["program"], row["module"]), ("etcd", "go.etcd.io/etcd"))

    def test_etcd_without_pprof(self):
        """It has expvar on the same port all the same."""
        row = self.scan(self.etcd())
        self.expect(row, "confirmed", "low", None, "expvar")
        self.assertEqual(row["relatives"], ["expvar"])

    def test_caddy(self):
        """Its admin port wants to be called by its own name: without a relay."""
        port = free_port()
        (self.folder / "caddy.json").write_text(json.dumps(
            {"admin": {"listen": f"127.0.0.1:{port}"}}))
        row = self.check("caddy", "run", "--config", "caddy.json", port=port, relay=False,
                         program="caddy")
        self.assertIn("index", row["evidence"])

    def test_influxdb(self):
        port, rpc = free_port(), free_port()
        (self.folder / "influx.conf").write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n'
            f'[meta]\ndir = "{self.folder}/meta"\n[data]\ndir = "{self.folder}/data"\n'
            f'wal-dir = "{self.folder}/wal"\n[http]\nbind-address = "127.0.0.1:{port}"\n'
            "[monitor]\nstore-enabled = false\n")
        self.check("influxd", "-config", "influx.conf", port=port)

    def test_nats(self):
        port, monitor, profiler = free_port(), free_port(), free_port()
        endpoint = self.start("nats-server", "-a", "127.0.0.1", "-p", port, "-m", monitor,
                              "--profile", profiler, port=profiler)
        self.expect_readable(self.scan(endpoint))
        between = Relay(monitor)
        self.addCleanup(between.close)
        self.expect(self.scan(between.endpoint), "clear", "none", None, None)
        # and its own protocol, which speaks first
        self.expect(self.scan(f"127.0.0.1:{port}"), "clear", "none", None, None)

    def test_rclone(self):
        port = free_port()
        self.check("rclone", "rcd", "--rc-no-auth", f"--rc-addr=127.0.0.1:{port}", port=port)

    def test_victoria_metrics(self):
        port = free_port()
        row = self.check("victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}",
                         f"-storageDataPath={self.folder}/data", port=port)
        self.assertEqual(row["scheme"], "http")

    def test_mtail(self):
        port = free_port()
        (self.folder / "progs").mkdir()
        (self.folder / "x.log").write_text("")
        self.check("mtail", "--address", "127.0.0.1", "--port", port, "--progs",
                   self.folder / "progs", "--logs", self.folder / "x.log", port=port)


class GoPrograms(DetectionTest):
    """tests/integration/goservers in its modes, stripped and trimmed."""

    @classmethod
    def setUpClass(cls):
        if not gobuild.is_there():
            raise unittest.SkipTest("there is no Go toolchain to build the servers with")
        cls.program = gobuild.build(SOURCES, pathlib.Path(lab.BUILD_DIR, "goservers", "server"))
        cls.series = gobuild.series(cls.program.parent)

    def start(self, mode, *arguments):
        process = lab.Process([self.program, "-mode", mode, "-dbpass", "hunter2", *arguments])
        self.addCleanup(lambda: Record.asked.extend(
            tuple(line.split(" ", 2)[1:]) for line in process.lines if line.startswith("asked ")))
        self.addCleanup(process.end)
        found = process.wait_line(r"^(listening (\d+)|unsupported)$", 30)
        if found[1] == "unsupported":
            self.skipTest("this Go is too old for it")
        self.process = process
        return int(found[2])

    def asked(self):
        """What was asked until now."""
        marks = self.process.lines.count("mark")
        self.process.signal(signal.SIGUSR1)
        lab.wait_until(lambda: self.process.lines.count("mark") > marks, 20, "a mark")
        return [line.split(" ")[2] for line in self.process.lines if line.startswith("asked ")]

    def probe(self, mode, prefix="", *arguments):
        port = self.start(mode)
        target = f"http://127.0.0.1:{port}{prefix}" if prefix else f"127.0.0.1:{port}"
        return self.scan(target, *arguments)

    def test_standard(self):
        row = self.probe("std")
        self.expect_readable(row)
        self.assertEqual(len(self.asked()), 5)
        # stripped and trimmed, and still known
        self.assertTrue(row["go_version"].startswith(self.series), row["go_version"])
        self.assertEqual(row["command"][1:], ["-mode", "std", "-dbpass", "[redacted]"])

    def test_explicit_routes(self):
        self.expect_readable(self.probe("explicit"))

    def test_routers_without_an_index(self):
        for mode in ("gin", "echo"):
            with self.subTest(mode):
                row = self.probe(mode)
                self.expect(row, "likely", "high", None, "go-pprof")
                self.assertIn("goroutine-inferred", row["evidence"])

    def test_raw_index(self):
        """It is the index on every subpath, and nothing else."""
        row = self.probe("raw-index", "/internal/prof/")
        self.expect(row, "likely", "medium", None, "go-pprof")

    def test_index_mounted_at_the_root(self):
        """The index on any path, and no decoy: below /debug/pprof/ it dispatches."""
        row = self.probe("root-index")
        self.expect(row, "likely", "high", "HIGH_RISK", "go-pprof")
        self.assertEqual(row["evidence"], ["index", "unknown-profile", "goroutine-debug2"])

    def test_stripped_prefix(self):
        row = self.probe("strip", "/api/debug/pprof/")
        self.expect_readable(row)
        self.assertEqual(row["path"], "/api/debug/pprof/")

    def test_other_prefixes_are_found(self):
        for mode, path in (("pprof-prefix", "/pprof/"), ("strip", "/api/debug/pprof/"),
                           ("admin-prefix", "/admin/debug/pprof/")):
            with self.subTest(mode):
                row = self.probe(mode)
                self.expect_readable(row)
                self.assertEqual(row["path"], path)

    def test_authentication(self):
        for mode, verdict, severity, kind in (("auth-all", "unknown", "none", None),
                                              ("auth-debug", "protected", "info", "go-pprof"),
                                              ("forbidden-debug", "protected", "info", "go-pprof")):
            with self.subTest(mode):
                self.expect(self.probe(mode), verdict, severity, None, kind)

    def test_tls(self):
        """Self-signed, and asked in the clear first: Go says that it wants TLS."""
        row = self.probe("tls")
        self.expect_readable(row)
        self.assertEqual(row["scheme"], "https")

    def test_http2_only(self):
        for mode, scheme in (("h2c", "http"), ("h2tls", "https")):
            with self.subTest(mode):
                row = self.probe(mode)
                self.expect_readable(row)
                self.assertEqual(row["scheme"], scheme)
                self.assertIn("http2", row["evidence"])
                self.assertEqual(len(self.asked()), 5)

    def test_nothing_to_see(self):
        row = self.probe("plain")
        self.expect(row, "clear", "none", None, None)
        self.assertEqual(row["relatives"], [])

    def test_expvar(self):
        row = self.probe("expvar")
        self.expect(row, "confirmed", "low", None, "expvar")
        self.assertEqual((row["path"], row["relatives"]), ("/debug/vars", ["expvar"]))
        self.assertIn("hunter2", self.process.argv)
        self.assertNotIn("hunter2", json.dumps(row))
        self.assertEqual(row["command"][1:], ["-mode", "expvar", "-dbpass", "[redacted]"])

    def test_net_trace(self):
        self.expect(self.probe("trace"), "confirmed", "low", None, "x-net-trace")

    def test_relatives_beside_pprof_cost_nothing_unless_asked_for(self):
        self.probe("std")
        self.assertEqual(len(self.asked()), 5)
        row = self.probe("std", "", "--relatives")
        self.expect_readable(row)
        self.assertIn("/debug/vars", self.asked())

    def test_pages_that_mimic(self):
        for mode, evidence in (("own-page", []), ("index-only-title", []),
                               ("mimic-everywhere", ["index", "decoy"])):
            with self.subTest(mode):
                row = self.probe(mode)
                self.expect(row, "clear", "none", None, None)
                self.assertEqual(row["evidence"], evidence)

    @staticmethod
    def get(port, path):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
            text = b""
            while data := client.recv(1 << 20):
                text += data
        return text.split(b"\r\n\r\n", 1)[1]

    def pauses(self, port):
        """How many there were, not for garbage; the longest; how many goroutines there are."""
        count, longest, goroutines = self.get(port, b"/test/pauses").split()
        return int(count), float(longest), int(goroutines)

    def test_a_busy_server_is_not_stopped(self):
        """At 100,000 goroutines: stacks are proved, not read, and the world goes on."""
        port = self.start("busy", "-goroutines", "100000")
        before = self.pauses(port)
        row = self.scan(f"127.0.0.1:{port}")
        after = self.pauses(port)
        # The metric does see what we avoid.
        self.get(port, b"/debug/pprof/goroutine?debug=2")
        dumped = self.pauses(port)
        print(f"stop-the-world pauses, not for garbage, at {after[2]} goroutines: {before[0]} "
              f"before a scan, {after[0]} after it, {dumped[0]} after one dump (up to "
              f"{dumped[1]:.3f} s)", file=sys.stderr)
        self.assertGreater(before[2], 100000)
        self.expect_readable(row)
        self.assertIn("goroutine-refused", row["evidence"])
        self.assertIn("/debug/pprof/goroutine?debug=2&seconds=x", self.asked())
        self.assertEqual(self.asked().count("/debug/pprof/goroutine?debug=2"), 1)  # the dump above
        self.assertEqual(after[0], before[0])
        if dumped[0] == after[0]:
            self.skipTest("this Go's metrics do not show pauses")


INDEX = body_of("node_exporter-1.5")
HTML = "text/html; charset=utf-8"


def site(pages, other=NOT_FOUND):
    """Raw answers by path."""
    return lambda connection, path: connection.sendall(pages.get(path, other))


def go_404(text=b"404 page not found\n", kind="text/plain; charset=utf-8"):
    return answer("404 Not Found", text, kind, "X-Content-Type-Options: nosniff\r\n")


class Traps(DetectionTest):
    """Servers made to mislead: raw bytes, one trap each."""

    def probe(self, handler, *arguments, prefix="", **kwargs):
        self.server = Server(handler, **kwargs)
        self.addCleanup(self.server.close)
        target = f"http://{self.server.endpoint}{prefix}" if prefix else self.server.endpoint
        rows = findings("--all", "--timeout", "1s", *arguments, target)
        self.assertEqual(len(rows), 1)
        return rows[0]

    def expect_clear(self, row, kind=None):
        self.expect(row, "clear", "none", None, kind)

    def test_recordings(self):
        """Every recorded server, over the wire."""
        verdicts = {"go1.19-std": "confirmed", "go1.26-std": "confirmed",
                    "node_exporter-1.5": "confirmed", "prometheus-2.42": "confirmed",
                    "pushgateway-1.5": "confirmed", "nats-2.9-prof": "confirmed",
                    "etcd-3.4-pprof": "confirmed", "v8101-index-only": "confirmed",
                    "v8104-explicit": "confirmed", "v8125-forced-gzip": "confirmed",
                    "consul-1.8-server": "protected", "v8109-auth-debug": "protected",
                    "v8108-auth-all": "unknown"}
        for name in sorted(path.name for path in ZOO.iterdir() if path.is_dir()):
            if name in ("v8115-tarpit-body", "v8119-http-to-tls"):
                continue  # what they did, a recording cannot do
            with self.subTest(name):
                row = self.probe(recorded(name))
                pprof = row["kind"] == "go-pprof"
                if name in verdicts:
                    self.assertEqual((row["verdict"], pprof),
                                     (verdicts[name], verdicts[name] != "unknown"))
                else:
                    self.assertFalse(pprof, row)
                    self.assertIn(row["severity"], ("none", "low"))

    def test_single_page_application(self):
        self.expect_clear(self.probe(say(answer(body=b"<html><title>App</title>", kind=HTML))))
        self.assertEqual(len(self.server.requests), 1)

    def test_path_reflected(self):
        for extra in ("", "X-Content-Type-Options: nosniff\r\n"):
            for arguments in ((), ("--relatives",)):
                with self.subTest((extra, arguments)):
                    self.expect_clear(self.probe(lambda connection, path: connection.sendall(answer(
                        body=f"<html><head><title>{path}</title></head>".encode(), kind=HTML,
                        extra=extra)), *arguments))

    def test_documentation(self):
        body = INDEX.replace(b'href="goroutine', b'href="http://localhost:6060/debug/pprof/goroutine')
        self.expect_clear(self.probe(site({"/debug/pprof/": answer(body=body, kind=HTML)})))

    def test_documentation_that_quotes_the_link(self):
        """Neither of the two alone is the index."""
        for body in (b"<title>pprof explained</title>" + INDEX[-400:],
                     b"x" * 600 + INDEX):
            with self.subTest(body[:20]):
                self.expect_clear(self.probe(site({"/debug/pprof/": answer(body=body, kind=HTML)})))

    def test_often_quoted_title(self):
        page = answer(body=b"<html><title>Profile</title>", kind=HTML)
        self.expect_clear(self.probe(site({"/debug/pprof/": page})))

    def test_login(self):
        self.expect_clear(self.probe(site({}, answer(
            "302 Found", extra="Location: /login?next=/debug/pprof/\r\n"))))
        self.assertEqual(len(self.server.requests), 1)

    def test_decoy(self):
        """The index, symbol and stacks on every path that there is."""
        for page in (answer(body=INDEX, kind=HTML),
                     answer(body=b"num_symbols: 1\n"),
                     answer(body=b"goroutine 1 [running]:\nmain.main()\n")):
            with self.subTest(page[:80]):
                self.expect_clear(self.probe(say(page)))

    def test_decoy_that_knows_symbol(self):
        self.expect_clear(self.probe(site({"/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")},
                                          answer(body=INDEX, kind=HTML))))

    def test_index_alone(self):
        row = self.probe(site({"/debug/pprof/": answer(body=INDEX, kind=HTML)}))
        self.expect(row, "likely", "medium", None, "go-pprof")

    def test_index_without_slash(self):
        """As nsqlookupd: the slash is redirected away."""
        row = self.probe(site({
            "/debug/pprof/": answer("301 Moved Permanently", extra="Location: /debug/pprof\r\n"),
            "/debug/pprof": answer(body=INDEX, kind=HTML),
            "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}))
        self.assertEqual((row["verdict"], row["path"]), ("confirmed", "/debug/pprof"))

    def test_symbol_alone(self):
        """As TiKV's PD."""
        row = self.probe(site({"/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}, go_404()))
        self.expect(row, "likely", "medium", None, "go-pprof")

    def test_lookalikes(self):
        for kind, body, content in (("kudu", b"num_symbols: 1", "text/plain"),
                                    ("brpc", b"num_symbols: 40123\n", "text/plain"),
                                    ("pprof-rs", b"num_symbols: 1\n", "text/plain"),
                                    ("gperftools", b"num_symbols: 7\n", "text/html; charset=x")):
            with self.subTest(kind):
                page = answer(body=body, kind=content)
                row = self.probe(site({"/pprof/symbol": page}), prefix="/pprof/")
                self.expect_clear(row, kind)
                self.assertEqual(row["evidence"], ["lookalike"])
                row = self.probe(site({"/debug/pprof/symbol": page}, go_404()))
                self.expect_clear(row, kind)

    def test_consul_without_acl(self):
        row = self.probe(site({"/debug/pprof/": answer("401 Unauthorized", b"ACL support disabled")},
                              go_404()))
        self.expect(row, "protected", "info", None, "go-pprof")

    def test_redirects_elsewhere(self):
        with Server(recorded("node_exporter-1.5"), address="127.0.0.2") as other:
            for location in (f"http://{other.endpoint}/debug/pprof/", "https://127.0.0.2/debug/pprof/",
                             "/elsewhere/", "/debug/pprof/", "//127.0.0.2/debug/pprof/"):
                with self.subTest(location):
                    self.expect_clear(self.probe(say(answer(
                        "302 Found", extra=f"Location: {location}\r\n"))))
                    self.assertEqual(len(self.server.requests), 1)
            self.assertEqual(other.connections, 0)

    def test_wrong_host(self):
        """A server that answers by Host refuses us everywhere: that says nothing."""
        self.expect(self.probe(say(answer("403 Forbidden", b"host not allowed"))),
                    "unknown", "none", None, None)

    def test_index_in_gzip_unasked(self):
        row = self.probe(recorded("v8125-forced-gzip"))
        self.assertEqual(row["verdict"], "confirmed")

    def test_truncated_index(self):
        """What arrived counts."""
        row = self.probe(site({"/debug/pprof/": answer(body=INDEX, kind=HTML,
                                                       length=len(INDEX) + 5000),
                               "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}))
        self.assertEqual((row["verdict"], row["kind"]), ("confirmed", "go-pprof"))

    def test_large_counts_are_never_dumped(self):
        for count in (b"1001", b"99999999999999999999", b"-1", b"1,000", b"many"):
            with self.subTest(count):
                body = re.sub(rb"<td>\d+</td><td><a href='goroutine\?debug=1'>",
                              b"<td>" + count + b"</td><td><a href='goroutine?debug=1'>", INDEX)
                self.assertIn(b"<td>" + count + b"</td>", body)
                row = self.probe(site({"/debug/pprof/": answer(body=body, kind=HTML),
                                       "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}))
                self.assertIsNone(row["risk"])
                asked = [head.split(" ")[1] for head in self.server.requests]
                self.assertNotIn("/debug/pprof/goroutine?debug=2", asked)
                self.assertIn("/debug/pprof/goroutine?debug=2&seconds=x", asked)

    def test_old_go_is_not_asked_to_refuse(self):
        """It would not know `seconds`, and dump."""
        body = re.sub(rb"<td>\d+</td><td><a href='goroutine", b"<td>5000</td><td><a href='goroutine",
                      INDEX).replace(b"'", b"")
        row = self.probe(site({"/debug/pprof/": answer(body=body, kind=HTML),
                               "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}))
        self.expect(row, "confirmed", "medium", None, "go-pprof")
        self.assertNotIn("goroutine", "".join(path for _, path in Server.asked))

    def test_a_server_of_many_prefixes_is_asked_within_bounds(self):
        """Go's 404 everywhere: the other prefixes and relatives, each once."""
        self.expect_clear(self.probe(say(go_404())))
        paths = [path for _, path in Server.asked]
        self.assertEqual(len(paths), len(set(paths)))
        self.assertLessEqual(len(paths), 16)

    def test_hidden_links_are_not_followed(self):
        body = INDEX.replace(b"heap?debug=1", b"profile?seconds=30")
        row = self.probe(site({"/debug/pprof/": answer(body=body, kind=HTML),
                               "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")}))
        self.assertEqual(row["verdict"], "confirmed")

    def test_relatives(self):
        variables = answer(body=b'{\n"cmdline": ["/bin/a","-token","hunter2"],\n"memstats": {}\n}\n',
                           kind="application/json; charset=utf-8")
        row = self.probe(site({"/debug/vars": variables}, go_404()))
        self.expect(row, "confirmed", "low", None, "expvar")
        self.assertEqual(row["command"], ["/bin/a", "-token", "[redacted]"])
        # everywhere the same: no expvar
        self.expect_clear(self.probe(
            lambda connection, path: connection.sendall(
                variables if path != "/debug/pprof/" and "symbol" not in path else go_404())))
        # no Go in sight: only on request
        other = answer("404 Not Found", b"nothing", "text/html")
        self.expect_clear(self.probe(site({"/debug/vars": variables}, other)))
        self.assertEqual(len(self.server.requests), 1)
        row = self.probe(site({"/debug/vars": variables}, other), "--relatives")
        self.expect(row, "confirmed", "low", None, "expvar")

    def test_json_that_is_no_expvar(self):
        for body in (b'{"cmdline": "x"}', b'{"memstats": {}}', b"[]"):
            with self.subTest(body):
                self.expect_clear(self.probe(site(
                    {"/debug/vars": answer(body=body, kind="application/json")}, go_404())))

    def test_http2_frames(self):
        """The first frame of HTTP/2 alone: asked again once, and no more."""
        settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"
        goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01"
        for frames in (settings, settings + goaway, goaway):
            with self.subTest(frames):
                row = self.probe(say(frames))
                self.assertEqual((row["verdict"], row["kind"]), ("error", None))
                self.assertLessEqual(self.server.connections, 3)

    def test_banners(self):
        """What speaks, and no HTTP, is asked once."""
        for banner in (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"220 mail ESMTP\r\n", b"-ERR unknown\r\n",
                       b"<title>/debug/pprof/</title>" + INDEX, b"\0\0\0\0"):
            with self.subTest(banner[:16]):
                started = time.monotonic()
                self.expect_clear(self.probe(say(banner)))
                self.assertEqual(self.server.connections, 1)
                self.assertLess(time.monotonic() - started, 10)

    def test_banner_that_stays(self):
        """A banner decides at once, though the connection stays open."""
        def handler(connection, path):
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            connection.recv(1)
        self.expect_clear(self.probe(handler))

    def test_tls_that_fails(self):
        row = self.probe(say(b"\x15\x03\x01\x00\x02\x02\x28"))
        self.assertEqual((row["verdict"], row["kind"]), ("error", None))
        self.assertIn("tls-required", row["evidence"])

    def test_self_signed_behind_plain_answers(self):
        row = self.probe(recorded("node_exporter-1.5"), tls=certificate(str(self.folder)))
        self.assertEqual((row["verdict"], row["scheme"]), ("confirmed", "https"))

    def test_kept_connections_that_are_reset(self):
        """One that ends just as we ask again says nothing."""
        pages = site({"/debug/pprof/": answer(body=INDEX, kind=HTML),
                      "/debug/pprof/symbol": answer(body=b"num_symbols: 1\n")})
        seen = set()

        def handler(connection, path):
            if connection in seen:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      struct.pack("ii", 1, 0))
                raise OSError
            seen.add(connection)
            pages(connection, path)
        row = self.probe(handler, keep_alive=True)
        self.expect(row, "confirmed", "medium", None, "go-pprof")

    def test_slow_symbol_is_not_clear(self):
        """Else whoever slows it down would pass."""
        def handler(connection, path):
            if path.endswith("symbol"):
                connection.recv(1)
            else:
                connection.sendall(go_404())
        row = self.probe(handler)
        self.assertEqual(row["verdict"], "error")


if __name__ == "__main__":
    unittest.main(verbosity=2)
