#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways around the filter process, by how TCP and IP carry what is said: in pieces, out of order,
twice and differently, urgently. What is said is a request for a profile, which the server serves when
it is said to it directly.
"""
import os
import re
import socket
import unittest

import scripted
from lab import Lab, wait_until
from raw_tcp import ACK, CWR, ECE, FIN, PUSH, SYN, URG, RawTcp
from test_filter_evasion import DENIED, DIRECT, FILTERED, HIDDEN, PLAIN, PROFILE, REFUSED, Case

PIECES = 8  # bytes a segment
# As long as each other, so that one may be put over the other.
HARMLESS = b"GET /" + b"x" * (HIDDEN.index(b" HTTP") - 5) + HIDDEN[HIDDEN.index(b" HTTP"):]


def wall_config(place, **rule):
    """The daemon filters one port, always."""
    return place.config(
        filters=[{"name": "front", "match": {"ports": [FILTERED]}, **rule}],
        scan={"targets": [f"{place.TARGET}:{FILTERED}", f"[{place.TARGET6}]:{FILTERED}"]},
        breakers=[{"name": "other", "action": "alert"}], alerts=None)


def pieces(data, size=PIECES):
    return [(at, data[at:at + size]) for at in range(0, len(data), size)]


class Segments(Case):
    def raw(self, port, is6=False):
        place = self.place
        client = (RawTcp(place, place.TARGET6, port, place.STRANGER6) if is6 else
                  RawTcp(place, place.TARGET, port, place.STRANGER))
        self.addCleanup(client.close)
        return client

    def answered(self, client):
        """Whether the answer came whole, or the connection is over."""
        def whole():
            head, end, body = client.answers.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            return end and length and len(body) >= int(length[1])
        return client.wait(lambda: client.ended or whole(), 3)

    def ask(self, port, say):
        """What comes back when `say` says it with a connection of its own."""
        client = self.raw(port)
        self.assertTrue(client.connect())
        say(client)
        client.said(len(HIDDEN))
        self.answered(client)
        return client.answers

    def check(self, say, is_served=True, expected=(DENIED,)):
        """The filter, whatever it makes of it, serves no profile; `expected`: or one of these."""
        if is_served is not None:
            self.assertEqual(bool(PROFILE.search(self.ask(DIRECT, say))), is_served, "directly")
        answers = self.ask(FILTERED, say)
        self.assertIsNone(PROFILE.search(answers), answers)
        status = int(answers[9:12]) if answers else None
        self.assertIn(status, expected, answers)

    def test_whole(self):
        self.check(lambda client: client.send(HIDDEN))

    def test_byte_by_byte(self):
        def say(client):
            for at, piece in pieces(HIDDEN, 1):
                client.send(piece, at)
        self.check(say)

    def test_backwards(self):
        def say(client):
            for at, piece in reversed(pieces(HIDDEN)):
                client.send(piece, at)
        self.check(say)

    def test_twice_and_differently(self):
        """Each piece as it is and as another, in both orders, in sequence and out of it."""
        for first, second in ((HIDDEN, HARMLESS), (HARMLESS, HIDDEN)):
            for order in (list, lambda all_of_it: list(reversed(all_of_it))):
                def say(client, first=first, second=second, order=order):
                    for at, piece in order(pieces(first)):
                        client.send(piece, at)
                        client.send(second[at:at + len(piece)], at)
                with self.subTest(first=first, order=order):
                    self.check(say, None, (DENIED, 200))

    def test_overlapping(self):
        """Longer ones over shorter ones that came too early, with other bytes in the overlap."""
        for harmless_first in (False, True):
            early, late = (HARMLESS, HIDDEN) if harmless_first else (HIDDEN, HARMLESS)

            def say(client, early=early, late=late):
                client.send(early[16:24], 16)
                client.send(late[12:20], 12)
                client.send(early[20:40], 20)
                client.send(late[8:30], 8)
                client.send(early[30:], 30)
                client.send(late[:14], 0)
                client.send(early[10:], 10)
            with self.subTest(harmless_first=harmless_first):
                self.check(say, None, (DENIED, 200, REFUSED, None))

    def test_again_behind_a_request(self):
        """What was acknowledged is sent once more, as something else, with new bytes behind it."""
        def say(client):
            client.send(PLAIN)
            self.answered(client)
            client.send(HIDDEN + HIDDEN, 0)
        answers = self.ask(FILTERED, say)
        self.assertTrue(answers.startswith(b"HTTP/1.1 200"), answers)
        self.assertIsNone(PROFILE.search(answers), answers)

    def test_beyond_the_window_and_before_it(self):
        def say(client):
            client.send(HIDDEN, -len(HIDDEN))
            client.send(HIDDEN, 1 << 30)
            client.send(HIDDEN)
        self.check(say)

    def test_with_the_ends(self):
        """Together with the end of what is said; with ECN's flags."""
        for flags in (PUSH | ACK | FIN, ACK | ECE, ACK | CWR):
            with self.subTest(flags):
                self.check(lambda client, flags=flags: client.send(HIDDEN, flags=flags))

    def test_openings(self):
        """Every first segment that the server's kernel takes for one comes to the filter."""
        for flags in (SYN, SYN | ECE | CWR, SYN | PUSH, SYN | URG, SYN | PUSH | URG, SYN | FIN):
            with self.subTest(flags):
                found = []
                for port in (DIRECT, FILTERED):
                    client = self.raw(port)
                    if client.connect(flags):
                        client.send(HIDDEN)
                        client.said(len(HIDDEN))
                        self.answered(client)
                    found.append(client.answers)
                self.assertEqual(bool(found[0]), flags != SYN | FIN)
                self.assertEqual(found[1].startswith(b"HTTP/1.1 403"), flags != SYN | FIN, found)

    def test_urgent_data(self):
        """The urgent byte is none of the stream: without it this is a request for a profile."""
        for at in (1, 6, 12, len(HIDDEN) - 1):
            def say(client, at=at):
                client.send(HIDDEN[:at] + b"!", flags=PUSH | ACK | URG, urgent=at + 1)
                client.send(HIDDEN[at:], at + 1)
                client.said(1)
            with self.subTest(at):
                self.check(say)

    def test_urgent_data_of_a_socket(self):
        for port in (DIRECT, FILTERED):
            with self.place.connect(self.place.TARGET, port, source=self.place.STRANGER) as sock:
                sock.sendall(HIDDEN[:12])
                sock.send(b"!", socket.MSG_OOB)
                sock.sendall(HIDDEN[12:])
                with self.subTest(port):
                    self.assertEqual(bool(PROFILE.search(sock.recv(65536))), port == DIRECT)

    def test_fragments(self):
        orders = {"in order": list, "backwards": lambda all_of_it: list(reversed(all_of_it)),
                  "the first last": lambda all_of_it: [*all_of_it[1:], all_of_it[0]]}
        for name, order in orders.items():
            for size in (8, 24, 48):
                with self.subTest(name, size=size):
                    self.check(lambda client, size=size, order=order: client.fragments(
                        client.segment(PUSH | ACK, HIDDEN), size, order))

    def test_fragments_of_an_opening(self):
        """The flags are in the second one: of the first nobody can say that it opens anything."""
        for port in (DIRECT, FILTERED):
            for order in (None, lambda all_of_it: list(reversed(all_of_it))):
                client = self.raw(port)
                self.assertTrue(client.connect(
                    send=lambda segment, c=client, o=order: c.fragments(segment, 8, o)))
                client.send(HIDDEN)
                client.said(len(HIDDEN))
                self.answered(client)
                self.assertEqual(bool(PROFILE.search(client.answers)), port == DIRECT,
                                 client.answers)

    def test_fragments_twice_and_differently(self):
        """Of two for the same bytes Linux takes the first."""
        for first, second, is_served in ((HIDDEN, HARMLESS, True), (HARMLESS, HIDDEN, False)):
            def say(client, first=first, second=second):
                other = client.segment(PUSH | ACK, second)
                client.fragments(client.segment(PUSH | ACK, first), 24, twist=lambda at, part: [
                    (at, other[at:at + len(part)])])
            with self.subTest(first=first):
                self.check(say, is_served, (DENIED,) if is_served else (200,))

    def test_fragments_that_overlap(self):
        """Linux takes nothing of a packet of which two fragments overlap, but takes it again."""
        def say(client):
            segment = client.segment(PUSH | ACK, HIDDEN)
            harmless = client.segment(PUSH | ACK, HARMLESS)
            for one, other in ((segment, harmless), (harmless, segment)):
                client.fragments(one, 24, twist=lambda at, part, other=other: [
                    (at - 8, other[at - 8:at] + part)] if at else [])
            client.send(HIDDEN)
        self.check(say)

    def check_opening(self, is6, between, protocol=socket.IPPROTO_TCP, size=None):
        """With other things before TCP's header, from the first segment on, in fragments or not."""
        for port in (DIRECT, FILTERED):
            client = self.raw(port, is6)
            client.between, client.protocol = between, protocol
            send = None if size is None else lambda segment, c=client: c.fragments(segment, size)
            self.assertTrue(client.connect(send=send), (port, client.was_reset))
            client.send(HIDDEN)
            client.said(len(HIDDEN))
            self.answered(client)
            self.assertEqual(bool(PROFILE.search(client.answers)), port == DIRECT, client.answers)
            self.assertEqual(client.answers.startswith(b"HTTP/1.1 403"), port == FILTERED)

    def test_options_of_ip(self):
        """No operation, and a timestamp."""
        for options in (b"\1" * 4, b"\1" * 40, b"\x44\x0c\x05\0" + bytes(8)):
            for size in (None, 8):
                with self.subTest(options, size=size):
                    self.check_opening(False, options, size=size)

    def test_ipv6_and_its_headers(self):
        tcp = socket.IPPROTO_TCP
        padding = bytes([1, 4, 0, 0, 0, 0])
        chains = {
            "none": (tcp, b""),
            "hop by hop": (socket.IPPROTO_HOPOPTS, bytes([tcp, 0]) + padding),
            "destination options": (socket.IPPROTO_DSTOPTS, bytes([tcp, 0]) + padding),
            "two of them": (socket.IPPROTO_DSTOPTS, bytes([socket.IPPROTO_DSTOPTS, 0]) + padding
                            + bytes([tcp, 0]) + padding),
            "a fragment that is whole": (socket.IPPROTO_FRAGMENT, bytes([tcp, 0, 0, 0, 0, 0, 0, 7])),
        }
        for name, (protocol, headers) in chains.items():
            with self.subTest(name):
                self.check_opening(True, headers, protocol)
        # Linux takes no first fragment in which TCP's header is not whole.
        self.check_opening(True, b"", size=24)

    def test_somebody_elses_segments(self):
        """Of a connection that nobody has opened, the filter and the server know nothing."""
        client = self.raw(FILTERED)
        client.expected = 1
        client.send(HIDDEN)
        self.assertTrue(client.wait(lambda: client.was_reset))
        self.assertEqual(client.answers, b"")


class Wall(Segments):
    """The same with the daemon's own rules, to which `openings` and fragments matter most."""

    @classmethod
    def filter(cls, stack):
        place = cls.place
        endpoints = place.TARGET, place.TARGET6
        place.daemon(wall_config(place)).start()

        def is_denied():
            try:
                return all(place.get(address, FILTERED, "/debug/pprof/")[0] == DENIED
                           for address in endpoints)
            except OSError:
                return False
        wait_until(is_denied, 40, "the filter stands")


@unittest.skipUnless(os.geteuid() == 0, "it makes network namespaces")
class Before(unittest.TestCase):
    """Of a connection from before, conntrack may hear the server first, and take him for the client."""

    def serve(self, stream):
        """Says something all the time, as a trace does, and answers besides; others as HTTP has it."""
        if stream.peer[0] != Lab.STRANGER:
            scripted.echo(stream)
        stream.sock.settimeout(0.05)
        while True:
            try:
                if not stream.sock.recv(65536):
                    return
                stream.send(b"served")
            except TimeoutError:
                stream.send(b".")

    def client(self, place, own_port):
        with place.inside("client"):
            sock = socket.create_connection((place.TARGET, FILTERED), 20,
                                            (place.STRANGER, own_port))
        self.addCleanup(sock.close)
        self.assertTrue(sock.recv(1))
        return sock

    def test_it_does_not_go_on_for_ever(self):
        with Lab() as place, scripted.Server(place, FILTERED, serve=self.serve):
            clients = [self.client(place, own_port) for own_port in (0, 443)]
            place.daemon(wall_config(place, drain="1s")).start()

            def is_over(sock):
                try:
                    sock.sendall(HIDDEN)
                    return not sock.recv(65536)
                except ConnectionError:
                    return True
            for sock in clients:
                wait_until(lambda sock=sock: is_over(sock), 40, "the connection is ended")


if __name__ == "__main__":
    unittest.main()
