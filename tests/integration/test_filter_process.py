#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter process alone, with real clients and servers that tproxy brings together."""
import contextlib
import errno
import os
import signal
import socket
import struct
import time
import unittest

import frames
import lab
import scripted
from filter_process import (ASK_SOCKET, CLOSE, LISTENER, LISTENER_BODY, PARENT_PEER, SOCKET,
                            FilterProcess, transparent_socket)

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
            self.assertIn(b"\r\n\r\n3\r\nabc", server.read_rest())
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
            self.assertEqual(server.read_rest(), b"")

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
                       100 * b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            with self.subTest(answer[:40]):
                for client, _ in self.exchange(answer):
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


if __name__ == "__main__":
    unittest.main()
