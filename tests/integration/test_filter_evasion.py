#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways around the filter process, by what is said to it: each is first shown to work, if it does,
with the server directly, and then to be refused. By how it is said: test_filter_segments.py.
"""
import contextlib
import os
import pathlib
import re
import socket
import unittest

import gobuild
import lab
import scripted
from filter_process import FilterProcess

FILTERED, DIRECT = 9100, 9200
# Of the command line, of the index, of a profile.
PROFILE = re.compile(rb"web\.listen-address|Types of profiles|goroutine profile:")
REFUSED, DENIED, CLOSED = 400, 403, 0
HOST = b"Host: a\r\n"


def get(target, *fields, method=b"GET", version=b"HTTP/1.1", host=HOST):
    return b"%s %s %s\r\n%s%s\r\n" % (method, target, version, host,
                                      b"".join(field + b"\r\n" for field in fields))


SECRET = b"/debug/pprof/cmdline"
PLAIN = get(b"/")
CHUNKED = b"Transfer-Encoding: chunked"
HIDDEN = get(SECRET)

# What is said: whether the server serves a profile for it, and what the filter answers.
PATHS = {
    SECRET: (True, DENIED),
    b"/debug/pprof/": (True, DENIED),
    b"/debug/pprof": (False, DENIED),
    b"/debug/pprof/goroutine?debug=1": (True, DENIED),
    b"/debug/pprof/cmdline?": (True, DENIED),
    b"/debug/pprof/?a=/metrics": (True, DENIED),
    b"/debug/%70prof/cmdline": (True, DENIED),
    b"/%64%65%62%75%67/%70%70%72%6f%66/%63mdline": (True, DENIED),
    b"/debug%2fpprof%2fcmdline": (True, REFUSED),
    b"/debug%2Fpprof/cmdline": (True, REFUSED),
    b"/%2fdebug/pprof/cmdline": (False, REFUSED),
    b"/debug/%2570prof/cmdline": (False, REFUSED),
    b"/debug/%252570prof/cmdline": (False, REFUSED),
    b"/debug/%%37%30prof/cmdline": (False, REFUSED),
    b"/debug/%u0070prof/cmdline": (False, REFUSED),
    b"/debug/%7prof/cmdline": (False, REFUSED),
    b"/debug/pprof%00/cmdline": (False, REFUSED),
    b"/debug/pprof/cmdline%00": (False, REFUSED),
    b"/debug/pprof/cmdline%0a": (False, REFUSED),
    b"/debug%5cpprof%5ccmdline": (False, REFUSED),
    b"/debug\\pprof\\cmdline": (False, REFUSED),
    b"/debug/./pprof/cmdline": (False, REFUSED),
    b"/metrics/../debug/pprof/cmdline": (False, REFUSED),
    b"/metrics/%2e%2e/debug/pprof/cmdline": (False, REFUSED),
    b"/metrics/..;/debug/pprof/cmdline": (False, REFUSED),
    b"//debug/pprof/cmdline": (False, REFUSED),
    b"/debug//pprof/cmdline": (False, REFUSED),
    b"/debug/pprof//cmdline": (False, REFUSED),
    b"/debug;a=b/pprof;c/cmdline": (False, DENIED),
    b"/Debug/PPROF/cmdline": (False, DENIED),
    b"/app/debug/pprof/cmdline": (False, DENIED),
    b"/debug/pprof/cmdline#a": (False, REFUSED),
    b"/metrics#/debug/pprof/cmdline": (False, REFUSED),
    b"/debug/vars": (True, DENIED),
    b"/debug/var%C5%BF": (False, DENIED),
    b"/debug/%c0%afpprof/cmdline": (False, 200),
    b"http://a/debug/pprof/cmdline": (True, REFUSED),
    b"HTTP://a:80/debug/pprof/cmdline": (True, REFUSED),
    b"http:///debug/pprof/cmdline": (True, REFUSED),
    b"x://a/debug/pprof/cmdline": (True, REFUSED),
    b"//a/debug/pprof/cmdline": (False, REFUSED),
    b"debug/pprof/cmdline": (False, REFUSED),
    b"*": (False, REFUSED),
    b"a:80": (False, REFUSED),
    b"/debug/pprof/ cmdline": (False, REFUSED),
    b"/debug/pprof/cmdline\t": (False, REFUSED),
    b"/debug/pprof/cmdl\xefne": (False, REFUSED),
}

HEADS = {
    "another method": (get(SECRET, method=b"POST"), True, DENIED),
    "no method that is known": (get(SECRET, method=b"FOO"), True, DENIED),
    "lower case": (get(SECRET, method=b"get"), True, DENIED),
    "TRACE": (get(SECRET, method=b"TRACE"), True, DENIED),
    "OPTIONS": (get(SECRET, method=b"OPTIONS"), True, DENIED),
    "CONNECT to a path": (get(SECRET, method=b"CONNECT"), True, REFUSED),
    "CONNECT": (get(b"a:80", method=b"CONNECT"), False, REFUSED),
    "HTTP/1.0": (get(SECRET, version=b"HTTP/1.0", host=b""), True, DENIED),
    "HTTP/0.9": (b"GET " + SECRET + b"\r\n", False, CLOSED),
    "HTTP/0.9, written out": (get(SECRET, version=b"HTTP/0.9"), False, REFUSED),
    "HTTP/1.2": (get(SECRET, version=b"HTTP/1.2"), True, REFUSED),
    "HTTP/2.0": (get(SECRET, version=b"HTTP/2.0"), False, REFUSED),
    "http/1.1": (get(SECRET, version=b"http/1.1"), False, REFUSED),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, False, CLOSED),
    "TLS": (b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + bytes(41), False, CLOSED),
    "TLS, and then not": (b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\r\n" + HIDDEN, False, CLOSED),
    "an empty line first": (b"\r\n" + HIDDEN, False, CLOSED),
    "a blank first": (b" " + HIDDEN, False, CLOSED),
    "NUL first": (b"\0" + HIDDEN, False, CLOSED),
    "a mark of byte order": (b"\xef\xbb\xbf" + HIDDEN, False, CLOSED),
    "two spaces": (HIDDEN.replace(b" /", b"  /"), False, REFUSED),
    "a tab for a space": (HIDDEN.replace(b" /", b"\t/"), False, REFUSED),
    "LF alone": (HIDDEN.replace(b"\r\n", b"\n"), True, REFUSED),
    "LF alone at the end": (HIDDEN[:-2] + b"\n", True, REFUSED),
    "CR alone": (HIDDEN.replace(b"\r\n", b"\r"), False, REFUSED),
    "CR CR LF": (HIDDEN.replace(b"\r\n", b"\r\r\n"), False, REFUSED),
    "NUL in a field": (get(SECRET, b"A: \0"), False, REFUSED),
    "a folded line": (get(SECRET, b"A: b\r\n c"), True, REFUSED),
    "a folded first line": (b"GET " + SECRET + b" HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n", False, REFUSED),
    "a space before the colon": (get(SECRET, b"A : b"), False, REFUSED),
    "no colon": (get(SECRET, b"A"), False, REFUSED),
    "no name": (get(SECRET, b": a"), None, REFUSED),
    "no Host": (get(SECRET, host=b""), False, REFUSED),
    "two Hosts": (get(SECRET, b"Host: b"), False, REFUSED),
    "an odd Host": (get(SECRET, host=b"Host: a/metrics?\r\n"), False, REFUSED),
    "an upgrade to h2c": (get(SECRET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                              b"HTTP2-Settings: AAMAAABkAAQAAP__"), True, DENIED),
    "an upgrade to WebSocket": (get(SECRET, b"Connection: Upgrade", b"Upgrade: websocket",
                                    b"Sec-WebSocket-Version: 13",
                                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), True, DENIED),
    "another expectation": (get(SECRET, b"Expect: 200-ok"), False, REFUSED),
}
for _name in (b"X-Original-URL", b"X-Rewrite-URL", b"X_Original_URL", b"X-Original-URI",
              b"X-Forwarded-Uri", b"X-HTTP-Method-Override"):
    HEADS[f"{_name.decode()} of a profile"] = get(b"/", _name + b": " + SECRET), False, 200
    HEADS[f"{_name.decode()} for a profile"] = get(SECRET, _name + b": /metrics"), True, DENIED


def body(fields, content, method=b"POST", path=b"/"):
    return get(path, *fields, method=method) + content


# One request that may be two, or two of which one may be hidden: with the answers that are to come.
SMUGGLED = {
    "pipelined": (PLAIN + HIDDEN, True, (200, DENIED)),
    "pipelined, first": (HIDDEN + PLAIN, True, (DENIED, 200)),
    "a body by length": (body([b"Content-Length: %d" % len(HIDDEN)], HIDDEN), False, (200,)),
    "a body by chunks": (body([CHUNKED], b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)), False,
                         (200,)),
    "behind a body": (body([b"Content-Length: 1"], b"a" + HIDDEN), True, (200, DENIED)),
    "behind no length": (body([], HIDDEN), True, (200, DENIED)),
    "behind the last chunk": (body([CHUNKED], b"0\r\n\r\n" + HIDDEN), True, (200, DENIED)),
    "CL.TE": (body([b"Content-Length: 5", CHUNKED], b"0\r\n\r\n" + HIDDEN), True, (REFUSED,)),
    "TE.CL": (body([CHUNKED, b"Content-Length: 4"], b"0\r\n\r\n" + HIDDEN), True, (REFUSED,)),
    "two lengths": (body([b"Content-Length: 0", b"Content-Length: 9"], HIDDEN), False, (REFUSED,)),
    "the same twice": (body([b"Content-Length: 0", b"Content-Length: 0"], HIDDEN), True,
                       (REFUSED,)),
    "a list of lengths": (body([b"Content-Length: 0, 0"], HIDDEN), False, (REFUSED,)),
    "a chunk's extension": (body([CHUNKED], b"1;a=b\r\na\r\n0\r\n\r\n" + HIDDEN), True, (REFUSED,)),
    "a trailer": (body([CHUNKED], b"0\r\nA: b\r\n\r\n" + HIDDEN), True, (REFUSED,)),
    "a trailer that frames": (body([CHUNKED], b"0\r\nContent-Length: 9\r\n\r\n" + HIDDEN), True,
                              (REFUSED,)),
    "chunks in LF": (body([CHUNKED], b"0\n\n" + HIDDEN), True, (REFUSED,)),
    "a field that takes the length away": (
        body([b"Content-Length: 1", b"Connection: Content-Length"], b"a" + HIDDEN), True,
        (200, DENIED)),
    "a field that takes the host away": (
        get(b"/", b"Connection: Host") + HIDDEN, True, (200, DENIED)),
    "an upgrade first": (get(b"/", b"Connection: Upgrade", b"Upgrade: h2c") + HIDDEN, True,
                         (200, DENIED)),
    "a CR LF behind a body": (body([b"Content-Length: 1"], b"a\r\n" + HIDDEN), True, (200,)),
}
for _length in (b"+0", b"-0", b"0x0", b"", b" ", b"0 0", b"1e0", b"18446744073709551616", b"\v0",
                b"00000000000000000000"):
    SMUGGLED[f"Content-Length: {_length!r}"] = (
        body([b"Content-Length: " + _length], HIDDEN), None, (REFUSED,))
for _coding in (b"xchunked", b"identity", b"gzip, chunked", b"chunked, identity", b"chunked;a",
                b'"chunked"', b"\vchunked", b"chunked\0", b"", b"chun\r\n ked", b"chunked,chunked"):
    SMUGGLED[f"Transfer-Encoding: {_coding!r}"] = (
        body([b"Transfer-Encoding: " + _coding], b"0\r\n\r\n" + HIDDEN), None, (REFUSED,))
SMUGGLED["Transfer-Encoding twice"] = (
    body([CHUNKED, b"Transfer-Encoding: identity"], b"0\r\n\r\n" + HIDDEN), False, (REFUSED,))
SMUGGLED["Transfer-Encoding : chunked"] = (
    body([b"Transfer-Encoding : chunked"], b"0\r\n\r\n" + HIDDEN), False, (REFUSED,))
SMUGGLED["Transfer_Encoding: chunked"] = (
    body([b"Transfer_Encoding: chunked"], HIDDEN), True, (200, DENIED))
for _size in (b"+1", b"-1", b"0x1", b" 1", b"1 ", b"", b"g", b"1\r", b"10000000000000001", b"0" * 20):
    SMUGGLED[f"a chunk of {_size!r}"] = (
        body([CHUNKED], _size + b"\r\na\r\n0\r\n\r\n" + HIDDEN), None, (REFUSED,))


@unittest.skipUnless(os.geteuid() == 0, "it makes network namespaces")
class Case(unittest.TestCase):
    """node_exporter behind the filter, and once more with nothing before it."""

    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.place = stack.enter_context(lab.Lab())
        for port in (FILTERED, DIRECT):
            cls.place.serve_node_exporter(port, "::")
        cls.filter(stack)

    @classmethod
    def filter(cls, stack):
        stack.enter_context(FilterProcess(cls.place)).catch(FILTERED)

    def say(self, port, request):
        """All that comes back until the end, which a reset may be."""
        with scripted.Stream(self.place.connect(
                self.place.TARGET, port, source=self.place.STRANGER, timeout=20)) as client:
            with contextlib.suppress(OSError):
                client.send(request)
                client.sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                return client.read_rest()
            return client.take_rest()

    def statuses(self, answers):
        """Of answers that have a length, or the last no end; to no HEAD."""
        found = []
        while answers:
            self.assertRegex(answers, rb"^HTTP/1\.1 \d{3} ")
            found.append(int(answers[9:12]))
            head, _, rest = answers.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)\r?$", head)
            if re.search(rb"(?im)^transfer-encoding: *chunked\r?$", head):
                while size := int(rest.partition(b"\r\n")[0], 16):
                    rest = rest.partition(b"\r\n")[2][size + 2:]
                answers = rest.partition(b"\r\n\r\n")[2]
            else:
                answers = rest[int(length[1]):] if length else b""
        return tuple(found)

    def check(self, request, is_served, expected):
        """`is_served`: None where servers differ."""
        if is_served is not None:
            self.assertEqual(bool(PROFILE.search(self.say(DIRECT, request))), is_served, "directly")
        answers = self.say(FILTERED, request)
        self.assertIsNone(PROFILE.search(answers), answers[:2000])
        self.assertEqual(self.statuses(answers), expected)

    def tearDown(self):
        self.assertEqual(self.place.get(self.place.TARGET, FILTERED, "/metrics",
                                        source=self.place.STRANGER)[0], 200)


class Requests(Case):
    def test_paths(self):
        for target, (is_served, status) in PATHS.items():
            with self.subTest(target):
                self.check(get(target, b"Connection: close"), is_served, (status,))

    def test_heads(self):
        for name, (request, is_served, status) in HEADS.items():
            with self.subTest(name):
                self.check(request, is_served, (status,) if status else ())

    def test_smuggling(self):
        for name, (request, is_served, statuses) in SMUGGLED.items():
            with self.subTest(name):
                self.check(request, is_served, statuses)

    def test_a_thousand_at_once(self):
        """All of them have said half of it before anyone says the rest."""
        asked = [HIDDEN if n % 2 else PLAIN for n in range(1000)]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(scripted.Stream(
                self.place.connect(self.place.TARGET, FILTERED, timeout=30))) for _ in asked]
            for start, end in ((0, 12), (12, None)):
                for client, request in zip(clients, asked):
                    client.send(request[start:end])
            for client, request in zip(clients, asked):
                head, content = client.read_message()
                self.assertEqual(head[9:12], b"403" if request == HIDDEN else b"200")
                self.assertIsNone(PROFILE.search(content))

    def test_ports_towards_the_server_are_not_used_up(self):
        """Who closes first keeps a port for a minute: many clients must not cost all of them."""
        self.place.run("target", "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40149")
        for _ in range(300):
            with scripted.Stream(self.place.connect(self.place.TARGET, FILTERED)) as client:
                client.send(PLAIN)
                self.assertEqual(client.read_message()[0][9:12], b"200")


@unittest.skipUnless(os.geteuid() == 0, "it makes network namespaces")
class Answers(unittest.TestCase):
    """A server that is not to be trusted confuses nobody but who asked it for that."""

    ODD = {
        b"/twice": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"
                   b"Content-Length: 7\r\n\r\npoison!",
        b"/short": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\npoison!",
        b"/long": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npoison!",
        b"/lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 7\r\n\r\npoison!",
        b"/both": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"7\r\npoison!\r\n0\r\n\r\n",
        b"/coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\npoison!",
        b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\npoison!\r\n0\r\n\r\n",
        b"/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\npoison!",
        b"/interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + b"HTTP/1.1 200 OK\r\n\r\npoison!",
        b"/endless": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200000,
        b"/none": b"poison!\r\n\r\n",
    }

    def serve(self, stream):
        while True:
            target = stream.read_head().split(b" ")[1]
            stream.send(self.ODD.get(target) or b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                        % (len(target), target))
            if target == b"/long":
                return

    def test_it_is_kept_from_others(self):
        with lab.Lab() as place, scripted.Server(place, FILTERED, serve=self.serve), \
                FilterProcess(place) as filtering:
            filtering.catch(FILTERED)

            def connect():
                return scripted.Stream(place.connect(place.TARGET, FILTERED, timeout=20))
            with connect() as other:
                for path in self.ODD:
                    with self.subTest(path), connect() as client:
                        with contextlib.suppress(BrokenPipeError):
                            client.send(get(path) + get(b"/own"))
                        with contextlib.suppress(OSError):  # who is reset is not connected
                            client.sock.shutdown(socket.SHUT_WR)
                        with contextlib.suppress(ConnectionResetError):
                            client.read_rest()
                        other.send(get(b"/other"))
                        self.assertEqual(other.read_message()[1], b"/other")


@unittest.skipUnless(os.geteuid() == 0, "it makes network namespaces")
class Differential(unittest.TestCase):
    """The client of tests/differential: whole streams in pieces, with pauses and half-closed."""

    SECONDS = os.environ.get("PW_DIFFERENTIAL_SECONDS", "10")

    def test_the_process_does_what_its_parts_do(self):
        source = pathlib.Path(lab.SOURCE_DIR, "tests", "differential")
        if not gobuild.is_there():
            self.skipTest("there is no Go toolchain to build the other reader with")
        program = gobuild.build(source, pathlib.Path(lab.BUILD_DIR, "differential", "differential"))
        driver = os.environ.get("PW_FILTER_DRIVER",
                                os.path.join(lab.BUILD_DIR, "tests/differential/filter_driver"))
        with lab.Lab() as place:
            address = f"{place.TARGET}:{FILTERED}"
            server = place.process("target", program, "-serve", address)
            server.wait_line("^listening$")
            with FilterProcess(place) as filtering:
                filtering.catch(FILTERED)
                client = place.process(
                    "client", program, "-driver", driver, "-signatures",
                    os.path.join(lab.SOURCE_DIR, "conf/signatures.yaml"), "-network", address,
                    "-for", f"{self.SECONDS}s")
                self.assertEqual(client.wait(int(self.SECONDS) + 120), 0, client.output)
                print(client.output)
                filtering.wait_stats(lambda stats: stats.open == 0)
                filtering.parent.stop()
                self.assertEqual(filtering.end(), (0, ""))
            self.assertEqual([line for line in server.lines if line.startswith("profile")], [])


if __name__ == "__main__":
    unittest.main()
