# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firewall leads to the filter process, and when; with a process in its place that passes
bytes on (filter_fake.py)."""
import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import filter_fake  # noqa: E402
import frames  # noqa: E402
from firewall_helper import (  # noqa: E402
    BAD_ADDRESS, BAD_RULE, OK, PANIC, PANICKED, PROBER_UID, PROTECTED_PORT, RESUME, TOO_MANY,
    Helper)
from frames import CHILD_DEAF  # noqa: E402
from lab import IS_ASAN  # noqa: E402
from test_firewall import PORT, Base, Echo  # noqa: E402

FILTERED, OPEN, SEALED, DROPPING, ALERTING = 1, 2, 3, 4, 5
ASK_SOCKET = 194


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

    def test_connections_that_begin_with_a_cookie_are_caught(self):
        """The kernel keeps nothing of them until their last packet, which opens nothing."""
        name = "net.ipv4.tcp_syncookies"
        self.lab.run("target", "sysctl", "-qw", f"{name}=2")
        self.addCleanup(self.lab.run, "target", "sysctl", "-qw", f"{name}=1")
        helper = self.start_filtering()
        for address, source in ((self.lab.TARGET, self.lab.STRANGER),
                                (self.lab.TARGET6, self.lab.STRANGER6)):
            self.assert_ok(helper.block(address, PORT, FILTERED))
            self.assert_filtered(address, source)

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


    def test_stopped_filter_is_passed_by_until_it_answers_again(self):
        helper = self.start_filtering()
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.assert_ok(helper.block(self.lab.TARGET, port, OPEN))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        os.kill(self.filter.pid, signal.SIGSTOP)
        begun = time.monotonic()
        helper.process.wait_line("the filter does not answer")
        self.assertLess(time.monotonic() - begun, 2 if not IS_ASAN else 4)
        helper.ping()
        self.assert_reset(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.STRANGER, port=port)
        os.kill(self.filter.pid, signal.SIGCONT)
        helper.process.wait_line("the filter answers again")
        helper.ping()
        self.assert_filtered(source=self.lab.STRANGER)
        self.assert_filtered(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(kept), "f")

    # Connections from before

    def wait_reset(self, sock, timeout):
        sock.settimeout(timeout)
        with self.assertRaises(ConnectionResetError):
            sock.recv(1)

    def test_connections_from_before_have_their_time(self):
        helper = self.start_filtering(breakers=make_rules(drain="1s"))
        port = self.add_quiet_port()
        before = {source: self.connect(source=source, port=port)
                  for source in (self.lab.STRANGER, self.lab.ALLOWED, "10.91.0.9")}
        local = self.connect(port=port, namespace="target")
        for sock in (*before.values(), local):
            self.assertEqual(self.answer(sock), "e")
        begun = time.monotonic()
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))
        filtered = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(filtered), "f")
        for sock in (*before.values(), local):
            self.assertEqual(self.answer(sock), "e")
        self.wait_reset(before.pop(self.lab.STRANGER), 5)
        self.assertGreater(time.monotonic() - begun, 1)
        for sock in (*before.values(), local):
            self.assertEqual(self.answer(sock), "e")
        self.assertEqual(self.answer(filtered), "f")

    def test_request_that_waits_for_its_answer_gets_it(self):
        helper = self.start_filtering(breakers=make_rules(drain="100ms"))
        port = self.add_quiet_port()
        sock = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(sock), "e")
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))
        time.sleep(0.02)  # what the kernel's clock needs to tell this answer from what follows
        for _ in range(20):
            sock.sendall(b"l")  # answered later than an idle connection is left alone
            self.assertEqual(sock.recv(1), b"e")
            if select.select([sock], [], [], 0.6)[0]:
                break
        self.wait_reset(sock, 1)

    def test_who_never_stops_asking_is_cut_in_the_end(self):
        helper = self.start_filtering(breakers=make_rules(drain="100ms"))
        port = self.add_quiet_port()
        sock = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(sock), "e")
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))  # is no second time
        begun = time.monotonic()
        with self.assertRaises(ConnectionError):
            while time.monotonic() - begun < 20:
                sock.sendall(b"x")
                sock.recv(1)
                time.sleep(0.01)
        self.assertGreater(time.monotonic() - begun, 4)

    def test_without_drain_they_end_at_once(self):
        helper = self.start_filtering(breakers=make_rules(drain=0))
        port = self.add_quiet_port()
        sock = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(sock), "e")
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))
        self.wait_reset(sock, 2)

    def test_open_lets_nobody_keep_what_was_got_without_a_filter(self):
        rules = make_rules()
        rules[1]["drain"] = "100ms"
        helper = self.start_filtering(breakers=rules)
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, port, OPEN))
        self.assert_filtered(source=self.lab.STRANGER, port=port)
        self.filter.kill()
        helper.process.wait_line("the filter is gone")
        sock = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(sock), "e")
        self.filter = helper.filter(self.lab, "filtered", "open")
        self.wait_reset(sock, 5)
        self.assert_filtered(source=self.lab.STRANGER, port=port)

    # Changes

    def test_reload_keeps_listeners_and_connections(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        ports = self.filter.ports("filtered")
        rules = make_rules()
        del rules[1]
        rules.insert(0, {"name": "added", "action": "filter"})
        helper.reload(self.config(breakers=rules))
        self.filter.expect("added")
        self.filter.process.wait_line("open 10 closed")
        self.assertEqual(self.filter.ports("filtered"), ports)
        self.assertEqual(self.filter.process.output.count("filtered 2 listens"), 1)
        self.assertEqual(self.answer(kept), "f")
        self.assert_filtered(source=self.lab.STRANGER)
        self.assertEqual(helper.list()[self.lab.TARGET, PORT].rule, 2)
        self.assert_ok(helper.block(self.lab.TARGET6, PORT, 1))
        self.assert_filtered(self.lab.TARGET6, self.lab.STRANGER6)

    def test_reload_lets_go_what_no_rule_filters_any_more(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        helper.reload(self.config(breakers=make_rules()[1:]))
        self.assert_open(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        self.assertEqual(helper.list(), {})

    def test_reload_turns_a_drop_into_a_filter_and_back(self):
        helper = self.start_filtering()
        port = self.add_quiet_port()
        self.assert_ok(helper.block(self.lab.TARGET, port, DROPPING))
        self.assert_reset(source=self.lab.STRANGER, port=port)
        rules = make_rules()
        rules[DROPPING - 1]["action"] = "filter"
        helper.reload(self.config(breakers=rules))
        self.filter.expect("dropping")
        kept = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(kept), "f")
        helper.reload(self.config(breakers=make_rules()))
        self.wait_reset(kept, 3)
        self.assert_reset(source=self.lab.STRANGER, port=port)

    def test_helper_that_was_killed_is_succeeded(self):
        helper = self.start_filtering(breakers=make_rules(drain="2s"))
        port = self.add_quiet_port()
        before = self.connect(source=self.lab.STRANGER, port=port)
        self.assertEqual(self.answer(before), "e")
        self.assert_ok(helper.block(self.lab.TARGET, port, FILTERED))
        self.assert_ok(helper.block(self.lab.TARGET, PORT, SEALED, fallback=1))
        kept = self.connect(source=self.lab.STRANGER, port=port)
        helper.kill()
        self.assert_filtered(source=self.lab.STRANGER, port=port)  # nobody misses it yet
        self.filter.kill()
        self.assert_reset(source=self.lab.STRANGER, port=port)
        helper = self.start_filtering(breakers=make_rules(drain="2s"))
        self.assert_filtered(source=self.lab.STRANGER, port=port)
        listed = helper.list()
        self.assertEqual((listed[self.lab.TARGET, port].rule,
                          listed[self.lab.TARGET, port].fallback), (FILTERED, 0))
        self.assertEqual(listed[self.lab.TARGET, PORT].fallback, 1)
        self.assertEqual(self.answer(before), "e")
        self.wait_reset(before, 10)
        kept.close()

    def test_filter_that_comes_before_the_configuration_is_led_to(self):
        """As after a crash of all processes: the table is taken over as it was."""
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        helper.kill()
        self.filter.kill()
        helper = self.helper = Helper(self.lab)
        second = filter_fake.Filter(self.lab, helper)
        helper.start(self.config(breakers=make_rules()))
        second.expect("filtered")
        self.assert_filtered(source=self.lab.STRANGER)

    def test_another_filter_takes_the_place_of_one_that_lives(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        second = helper.filter(self.lab, "filtered")
        helper.ping()
        self.assertNotEqual(second.ports("filtered"), self.filter.ports("filtered"))
        self.assert_filtered(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        self.filter.kill()
        self.assert_filtered(source=self.lab.STRANGER)

    def test_panic_and_resume(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        kept = self.connect(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        self.assert_ok(helper.ask(PANIC))
        self.assert_open(source=self.lab.STRANGER)
        self.assertEqual(self.answer(kept), "f")
        self.assertEqual(helper.block(self.lab.TARGET, PORT, FILTERED).result, PANICKED)
        self.assert_ok(helper.ask(RESUME))
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.assert_filtered(source=self.lab.STRANGER)

    def test_caps_protected_ports_and_observing_hold(self):
        helper = self.start_filtering(firewall={"max_blocks": 2})
        for port, result in ((22, PROTECTED_PORT), (9100, OK), (9101, OK), (9102, TOO_MANY)):
            self.assertEqual(helper.block(self.lab.TARGET, port, FILTERED).result, result)
        self.assertEqual(helper.block("127.0.0.1", PORT, FILTERED).result, BAD_ADDRESS)
        helper.reload(self.config(breakers=make_rules(), mode="observe"))
        self.assertEqual(helper.block(self.lab.TARGET, PORT, FILTERED).result, BAD_RULE)

    def test_ledger_counts_who_meets_the_filter(self):
        helper = self.start_filtering()
        self.assert_ok(helper.ledger_add(self.lab.TARGET, PORT))
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        for _ in range(2):
            self.assert_filtered(source=self.lab.STRANGER)
        counted = helper.ledger(self.lab.TARGET, PORT)[self.lab.TARGET, PORT]
        self.assertEqual({who: peer.connections for who, peer in counted.items()},
                         {self.lab.STRANGER: 2})

    def test_translated_port_is_caught_where_it_arrives(self):
        helper = self.start_filtering()
        self.lab.nft("add table ip nat; add chain ip nat pre { type nat hook prerouting "
                     "priority dstnat; }; add rule ip nat pre tcp dport 8080 redirect to :9100")
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        sock = self.connect(source=self.lab.STRANGER, port=8080)
        for _ in range(3):
            self.assertEqual(self.answer(sock), "f")


class DiversionOwned(Diversion, FilterBase):
    def start_talking(self):
        """The helper, and the end of a filter that says whatever the test says."""
        helper = self.start(breakers=make_rules())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        with theirs:
            helper.parent.send(filter_fake.PARENT_PEER, filter_fake.PEER.pack(
                filter_fake.ROLE_FILTER, 0, 0, 0), theirs.fileno())
        return helper, ours

    def assert_told_deaf(self, helper):
        frame = helper.parent.receive(timeout=20)
        self.assertEqual((frame.type, frame.body), (CHILD_DEAF, b""))

    def test_parent_is_told_of_a_filter_that_stays_deaf(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        os.kill(self.filter.pid, signal.SIGSTOP)
        self.assert_told_deaf(helper)

    def test_filter_that_asks_and_takes_no_answer_is_deaf(self):
        """The firewall does not read what else it says, and does not wait for that either."""
        helper, ours = self.start_talking()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        ask = frames.pack(ASK_SOCKET, 1, struct.pack("=HB5x", 1, socket.AF_INET))
        ours.settimeout(1)
        with self.assertRaises(TimeoutError):
            while True:
                ours.send(ask)
        self.assert_told_deaf(helper)

    def test_filter_that_breaks_the_protocol_is_replaced(self):
        helper, ours = self.start_talking()
        ours.send(frames.pack(ASK_SOCKET, 1, b"short"))
        self.assert_told_deaf(helper)


class DiversionPlain(Diversion, FilterBase):
    persist = "off"

    def test_flushed_chains_are_restored(self):
        helper = self.start_filtering()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, FILTERED))
        self.lab.nft("flush", "ruleset")
        helper.wait_event()
        self.assert_filtered(source=self.lab.STRANGER)
        self.lab.nft("flush", "chain", "inet", "pprofwall", "filter_filtered")
        helper.wait_event()
        self.assert_filtered(source=self.lab.STRANGER)


if __name__ == "__main__":
    unittest.main()
