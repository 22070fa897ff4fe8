#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter process alone, with real clients and servers that tproxy brings together."""
import contextlib
import errno
import os
import signal
import socket
import struct
import threading
import time
import unittest

import lab
import scripted
from filter_process import (ASK_SOCKET, CLOSE, LISTENER, LISTENER_BODY, PARENT_PEER, SOCKET,
                            USER, FilterProcess, transparent_socket)

PORT = 9100
GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@unittest.skipUnless(os.geteuid() == 0, "it makes network namespaces")
class Case(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.place = stack.enter_context(lab.Lab())
        self.stack = stack

    def start(self, serve=None, address=None, **kwargs):
        """The filter before a scripted server."""
        self.server = self.stack.enter_context(
            scripted.Server(self.place, PORT, address, serve))
        self.filtering = self.stack.enter_context(FilterProcess(self.place, **kwargs))
        self.filtering.catch(PORT)
        return self.filtering

    def client(self, address=None, **kwargs):
        return self.stack.enter_context(scripted.Stream(self.place.connect(
            address or self.place.TARGET, PORT, timeout=20, **kwargs)))

    def status_of(self, head):
        self.assertRegex(head, rb"^HTTP/1\.1 \d{3} ")
        return int(head[9:12])

    def ask(self, client, request):
        client.send(request)
        head, body = client.read_message()
        return self.status_of(head), body

    def assert_refused(self, connect, *arguments, **kwargs):
        """Accepted by the kernel maybe, but by nobody behind it."""
        try:
            with connect(*arguments, **kwargs) as client:
                self.assertEqual(client.recv(1), b"")
        except (ConnectionResetError, ConnectionRefusedError):
            pass

    def assert_over(self, client):
        """Nothing more comes, not even a byte."""
        try:
            self.assertEqual(client.read_rest(), b"")
        except ConnectionResetError:
            pass


class Requests(Case):
    def test_what_passes_and_what_does_not(self):
        self.start(scripted.echo)
        for path, status in (("/metrics", 200), ("/debug/pprof/", 403), ("/a", 200),
                             ("/debug/pprof/heap?debug=1", 403), ("/%64ebug/vars", 403),
                             ("//metrics", 400)):
            with self.subTest(path):
                self.assertEqual(self.place.get(self.place.TARGET, PORT, path)[0], status)
        denied = self.filtering.wait_denied()
        self.assertEqual((denied.reason, denied.endpoint, denied.count, denied.rule, denied.path),
                         ("path", f"{self.place.TARGET}:{PORT}", 1, "exporters", "/debug/pprof/"))
        self.filtering.wait_stats(lambda s: s.passed == 2 and s.denied["path"] == 3
                                  and s.denied["syntax"] == 1 and s.open == 0
                                  and s.latency[-1] == 2)
        self.filtering.parent.stop()
        self.assertEqual(self.filtering.end(), (0, ""))

    def test_a_connection_is_kept_on_both_sides(self):
        self.start(scripted.echo)
        client = self.client()
        for i in range(5):
            self.assertEqual(self.ask(client, GET), (200, GET))
            self.assertEqual(self.ask(client, GET.replace(b"metrics", b"debug/pprof/"))[0], 403)
        self.assertEqual(self.server.accepted, 1)

    def test_the_server_is_not_asked_for_what_is_denied(self):
        self.start(scripted.echo)
        self.assertEqual(self.ask(self.client(), b"GET /debug/vars HTTP/1.1\r\nHost: a\r\n\r\n")[0],
                         403)
        self.assertEqual(self.ask(self.client(), b"GET /x HTTP/2\r\n\r\n")[0], 400)
        self.filtering.wait_stats(lambda s: s.denied["syntax"] == 1)
        self.assertEqual(self.server.accepted, 0)

    def test_pipelined_requests_are_answered_in_their_order(self):
        self.start(scripted.echo)
        client = self.client()
        paths = [b"/debug/pprof/" if i % 7 == 3 else b"/%d" % i for i in range(200)]
        client.send(b"".join(GET.replace(b"/metrics", path) for path in paths))
        for path in paths:
            head, body = client.read_message()
            if path.startswith(b"/debug"):
                self.assertEqual(self.status_of(head), 403)
            else:
                self.assertEqual(body.split()[1], path)
        self.assertEqual(self.server.accepted, 1)

    def test_byte_by_byte(self):
        self.start(scripted.echo)
        client = self.client()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   b"3\r\nabc\r\n0\r\n\r\n")
        for i in range(len(request)):
            client.send(request[i:i + 1])
        self.assertEqual(client.read_message()[1][-3:], b"abc")

    def test_bodies(self):
        self.start(scripted.echo)
        client = self.client()
        content = os.urandom(300000)
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content),
                    content)
        self.assertTrue(client.read_message()[1].endswith(content))
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for size in (1, 70000, 1, 1, 200000):
            client.send(b"%x\r\n" % size, content[:size], b"\r\n")
        client.send(b"0\r\n\r\n")
        self.assertTrue(client.read_message()[1].endswith(content[:1] + content[:70000]
                                                          + 2 * content[:1] + content[:200000]))
        self.assertEqual(self.ask(client, GET), (200, GET))

    def test_a_body_that_is_no_body(self):
        self.start()
        client = self.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"3\r\nabc\r\nGET /debug/pprof/ HTTP/1.1\r\n\r\n")
        with self.server.accept() as server:
            try:
                self.assertNotIn(b"debug", server.read_head() + server.read_rest())
            except ConnectionResetError:
                pass  # it is not to take the half for the whole
        self.assertEqual(self.status_of(client.read_message()[0]), 400)
        self.assert_over(client)

    def test_a_denied_body_is_not_the_next_request(self):
        self.start(scripted.echo)
        client = self.client()
        client.send(b"POST /debug/vars HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET),
                    GET)
        head, _ = client.read_message()
        self.assertEqual(self.status_of(head), 403)
        self.assertIn(b"\r\nConnection: close\r\n", head)
        self.assert_over(client)
        self.assertEqual(self.server.accepted, 0)

    def test_continue(self):
        self.start()
        client = self.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue"
                    b"\r\n\r\n")
        with self.server.accept() as server:
            self.assertIn(b"Expect: 100-continue\r\n", server.read_head())
            server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(client.read_head(), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.send(b"abc")
            self.assertEqual(server.read(3), b"abc")
            server.send(OK)
            self.assertEqual(client.read_message()[1], b"ok")

    def test_a_client_that_sends_no_more_still_reads(self):
        self.start()
        client = self.client()
        client.send(GET, GET)
        client.sock.shutdown(socket.SHUT_WR)
        with self.server.accept() as server:
            for _ in range(2):
                server.read_head()
                server.send(OK)
                self.assertEqual(client.read_message()[1], b"ok")
            self.assert_over(client)
            self.assert_over(server)

    def test_a_client_that_resets_is_not_waited_for(self):
        self.start()
        client = self.client()
        client.send(GET)
        with self.server.accept() as server:
            server.read_head()
            client.reset()
            with self.assertRaises(ConnectionResetError):
                server.read(1)


class Answers(Case):
    def exchange(self, answer, request=GET, then_close=False):
        """What the client gets for what the server says, and whether both could go on."""
        client = self.client()
        client.send(request)
        with self.server.accept() as server:
            server.read_head()
            server.send(answer)
            if then_close:
                server.close()
            self.last_client, self.last_server = client, server
            yield client, server

    def check(self, answer, expected, request=GET, kept=True, then_close=False):
        for client, server in self.exchange(answer, request, then_close):
            self.assertEqual(client.read(len(expected)), expected)
            if kept:
                client.send(GET)
                server.read_head()
                server.send(OK)
                self.assertEqual(client.read_message()[1], b"ok")
            else:
                self.assert_over(client)

    def test_framing(self):
        self.start()
        chunked = b"Transfer-Encoding: chunked\r\n"
        head = GET.replace(b"GET", b"HEAD")
        self.check(OK, OK)
        self.check(b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n")
        self.check(b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
                   b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n")
        self.check(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head)
        body = b"\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
        self.check(b"HTTP/1.1 200 OK\r\n" + chunked + body, b"HTTP/1.1 200 OK\r\n" + chunked + body)

    def test_until_the_server_closes(self):
        self.start()
        expected = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
        self.check(b"HTTP/1.1 200 OK\r\n\r\nabc", expected, kept=False, then_close=True)
        self.check(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nabc", expected, kept=False,
                   then_close=True)

    def test_what_is_cut_is_seen_to_be(self):
        self.start()
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
                       b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
            for client, server in self.exchange(answer):
                self.assertTrue(client.read(len(answer)).endswith(b"abc\r\n"[:5])
                                or answer.endswith(b"abc"))
                server.close()
                with self.assertRaises(ConnectionResetError):
                    client.read(1)

    def test_who_is_to_close(self):
        self.start()
        closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        self.check(closing, closing, kept=False)
        self.check(OK, closing, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
                   kept=False)

    def test_old_clients(self):
        self.start()
        old = b"GET / HTTP/1.0\r\n\r\n"
        kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        chunked = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: 1\r\n\r\n")
        closed = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
        self.check(chunked, closed, old, kept=False)
        self.check(chunked, closed, kept, kept=False)
        self.check(OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), old, kept=False)
        self.check(OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"),
                   OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), kept)

    def test_interim(self):
        self.start()
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        self.check(hints + hints + OK, hints + hints + OK)
        # Who has not asked for it is not told to go on.
        self.check(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK)
        self.check(hints + OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
                   b"GET / HTTP/1.0\r\n\r\n", kept=False)

    def test_what_is_no_answer(self):
        self.start()
        for answer in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
                       b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                       b"HTTP/1.1 200 OK\r\nContent-Len",
                       b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n",
                       100 * b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            with self.subTest(answer[:40]):
                for client, _ in self.exchange(answer, then_close=True):
                    while (status := self.status_of(client.read_message()[0])) < 200:
                        pass
                    self.assertEqual(status, 502)
                    self.assert_over(client)

    def test_what_comes_unasked_answers_nothing(self):
        """Two answers to one request: the second is not taken for that to the next."""
        self.start()
        client = self.client()
        client.send(GET)
        with self.server.accept() as server:
            server.read_head()
            server.send(OK + OK.replace(b"ok", b"no"))
            self.assertEqual(client.read_message()[1], b"ok")
            client.send(GET)
            with self.server.accept() as another:
                another.read_head()
                another.send(OK)
                self.assertEqual(client.read_message()[1], b"ok")

    def test_an_answer_before_the_body_is_over(self):
        self.start()
        client = self.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 1000 * b"a")
        with self.server.accept() as server:
            server.read_head()
            server.send(OK)
            head, body = client.read_message()
            self.assertIn(b"Connection: close\r\n", head)
            self.assertEqual(body, b"ok")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.send(999000 * b"a")
            self.assert_over(client)

    def test_a_server_that_refuses_a_body_has_answered(self):
        self.start()
        client = self.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        with self.server.accept() as server:
            server.read_head()
            server.send(OK)
            with contextlib.suppress(OSError):  # the filter may be done with it already
                server.sock.shutdown(socket.SHUT_WR)
            server.reset()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.send(b"a" * 1000000)
        self.assertIn(self.status_of(client.read_message()[0]), (200, 502))
        self.assert_over(client)


class Upstream(Case):
    def test_a_server_sees_an_address_of_its_own(self):
        """Not 127.0.0.1, to which it may show more."""
        for address in (self.place.TARGET, self.place.TARGET6):
            with self.subTest(address):
                with scripted.Server(self.place, PORT, address) as server, \
                        FilterProcess(self.place) as filtering:
                    filtering.catch(PORT)
                    client = self.client(address)
                    client.send(GET)
                    with server.accept() as seen:
                        self.assertEqual(seen.peer[0], address)
                        seen.read_head()
                        seen.send(OK)
                        self.assertEqual(client.read_message()[1], b"ok")
                    self.place.nft("delete", "table", "inet", f"catch-{PORT}")

    def test_one_that_closed_an_idle_connection_is_asked_again(self):
        """It closes at the moment in which it is asked."""
        self.start()
        for method in (b"GET", b"HEAD", b"DELETE"):
            client = self.client()
            client.send(GET)
            with self.server.accept() as server:
                server.read_head()
                server.send(OK)
                self.assertEqual(client.read_message()[1], b"ok")
                client.send(GET.replace(b"GET", method))
                first = server.read_head()
            with self.server.accept() as another:
                self.assertEqual(another.read_head(), first)
                another.send(OK.replace(b"ok", b"") if method == b"HEAD" else OK)
                self.assertEqual(self.status_of(client.read_head()), 200)

    def test_what_changes_something_is_not_asked_again(self):
        self.start()
        post = b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n"
        put = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"
        for request in (post, put):
            client = self.client()
            client.send(GET)
            with self.server.accept() as server:
                server.read_head()
                server.send(OK)
                client.read_message()
                client.send(request)
                server.read_head()
            self.assertEqual(self.status_of(client.read_message()[0]), 502)
            self.assert_over(client)
        self.assertEqual(self.server.accepted, 2)

    def test_a_new_connection_is_not_tried_twice(self):
        self.start()
        client = self.client()
        client.send(GET)
        with self.server.accept() as server:
            server.read_head()
        self.assertEqual(self.status_of(client.read_message()[0]), 502)
        self.assertEqual(self.server.accepted, 1)

    def test_an_idle_connection_that_was_closed_is_made_again(self):
        self.start()
        client = self.client()
        for request in (GET, b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n", GET):
            client.send(request)
            with self.server.accept() as server:
                server.read_head()
                server.send(OK)
                self.assertEqual(client.read_message()[1], b"ok")
            # The filter has seen it: it answers the firewall behind it.
            self.filtering.sync()

    def test_ports_are_free_again_at_once(self):
        """Else clients that come and go could use up all of them."""
        self.start(scripted.echo)
        for _ in range(20):
            with scripted.Stream(self.place.connect(self.place.TARGET, PORT)) as client:
                self.assertEqual(self.ask(client, GET)[0], 200)
        self.filtering.wait_stats(lambda s: s.connections == 20 and s.open == 0)
        self.assertEqual(self.place.run("target", "ss", "-Htan", "state", "time-wait", "dport", "=",
                                        f":{PORT}").stdout, "")

    def test_no_server(self):
        self.start()
        self.server.close()
        client = self.client()
        self.assertEqual(self.ask(client, GET)[0], 502)
        self.assert_over(client)
        self.filtering.wait_stats(lambda s: s.upstream_failures == 1)

    ELSEWHERE = "10.92.0.9"

    def route_elsewhere(self):
        """An address that is not the target's own: its packets come by, and to the filter."""
        for namespace, *arguments in (
                ("client", "route", "add", self.ELSEWHERE, "via", self.place.TARGET),
                ("target", "route", "add", self.ELSEWHERE, "via", self.place.ALLOWED),
                ("target", "rule", "add", "fwmark", "1", "lookup", "100"),
                ("target", "route", "add", "local", "default", "dev", "lo", "table", "100")):
            self.place.run(namespace, "ip", *arguments)
        self.place.nft("insert", "rule", "inet", f"catch-{PORT}", "in", "iif", "!=", "lo",
                       "ip", "daddr", self.ELSEWHERE, "meta", "mark", "set", "1")

    def test_another_namespace(self):
        """The firewall makes the socket; the server sees the client itself."""
        self.start()
        place = self.place
        self.route_elsewhere()
        client = self.client(self.ELSEWHERE)
        client.send(GET)
        frame = self.filtering.firewall.receive()
        self.assertEqual((frame.type, frame.body),
                         (ASK_SOCKET, struct.pack("=HB5x", 1, socket.AF_INET)))
        sock = transparent_socket(place)
        self.filtering.firewall.send(SOCKET, struct.pack("=iI", 0, 0), sock.fileno(),
                                     seq=frame.seq)
        self.filtering.sync()
        name = sock.getsockname()
        self.assertEqual(name[0], client.sock.getsockname()[0])
        self.assertNotEqual(name[1], 0)
        sock.close()

    def test_no_socket_for_another_namespace(self):
        self.start()
        self.route_elsewhere()
        for error in (-errno.EPERM, None):
            client = self.client(self.ELSEWHERE)
            client.send(GET)
            frame = self.filtering.firewall.receive()
            if error:
                self.filtering.firewall.send(SOCKET, struct.pack("=iI", error, 0), seq=frame.seq)
            else:
                self.filtering.firewall.close()
            self.assertEqual(self.status_of(client.read_message()[0]), 502)

    def test_a_stopped_server_is_waited_for(self):
        self.place.serve_node_exporter(PORT)
        exporter = self.place.run("target", "ss", "-Hltnp", f"sport = :{PORT}").stdout
        pid = int(exporter.partition("pid=")[2].partition(",")[0])
        self.filtering = self.stack.enter_context(FilterProcess(self.place))
        self.filtering.catch(PORT)
        client = self.client()
        os.kill(pid, signal.SIGSTOP)
        try:
            client.send(GET)
            self.filtering.sync()
            client.sock.settimeout(0.5)
            with self.assertRaises(TimeoutError):
                client.read(1)
        finally:
            os.kill(pid, signal.SIGCONT)
        client.sock.settimeout(20)
        self.assertIn(b"node_", client.read_message()[1])


class Limits(Case):
    def test_a_slow_head(self):
        """It costs no server's connection, and is cut after ten seconds, however it trickles."""
        self.start(scripted.echo)
        client, silent = self.client(), self.client()
        begun = time.monotonic()
        client.sock.settimeout(0.5)
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            for byte in GET * 10:
                client.send(bytes([byte]).replace(b"\r", b"x").replace(b"\n", b"y"))
                with contextlib.suppress(TimeoutError):
                    self.assertEqual(client.sock.recv(1), b"no answer")
        self.assertGreater(time.monotonic() - begun, 9)
        self.assertLess(time.monotonic() - begun, 15)
        self.assert_over(silent)
        self.filtering.wait_stats(lambda s: s.denied["slow"] == 1 and s.open == 0)
        self.assertEqual(self.server.accepted, 0)

    def test_a_client_that_has_left(self):
        """Who closes his connection looks like one that only sends no more: he has 20 s."""
        self.start()
        with self.client() as client:
            client.send(GET)
            server = self.stack.enter_context(self.server.accept())
            server.read_head()
        begun = time.monotonic()
        server.sock.settimeout(40)
        self.assert_over(server)
        self.assertGreater(time.monotonic() - begun, 15)
        self.filtering.wait_stats(lambda s: s.open == 0)

    def rss(self):
        with open(f"/proc/{self.filtering.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status
                        if line.startswith("VmHWM:"))

    def test_a_large_answer_and_a_reader_that_stalls(self):
        size = 1 << 30
        stalled = threading.Event()

        def serve(stream):
            stream.read_head()
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            piece = bytes(1 << 20)
            sent = 0
            stream.sock.settimeout(2)
            try:
                while sent < size:
                    sent += stream.sock.send(piece[:size - sent])
            except TimeoutError:
                self.stopped_at = sent
                stalled.set()
                stream.sock.settimeout(60)
                while sent < size:
                    sent += stream.sock.send(piece[:size - sent])

        self.start(serve)
        client = self.client()
        client.send(GET)
        client.read_head()
        before = self.rss()
        # The server cannot go on either, for nothing is kept in between.
        self.assertTrue(stalled.wait(30))
        self.assertLess(self.stopped_at, 64 << 20)
        buffer, got = bytearray(1 << 20), len(client.take_rest())
        while got < size:
            n = client.sock.recv_into(buffer)
            self.assertGreater(n, 0)
            got += n
        self.assertEqual(got, size)
        # ASan keeps what was freed.
        self.assertLess(self.rss() - before, 16 << 20 if lab.IS_ASAN else 4 << 20)

    def test_a_large_body_and_a_server_that_stalls(self):
        self.start()
        client = self.client()
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        with self.server.accept() as server:
            server.read_head()
            before, sent = self.rss(), 0
            client.sock.settimeout(1)
            with self.assertRaises(TimeoutError):
                while True:
                    sent += client.sock.send(bytes(1 << 20))
            self.assertLess(sent, 64 << 20)
            self.assertLess(self.rss() - before, 4 << 20)
            self.assertEqual(server.read(sent), bytes(sent))

    def test_a_client_that_only_asks(self):
        """The filter answers no more than is read, also of its own."""
        self.start(scripted.echo)
        client = self.client()
        denied = GET.replace(b"/metrics", b"/debug/vars")
        before, sent = self.rss(), 0
        client.sock.settimeout(1)
        with self.assertRaises(TimeoutError):
            while True:
                # What was sent of the last request goes on where it was cut.
                sent += client.sock.send((1000 * denied)[sent % len(denied):])
        self.assertLess(sent, 64 << 20)
        self.assertLess(self.rss() - before, 4 << 20)
        client.sock.settimeout(20)
        for _ in range(sent // len(denied)):
            self.assertEqual(self.status_of(client.read_message()[0]), 403)

    def flood(self, client, request):
        """Sends that without end, and takes the answers."""
        over = threading.Event()

        def send():
            with contextlib.suppress(OSError):
                while not over.is_set():
                    client.sendall(5000 * request)

        def receive():
            buffer = bytearray(1 << 20)
            with contextlib.suppress(OSError):
                while client.recv_into(buffer):
                    pass

        def stop():
            over.set()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()

        threads = [threading.Thread(target=each) for each in (send, receive)]
        for thread in threads:
            thread.start()
        self.addCleanup(stop)

    def test_clients_that_ask_without_end(self):
        """What they send is not piled up, and the others, and the firewall, are answered."""
        self.start(scripted.echo)
        denied = GET.replace(b"/metrics", b"/debug/vars")
        before = self.rss()
        for _ in range(4):
            self.flood(self.client().sock, denied)
        self.filtering.wait_stats(lambda s: s.denied["path"] > 100000, 60)
        for _ in range(5):
            begun = time.monotonic()
            self.filtering.sync()
            self.assertEqual(self.ask(self.client(), GET), (200, GET))
            self.assertLess(time.monotonic() - begun, 5)
        self.assertLess(self.rss() - before, 4 << 20)

    def test_one_client_has_so_many_connections(self):
        self.start(scripted.echo)
        held = [self.client(source=self.place.STRANGER) for _ in range(2048)]
        self.filtering.wait_stats(lambda s: s.open == 2048)
        self.assert_refused(self.place.connect, self.place.TARGET, PORT, source=self.place.STRANGER)
        self.assertEqual(self.ask(self.client(source=self.place.ALLOWED), GET), (200, GET))
        self.assertEqual(self.filtering.wait_denied().reason, "full")
        self.assertEqual(self.ask(held[0], GET), (200, GET))
        held[1].close()
        self.filtering.wait_stats(lambda s: s.open == 2048)  # the allowed one is among them
        self.assertEqual(self.ask(self.client(source=self.place.STRANGER), GET), (200, GET))

    def test_all_have_so_many_as_there_are_descriptors(self):
        self.start(scripted.echo, descriptors=128)
        clients = [self.client() for _ in range(31)]
        for client in clients:
            self.assertEqual(self.ask(client, GET), (200, GET))
        self.assert_refused(self.place.connect, self.place.TARGET, PORT)
        clients.pop().close()
        self.filtering.wait_stats(lambda s: s.open == 30)
        self.assertEqual(self.ask(self.client(), GET), (200, GET))

    def test_descriptors_run_short(self):
        """Listeners have taken them; nobody is turned away, he waits."""
        self.start(scripted.echo, descriptors=128)
        names = []
        while sum(int(fd) < 128 for fd in os.listdir(f"/proc/{self.filtering.pid}/fd")) < 128:
            names.append(f"another-{len(names)}")
            self.filtering.listen(names[-1])
            self.filtering.sync()
        waiting = self.client()
        waiting.send(GET)
        self.filtering.sync()
        self.filtering.process.send_signal(signal.SIGSTOP)  # it takes note of all at once
        for name in names[:4]:
            self.filtering.firewall.send(CLOSE, LISTENER_BODY.pack(1, socket.AF_INET,
                                                                   name.encode()))
        self.filtering.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.status_of(waiting.read_message()[0]), 200)
        self.filtering.parent.stop()
        self.assertIn("no more connections for a moment: Too many open files",
                      self.filtering.end()[1])

    def test_nobody_talks_to_the_filter_itself(self):
        self.start(scripted.echo)
        port = self.filtering.listeners["exporters", socket.AF_INET].getsockname()[1]
        self.assert_refused(self.place.connect, "127.0.0.1", port, namespace="target")
        self.assertEqual(self.filtering.wait_denied().reason, "direct")

    def test_a_loop_is_cut(self):
        """The rules bring the filter's own connection to the server back to the filter."""
        self.start(scripted.echo)
        to = self.filtering.listeners["exporters", socket.AF_INET].getsockname()[1]
        self.place.nft("add", "rule", "inet", f"catch-{PORT}", "in", "iif", "lo", "tcp", "dport",
                       str(PORT), "tproxy", "ip", "to", f"127.0.0.1:{to}", "accept")
        self.assertEqual(self.ask(self.client(), GET)[0], 502)
        self.assertEqual(self.filtering.wait_denied().reason, "direct")
        stats = self.filtering.wait_stats(lambda s: s.open == 0)
        self.assertEqual(stats.connections, 1)
        self.assertEqual(self.server.accepted, 0)


class Life(Case):
    def test_a_reload_is_for_the_next_request(self):
        self.start(scripted.echo)
        client = self.client()
        self.assertEqual(self.ask(client, GET)[0], 200)
        rule = self.filtering.rules["exporters"]
        self.assertEqual(self.filtering.configure({"exporters": {**rule, "deny": ["/metrics"]}}),
                         (0, ""))
        self.assertEqual(self.ask(client, GET)[0], 403)
        self.assertEqual(self.ask(client, GET.replace(b"metrics", b"debug/pprof/"))[0], 200)
        self.assertEqual(self.filtering.configure({"exporters": {**rule, "allow": ["/x"]}}), (0, ""))
        self.assertEqual(self.ask(client, GET)[0], 403)
        self.assertEqual(self.ask(client, GET.replace(b"metrics", b"x"))[0], 200)

    def test_a_configuration_that_is_wrong_changes_nothing(self):
        self.start(scripted.echo)
        error, text = self.filtering.configure({"exporters": {"nonsense": 1}})
        self.assertLess(error, 0)
        self.assertIn("nonsense", text)
        self.assertEqual(self.ask(self.client(), GET)[0], 200)
        self.assertLess(self.filtering.parent.commit()[0], 0)

    def test_connections_outlive_their_rule(self):
        self.start(scripted.echo)
        client = self.client()
        self.assertEqual(self.ask(client, GET)[0], 200)
        self.assertEqual(self.filtering.configure({"other": {"match": {"ports": [1]}}}), (0, ""))
        self.assertEqual(self.ask(client, GET)[0], 200)
        self.assertEqual(self.ask(client, GET.replace(b"metrics", b"debug/pprof/"))[0], 403)
        # Nobody is let in by the listener of a rule that is gone, until it is back.
        waiting = self.client()
        waiting.send(GET)
        waiting.sock.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            waiting.read(1)
        self.assertEqual(self.filtering.configure({"exporters": {"match": {"ports": [PORT]}}}),
                         (0, ""))
        waiting.sock.settimeout(20)
        self.assertEqual(self.status_of(waiting.read_message()[0]), 200)

    def test_a_listener_is_replaced_and_closed(self):
        self.start(scripted.echo)
        client = self.client()
        self.assertEqual(self.ask(client, GET)[0], 200)
        before = self.filtering.listeners["exporters", socket.AF_INET]
        before_name = before.getsockname()
        self.filtering.listen()
        self.filtering.sync()
        before.close()
        with self.assertRaises(ConnectionRefusedError):
            self.place.connect(*before_name, namespace="target")
        self.assertEqual(self.ask(client, GET)[0], 200)
        self.filtering.firewall.send(CLOSE, LISTENER_BODY.pack(1, socket.AF_INET, b"exporters"))
        self.filtering.sync()
        self.assertEqual(self.ask(client, GET)[0], 200)

    def test_without_the_firewall_it_goes_on(self):
        self.start(scripted.echo)
        client = self.client()
        self.assertEqual(self.ask(client, GET)[0], 200)
        self.filtering.firewall.close()
        self.assertEqual(self.ask(client, GET)[0], 200)
        self.assertEqual(self.ask(self.client(), GET)[0], 200)
        self.filtering.join_firewall()
        self.filtering.sync()

    def test_it_stops_when_requests_are_answered(self):
        self.start()
        idle, busy = self.client(), self.client()
        idle.send(GET)
        kept = self.stack.enter_context(self.server.accept())
        kept.read_head()
        kept.send(OK)
        idle.read_message()
        busy.send(GET)
        with self.server.accept() as server:
            server.read_head()
            self.filtering.parent.stop()
            self.assert_over(idle)
            server.send(OK)
            head, body = busy.read_message()
            self.assertEqual(body, b"ok")
            self.assertIn(b"Connection: close\r\n", head)
            self.assert_over(busy)
        self.assertEqual(self.filtering.end(), (0, ""))

    def test_it_stops_after_a_while_whatever_happens(self):
        self.start()
        busy = self.client()
        busy.send(GET)
        with self.server.accept() as server:
            server.read_head()
            begun = time.monotonic()
            self.filtering.parent.stop()
            self.assertEqual(self.filtering.end(), (0, ""))
            self.assertLess(time.monotonic() - begun, 6)

    def test_what_it_does_not_understand_ends_it(self):
        listener = LISTENER_BODY.pack(1, socket.AF_INET, b"exporters")
        with lab.Lab() as place:
            for peer, kind, body in (
                    ("firewall", LISTENER, listener),  # without a socket
                    ("firewall", CLOSE, listener[:-1]),
                    ("firewall", CLOSE, listener + b"x"),
                    ("firewall", CLOSE, b"\2" + listener[1:]),
                    ("firewall", CLOSE, listener[:3] + b"\1" + listener[4:]),
                    ("firewall", CLOSE, listener[:-1] + b"x"),
                    ("firewall", CLOSE, LISTENER_BODY.pack(1, socket.AF_UNIX, b"exporters")),
                    ("firewall", CLOSE, LISTENER_BODY.pack(1, socket.AF_INET, b"")),
                    ("firewall", SOCKET, struct.pack("=iI", 0, 0)),
                    ("firewall", SOCKET, struct.pack("=iI", 1, 0)),
                    ("firewall", SOCKET, struct.pack("=iI", -1, 1)),
                    ("firewall", 77, b""),
                    ("agent", 77, b""),
                    ("parent", 77, b""),
                    ("parent", PARENT_PEER, struct.pack("=IIii", 1, 0, 1, 0))):
                with self.subTest(peer=peer, kind=kind, body=body), \
                        FilterProcess(place) as filtering:
                    getattr(filtering, peer).send(kind, body)
                    status, errors = filtering.end()
                    self.assertEqual(status, 1)
                    self.assertRegex(errors, rf"^pprofwall-filter: {peer}: [^\n]+\n$")

    def test_what_it_may_do(self):
        with lab.Lab() as place, FilterProcess(place) as filtering:
            with open(f"/proc/{filtering.pid}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if line.count(":\t") == 1)
            self.assertEqual(set(status["Uid"].split()), {str(USER)})
            for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"):
                self.assertEqual(int(status[name], 16), 0, name)
            self.assertEqual(status["NoNewPrivs"], "1")
            if not lab.IS_ASAN:
                self.assertEqual(status["Seccomp"], "2")


class Opaque(Case):
    HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256))
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)

    def begin(self, on_opaque):
        return self.start(rules={"exporters": {"match": {"ports": [PORT]},
                                               "on_opaque": on_opaque}})

    def assert_sleeping(self):
        def state():
            with open(f"/proc/{self.filtering.pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(") ")[2][0]
        lab.wait_until(lambda: state() == "S", 10, "it sleeps while there is nothing to do")

    def test_half_of_what_is_known(self):
        self.begin("pass")
        for first in (self.HELLO[:5], self.PREFACE[:20]):
            self.client().send(first)
            self.filtering.sync()
            self.assert_sleeping()
        self.assertEqual(self.server.accepted, 0)

    def test_passed_as_it_is(self):
        self.begin("pass")
        for first in (self.HELLO, self.PREFACE):
            client = self.client()
            for byte in first[:30]:
                client.send(bytes([byte]))
            client.send(first[30:])
            with self.server.accept() as server:
                self.assertEqual(server.read(len(first)), first)
                large = os.urandom(3 << 20)
                reader = threading.Thread(target=lambda: server.send(server.read(len(large))))
                reader.start()
                client.send(large)
                self.assertEqual(client.read(len(large)), large)
                reader.join()
                client.sock.shutdown(socket.SHUT_WR)
                self.assertEqual(server.read_rest(), b"")
                server.send(b"bye")
            self.assertEqual(client.read_rest(), b"bye")
        stats = self.filtering.wait_stats(lambda s: s.opaque_passed == 2 and s.open == 0)
        self.assertEqual(sum(stats.denied.values()), 0)

    def test_not_passed_unless_it_is_known(self):
        self.begin("pass")
        for first in (b"\r\n" + GET, b" " + GET, b"\x85" + GET, b"\x16\x03\x01\r\n" + GET,
                      b"\0" + GET, b"SSH-2.0-OpenSSH\r\n\r\n",
                      b"PRI * HTTP/2.0\r\n\r\n" + GET, b"\x80\x2e\x01\x03\x01" + bytes(40)):
            with self.subTest(first[:20]):
                client = self.client()
                client.send(first)
                try:
                    self.assertEqual(self.status_of(client.read_message()[0]), 400)
                except (ConnectionResetError, scripted.Ended):
                    pass
                self.assert_over(client)
        # Nor later on a connection that has spoken HTTP.
        client = self.client()
        client.send(GET, self.HELLO)
        with self.server.accept() as server:
            server.read_head()
            server.send(OK)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(server.read_rest(), b"")
        self.assertEqual(self.server.accepted, 1)

    def test_dropped(self):
        self.begin("drop")
        for first in (self.HELLO, self.PREFACE):
            client = self.client()
            client.send(first)
            self.assert_over(client)
        self.assertEqual(self.filtering.wait_denied().reason, "opaque")
        self.filtering.wait_stats(lambda s: s.denied["opaque"] == 2 and s.open == 0)
        self.assertEqual(self.server.accepted, 0)


if __name__ == "__main__":
    unittest.main()
