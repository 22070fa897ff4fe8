# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firewall leads to the filter process, and when; with a process in its place that passes
bytes on (filter_fake.py)."""
import contextlib
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import filter_fake  # noqa: E402
from firewall_helper import BAD_RULE, OK, PROBER_UID  # noqa: E402
from test_firewall import PORT, Base, Echo  # noqa: E402

FILTERED, OPEN, SEALED, DROPPING, ALERTING = 1, 2, 3, 4, 5


def make_rules(**changes):
    both = {"allow_from": ["10.91.0.3", "fd91::3"]}
    return [
        {"name": "filtered", "action": "filter", **both, **changes},
        {"name": "open", "action": "filter", "on_failure": "open", **both},
        {"name": "sealed", "action": "filter", "seal_local": True, "fallback": "drop"},
        {"name": "dropping", **both},
        {"name": "alerting", "action": "alert"},
    ]


class FilterBase(Base):
    def start_filtering(self, **changes):
        changes.setdefault("breakers", make_rules())
        self.start(**changes)
        self.filter = self.helper.filter(
            self.lab, *(r["name"] for r in changes["breakers"] if r.get("action") == "filter"))
        self.addCleanup(self.filter.kill)
        self.helper.ping()
        return self.helper

    def answer(self, sock):
        """Who answers: "f" is the filter, "e" the server itself."""
        sock.sendall(b"x")
        return sock.recv(1).decode()

    def ask(self, address=None, source=None, port=PORT, **kwargs):
        return self.answer(self.connect(address, source, port, **kwargs))

    def assert_filtered(self, *args, **kwargs):
        self.assertEqual(self.ask(*args, **kwargs), "f")

    def assert_open(self, *args, **kwargs):
        self.assertEqual(self.ask(*args, **kwargs), "e")


class Diversion:
    """Once with each kind of table."""

    def test_strangers_meet_the_filter_and_the_endpoint_is_its_own_address(self):
        helper = self.start_filtering()
        for address, source in ((self.lab.TARGET, self.lab.STRANGER),
                                (self.lab.TARGET6, self.lab.STRANGER6)):
            self.assert_ok(helper.block(address, PORT, FILTERED))
            sock = self.connect(address, source)
            sock.sendall(b"?")
            self.assertEqual(sock.recv(200).decode(),
                             f"{(address, PORT)} {(source, sock.getsockname()[1])}\n")
            self.assertEqual(self.answer(sock), "f")

    def test_allowed_protected_and_own_clients_meet_the_server(self):
        helper = self.start_filtering()
        for address in (self.lab.TARGET, self.lab.TARGET6):
            self.assert_ok(helper.block(address, PORT, FILTERED))
        self.assert_open(source=self.lab.ALLOWED)
        self.assert_open(self.lab.TARGET6, self.lab.ALLOWED6)
        self.assert_open(source="10.91.0.9")
        self.assert_open(self.lab.TARGET6, "fd91::9")
        self.assert_open(namespace="target")
        self.assertEqual(self.connect_as(PROBER_UID, self.lab.TARGET), "got e")

    def test_other_ports_and_addresses_are_not_touched(self):
        helper = self.start_filtering()
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.STRANGER, port=port)
        self.assert_open(self.lab.TARGET6, self.lab.STRANGER6)

    def test_wildcard_listeners_are_caught_by_each_family(self):
        helper = self.start_filtering()
        with contextlib.closing(Echo(self.lab, "target", "::", 9300)):
            for address, source in ((self.lab.TARGET, self.lab.STRANGER),
                                    (self.lab.TARGET6, self.lab.STRANGER6)):
                self.assert_ok(helper.block(address, 9300, FILTERED))
                self.assert_filtered(address, source, 9300)

    def test_seal_local_filters_host_clients_and_neither_prober_nor_the_filter_itself(self):
        helper = self.start_filtering()
        for address in (self.lab.TARGET, self.lab.TARGET6, "127.0.0.1"):
            self.assert_ok(helper.block(address, PORT, SEALED))
            self.assert_filtered(address, namespace="target")
            self.assertEqual(self.connect_as(1000, address), "got f")
            self.assertEqual(self.connect_as(PROBER_UID, address), "got e")
        self.assert_filtered(source=self.lab.STRANGER)

    def test_dead_filter_closed_resets_and_open_passes(self):
        helper = self.start_filtering()
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.assert_ok(helper.block(self.lab.TARGET, port, OPEN))
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_filtered(source=self.lab.STRANGER, port=port)
        self.filter.kill()
        self.assert_reset(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.STRANGER, port=port)
        # And whoever comes in its place takes over.
        self.filter = helper.filter(self.lab, "filtered", "open")
        helper.ping()
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_filtered(source=self.lab.STRANGER, port=port)

    def test_no_filter_yet_is_a_dead_one(self):
        helper = self.start(breakers=make_rules())
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.assert_ok(helper.block(self.lab.TARGET, port, OPEN))
        self.assert_reset(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.STRANGER, port=port)

    def test_unblocked_endpoint_is_open_and_its_connections_go_on(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        self.assert_ok(helper.unblock(self.lab.TARGET, PORT))
        self.assert_open(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")

    def test_connections_are_counted_and_listed(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        for _ in range(3):
            self.assert_filtered(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.ALLOWED)
        listed = helper.list()[self.lab.TARGET, PORT]
        self.assertEqual((listed.packets, listed.rule, listed.fallback), (3, FILTERED, 0))

    def test_fallback_refuses_what_cannot_be_filtered(self):
        helper = self.start_filtering()
        self.assertEqual(helper.block(self.lab.TARGET, PORT, FILTERED, fallback=1).result,
                         BAD_RULE)
        self.assert_ok(helper.block(self.lab.TARGET, PORT, SEALED, fallback=1))
        self.assert_reset(source=self.lab.STRANGER)
        self.assertEqual(helper.list()[self.lab.TARGET, PORT].fallback, 1)
        self.assert_ok(helper.block(self.lab.TARGET, PORT, SEALED))
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_ok(helper.block(self.lab.TARGET, PORT, SEALED, fallback=1))
        self.assert_reset(source=self.lab.STRANGER)
        self.assert_ok(helper.unblock(self.lab.TARGET, PORT))
        self.assert_open(source=self.lab.STRANGER)

    def test_block_moves_between_rules_of_all_kinds(self):
        helper = self.start_filtering()
        for rule, expected in ((DROPPING, None), (FILTERED, "f"), (0, None), (OPEN, "f"),
                               (DROPPING, None)):
            self.assert_ok(helper.block(self.lab.TARGET, PORT, rule))
            if expected:
                self.assertEqual(self.ask(source=self.lab.STRANGER), expected)
            else:
                self.assert_reset(source=self.lab.STRANGER)
        self.assertEqual(helper.block(self.lab.TARGET, PORT, ALERTING).result, BAD_RULE)

    def test_renewal_counts_from_now_and_keeps_its_count(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED, timeout_ms=2000))
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED, timeout_ms=60_000))
        listed = helper.list()[self.lab.TARGET, PORT]
        self.assertGreater(listed.expires_ms, 50_000)
        self.assertEqual(listed.packets, 1)

    def test_port_that_is_used_again_does_not_reach_the_server(self):
        """The filter's end in TIME_WAIT is no way by."""
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        for _ in range(2):
            with self.lab.inside("client"):
                sock = socket.socket()
            sock.settimeout(3)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.lab.STRANGER, 40123))
            sock.connect((self.lab.TARGET, PORT))
            self.assertEqual(self.answer(sock), "f")
            # The filter ends it first: a request of nothing at its own port is none.
            sock.sendall(b"!")
            self.assertEqual(sock.recv(10), b"")
            sock.close()


class DiversionOwned(Diversion, FilterBase):
    pass


class DiversionPlain(Diversion, FilterBase):
    persist = "off"


if __name__ == "__main__":
    unittest.main()
