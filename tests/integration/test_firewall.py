# SPDX-License-Identifier: GPL-2.0-or-later
"""pprofwall-firewall against a real kernel, with an owned table and with a plain one."""
import contextlib
import copy
import itertools
import os
import re
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import (  # noqa: E402
    BAD_ADDRESS, BAD_RULE, BAD_TIMEOUT, BLOCK, FW_REPLY, FW_REQUEST, MALFORMED, MANUAL, NOT_FOUND,
    OK, ORPHAN, PANIC, PANICKED, PROBER_UID, PROTECTED_PORT, REQUEST, RESUME, STALE,
    STATUS, TOO_FAST, TOO_MANY, UID, VERSION, Helper)
from frames import PING, PONG  # noqa: E402
from lab import Lab, program, run, wait_until  # noqa: E402

PORT = 9100
POD, POD6 = "10.92.0.2", "fd92::2"
GATE = 0.5  # seconds that count as "at once" on a busy machine

CONFIG = {
    "mode": "enforce",
    "breakers": [
        {"name": "default", "allow_from": ["10.91.0.3", "fd91::3"]},
        {"name": "sealed-1.x", "seal_local": True},
        {"name": "only-alerts", "action": "alert"},
    ],
    "protect": {"ports": [22], "sources": ["10.91.0.9", "fd91::9"]},
}
DEFAULT, SEALED, ALERTS = 1, 2, 3

# Connects as another user, in the namespace it is started in: prints the outcome.
CONNECT_AS = """
import os, socket, sys
uid, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
s.settimeout(3)
try:
    s.connect((address, port)); s.sendall(b"x"); print("got", s.recv(1).decode())
except OSError as e:
    print(type(e).__name__)
"""


def is_persist_possible():
    release = os.uname().release.split("-")[0].split(".")
    return (int(release[0]), int(release[1])) >= (6, 9)


class Echo:
    """Answers every byte with an "e"; b"s" starts an endless stream, b"l" is answered late."""

    def __init__(self, lab, namespace, address, port):
        with lab.inside(namespace):
            self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        self.sock.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.sock.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with contextlib.suppress(OSError), peer:
            while data := peer.recv(100):
                if b"s" in data:
                    while True:
                        peer.sendall(b"tick")
                        time.sleep(0.01)
                if b"l" in data:
                    time.sleep(0.5)
                peer.sendall(b"e" * len(data))

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def is_answering(sock):
    sock.sendall(b"x")
    return sock.recv(1) == b"e"


class Base(unittest.TestCase):
    persist = "auto"

    @classmethod
    def setUpClass(cls):
        cls.quiet_ports = itertools.count(9200)
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.lab = lab = cls.stack.enter_context(Lab())
        for address in ("10.91.0.9/24", "fd91::9/64"):
            nodad = ["nodad"] if ":" in address else []
            run("ip", "-n", lab.name_of("client"), "address", "add", address, "dev", "eth0",
                *nodad)
        for address in (lab.TARGET, lab.TARGET6, "127.0.0.1"):
            cls.stack.enter_context(contextlib.closing(Echo(lab, "target", address, PORT)))

    def setUp(self):
        self.helper = None
        self.addCleanup(self.clean)

    def clean(self):
        if self.helper:
            self.helper.kill()
        self.lab.nft("flush", "ruleset")  # the owner is gone: this removes everything

    def config(self, **changes):
        config = copy.deepcopy(CONFIG)
        config.update(copy.deepcopy(changes))
        config.setdefault("firewall", {})["persist"] = self.persist
        return config

    def start(self, panic=False, **changes):
        self.helper = Helper(self.lab).start(self.config(**changes), panic)
        return self.helper

    def connect(self, address=None, source=None, port=PORT, **kwargs):
        sock = self.lab.connect(address or self.lab.TARGET, port, source=source, **kwargs)
        self.addCleanup(sock.close)
        return sock

    def assert_open(self, address=None, source=None, port=PORT, **kwargs):
        self.assertTrue(is_answering(self.connect(address, source, port, **kwargs)))

    def assert_reset(self, address=None, source=None, port=PORT, **kwargs):
        start = time.monotonic()
        with self.assertRaises(ConnectionRefusedError):
            self.connect(address, source, port, **kwargs)
        self.assertLess(time.monotonic() - start, GATE)

    def connect_as(self, uid, address, port=PORT):
        return self.lab.run("target", sys.executable, "-c", CONNECT_AS, uid, address,
                            port).stdout.strip()

    def tool(self, option, **kwargs):
        return self.lab.run("target", program("pprofwall-firewall"), option, check=False, **kwargs)

    def add_quiet_port(self):
        """One without what connections of earlier tests still send again."""
        port = next(self.quiet_ports)
        self.stack.enter_context(contextlib.closing(Echo(self.lab, "target", self.lab.TARGET,
                                                         port)))
        return port

    def add_pod(self):
        """A namespace behind the target, which routes; its server is POD:PORT."""
        lab, target = self.lab, self.lab.name_of("target")
        if not os.path.exists(f"/run/netns/{lab.name_of('pod')}"):
            lab._add_namespace("pod")
            pod = lab.name_of("pod")
            run("ip", "link", "add", "pod0", "netns", target, "type", "veth",
                "peer", "name", "eth0", "netns", pod)
            for name, device, last in ((target, "pod0", 1), (pod, "eth0", 2)):
                run("ip", "-n", name, "address", "add", f"10.92.0.{last}/24", "dev", device)
                run("ip", "-n", name, "address", "add", f"fd92::{last}/64", "dev", device,
                    "nodad")
                run("ip", "-n", name, "link", "set", device, "up")
            lab.run("target", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                    "net.ipv6.conf.all.forwarding=1")
            run("ip", "-n", pod, "route", "add", "default", "via", "10.92.0.1")
            run("ip", "-n", pod, "route", "add", "default", "via", "fd92::1")
            client = lab.name_of("client")
            run("ip", "-n", client, "route", "add", "10.92.0.0/24", "via", lab.TARGET)
            run("ip", "-n", client, "route", "add", "fd92::/64", "via", lab.TARGET6)
            for address in (POD, POD6):
                self.stack.enter_context(contextlib.closing(Echo(lab, "pod", address, PORT)))
        wait_until(lambda: self.connect_as(1000, POD6) == "got e", 5, "the pod answers")

    def assert_ok(self, reply):
        self.assertEqual((reply.result, reply.error), (OK, 0), reply)


class Rules:
    """What passes and what does not; once with each kind of table."""

    def test_table_is_of_the_kind_that_was_asked_for(self):
        status = self.start().ask(STATUS)
        self.assert_ok(status)
        self.assertEqual(status.persist,
                         1 if self.persist == "auto" and is_persist_possible() else 0)

    def test_runs_with_one_capability_and_a_filter(self):
        with open(f"/proc/{self.start().pid}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        self.assertEqual(status["Uid"].split(), [str(UID)] * 4)
        for name in ("CapPrm", "CapEff"):
            self.assertEqual(int(status[name], 16), 1 << 12, name)
        self.assertEqual(int(status["CapBnd"], 16) & ~(1 << 12), 0)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        if os.environ.get("PW_SANITIZED", "0") in ("", "0"):
            self.assertEqual(status["Seccomp"].strip(), "2")

    def test_strangers_are_reset_at_once_and_others_pass(self):
        lab, helper = self.lab, self.start()
        for target, stranger, allowed, protected in (
                (lab.TARGET, lab.STRANGER, lab.ALLOWED, "10.91.0.9"),
                (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6, "fd91::9")):
            with self.subTest(target):
                self.assert_open(target, stranger)
                reply = helper.block(target, PORT, DEFAULT)
                self.assert_ok(reply)
                self.assertEqual((reply.port, reply.rule, reply.expires_ms), (PORT, DEFAULT, 60_000))
                self.assert_reset(target, stranger)
                self.assert_open(target, allowed)
                self.assert_open(target, protected)
                self.assert_open(target, target, namespace="target")  # host-local
                self.assert_ok(helper.unblock(target, PORT))
                self.assert_open(target, stranger)

    def test_manual_block_lets_only_protected_sources_through(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, MANUAL))
        self.assert_reset(source=lab.ALLOWED)
        self.assert_open(source="10.91.0.9")

    def test_other_ports_and_addresses_are_untouched(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT + 1, DEFAULT))
        self.assert_ok(helper.block("10.91.0.77", PORT, DEFAULT))
        self.assert_open(source=lab.STRANGER)

    def test_seal_local_cuts_everybody_but_the_prober(self):
        lab, helper = self.lab, self.start()
        for address in (lab.TARGET, lab.TARGET6, "127.0.0.1"):
            with self.subTest(address):
                self.assertEqual(self.connect_as(1000, address), "got e")
                self.assert_ok(helper.block(address, PORT, SEALED))
                self.assertEqual(self.connect_as(1000, address), "ConnectionRefusedError")
                self.assertEqual(self.connect_as(PROBER_UID, address), "got e")

    def test_seal_local_cuts_the_host_from_others_too(self):
        lab, helper = self.lab, self.start()
        with contextlib.closing(Echo(lab, "client", lab.STRANGER, PORT)):
            self.assertEqual(self.connect_as(1000, lab.STRANGER), "got e")
            self.assert_ok(helper.block(lab.STRANGER, PORT, DEFAULT))
            self.assertEqual(self.connect_as(1000, lab.STRANGER), "got e")
            self.assert_ok(helper.block(lab.STRANGER, PORT, SEALED))
            self.assertEqual(self.connect_as(1000, lab.STRANGER), "ConnectionRefusedError")
            self.assertEqual(self.connect_as(PROBER_UID, lab.STRANGER), "got e")

    def test_marks_from_elsewhere_do_not_help(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, SEALED))
        with lab.inside("client"):
            sock = socket.socket()
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x50000000)
        sock.settimeout(3)
        with self.assertRaises(ConnectionRefusedError):
            sock.connect((lab.TARGET, PORT))

    def test_an_established_connection_is_reset(self):
        lab, helper = self.lab, self.start()
        stranger, allowed = self.connect(source=lab.STRANGER), self.connect(source=lab.ALLOWED)
        self.assertTrue(is_answering(stranger) and is_answering(allowed))
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        with self.assertRaises(ConnectionResetError):
            is_answering(stranger)
        self.assertTrue(is_answering(allowed))

    def assert_stream_ends(self, sock):
        """No more bytes than were on their way."""
        sock.settimeout(1)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            deadline = time.monotonic() + 5
            while sock.recv(65536):
                self.assertLess(time.monotonic(), deadline, "the stream goes on")

    def test_a_reply_in_flight_stops(self):
        lab, helper = self.lab, self.start()
        for target, stranger, allowed in ((lab.TARGET, lab.STRANGER, lab.ALLOWED),
                                          (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6)):
            with self.subTest(target):
                cut, kept = self.connect(target, stranger), self.connect(target, allowed)
                for sock in (cut, kept):
                    sock.sendall(b"s")
                    self.assertTrue(sock.recv(4))
                self.assert_ok(helper.block(target, PORT, DEFAULT))
                self.assert_stream_ends(cut)
                for _ in range(20):
                    self.assertTrue(kept.recv(4))

    def test_a_client_that_ignores_resets_gets_nothing(self):
        """Conntrack forgets the refused connection; the server's repetition must not revive it."""
        lab, helper = self.lab, self.start()
        self.lab.run("target", "sysctl", "-qw",
                     "net.netfilter.nf_conntrack_tcp_timeout_close=1",
                     "net.netfilter.nf_conntrack_tcp_timeout_close_wait=1")
        lab.run("client", "nft", "add table inet deaf; add chain inet deaf in { type filter hook "
                "prerouting priority -400; }; add rule inet deaf in tcp flags rst drop")
        self.addCleanup(lab.run, "client", "nft", "delete table inet deaf")
        sock = self.connect(source=lab.STRANGER)
        self.assertTrue(is_answering(sock))
        sock.sendall(b"l")
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        sock.sendall(b"x")  # is refused, after which conntrack has the connection as closed
        sock.settimeout(8)  # the server repeats its answer after 0.2, 0.6, 1.4, 3 and 6.2 s
        with self.assertRaises(TimeoutError):
            sock.recv(1)

    def test_translated_destinations(self):
        lab, helper = self.lab, self.start()
        self.lab.nft("add table ip shift; add chain ip shift pre { type nat hook prerouting "
                     "priority dstnat; }; add rule ip shift pre tcp dport 8000 dnat to "
                     f"{lab.TARGET}:{PORT}")
        self.assert_open(port=8000, source=lab.STRANGER)
        for what, port in (("as clients name it", 8000), ("as the server has it", PORT)):
            with self.subTest(what):
                streaming = self.connect(port=8000, source=lab.STRANGER)
                streaming.sendall(b"s")
                self.assertTrue(streaming.recv(4))
                self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
                self.assert_reset(port=8000, source=lab.STRANGER)
                self.assert_open(port=8000, source=lab.ALLOWED)
                self.assert_stream_ends(streaming)
                self.assertGreater(helper.list()[(lab.TARGET, port)].packets, 0)
                self.assert_ok(helper.unblock(lab.TARGET, port))

    def test_outgoing_connections_from_a_blocked_port_are_untouched(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, 9101, DEFAULT))
        with contextlib.closing(Echo(lab, "client", lab.STRANGER, 7000)):
            with lab.inside("target"):
                sock = socket.socket()
            self.addCleanup(sock.close)
            sock.settimeout(3)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((lab.TARGET, 9101))
            sock.connect((lab.STRANGER, 7000))
            self.assertTrue(is_answering(sock))
            self.assert_ok(helper.block(lab.TARGET, 9101, DEFAULT))
            self.assertTrue(is_answering(sock))

    def test_untracked_traffic(self):
        lab, helper = self.lab, self.start()
        self.lab.nft(f"add table inet raw; add chain inet raw pre {{ type filter hook prerouting "
                     f"priority raw; }}; add chain inet raw out {{ type filter hook output priority "
                     f"raw; }}; add rule inet raw pre tcp dport {PORT} notrack; add rule inet raw "
                     f"out tcp sport {PORT} notrack")
        for target, stranger, allowed in ((lab.TARGET, lab.STRANGER, lab.ALLOWED),
                                          (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6)):
            with self.subTest(target):
                streaming = self.connect(target, stranger)
                streaming.sendall(b"s")
                self.assertTrue(streaming.recv(4))
                self.assert_ok(helper.block(target, PORT, DEFAULT))
                self.assert_stream_ends(streaming)
                self.assert_reset(target, stranger)
                self.assert_open(target, allowed)

    def test_timeouts_expire_and_a_refresh_extends(self):
        lab, helper = self.lab, self.start()
        start = time.monotonic()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, timeout_ms=2000))
        self.assert_ok(helper.block(lab.TARGET6, PORT, DEFAULT, timeout_ms=2000))
        time.sleep(1)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, timeout_ms=5000))
        time.sleep(max(0.0, start + 3 - time.monotonic()))
        self.assert_reset(source=lab.STRANGER)
        self.assert_open(lab.TARGET6, lab.STRANGER6)
        self.assertEqual(set(helper.list()), {(lab.TARGET, PORT)})
        self.assertEqual(helper.unblock(lab.TARGET6, PORT).result, NOT_FOUND)
        wait_until(lambda: not lab.is_refused(lab.TARGET, PORT, lab.STRANGER), 6, "expiry")
        self.assertGreater(time.monotonic() - start, 5.5)

    def test_the_same_timeout_extends_too(self):
        lab, helper = self.lab, self.start()
        for _ in range(4):
            self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, timeout_ms=2000))
            time.sleep(0.8)
        self.assert_reset(source=lab.STRANGER)
        self.assertGreater(helper.list()[(lab.TARGET, PORT)].expires_ms, 500)

    def test_counters_count_what_is_refused_and_survive(self):
        lab, helper = self.lab, self.start()
        port = self.add_quiet_port()
        key = (lab.TARGET, port)
        self.assert_ok(helper.block(*key, DEFAULT))
        self.assert_open(source=lab.ALLOWED, port=port)
        self.assertEqual(helper.list()[key].packets, 0, "who is let through is not counted")
        for _ in range(3):
            self.assert_reset(source=lab.STRANGER, port=port)
        before = helper.list()[key]
        self.assertEqual(before.packets, 3)
        self.assertGreaterEqual(before.bytes, 120)
        self.assert_ok(helper.block(*key, DEFAULT))       # a refresh
        self.assert_ok(helper.block(*key, SEALED))        # under another rule
        helper.reload(self.config())                      # a new table
        self.assert_reset(source=lab.STRANGER, port=port)
        after = helper.list()[key]
        self.assertEqual((after.packets, after.rule), (4, SEALED))

    def test_requests_that_the_policy_refuses(self):
        lab, helper = self.lab, self.start()
        for result, kwargs in (
                (PROTECTED_PORT, {"port": 22}),
                (PROTECTED_PORT, {"port": 9464}),
                (BAD_RULE, {"rule": 4}),
                (BAD_RULE, {"rule": ALERTS}),
                (BAD_TIMEOUT, {"timeout_ms": 0}),
                (BAD_TIMEOUT, {"timeout_ms": 31 * 86_400_000}),
                (BAD_ADDRESS, {"address": "127.0.0.1"}),
                (BAD_ADDRESS, {"address": "255.255.255.255"}),
                (BAD_ADDRESS, {"address": "::"}),
                (STALE, {"generation": helper.generation + 1})):
            with self.subTest(kwargs):
                reply = helper.block(**{"address": lab.TARGET, "port": PORT, "rule": DEFAULT,
                                        **kwargs})
                self.assertEqual(reply.result, result)
        self.assertEqual(helper.list(), {})
        self.assertEqual(helper.ask(STATUS).blocks, 0)

    def test_caps(self):
        helper = self.start(firewall={"max_blocks": 2, "max_blocks_per_minute": 3})
        self.assert_ok(helper.block("10.0.0.1", 1000))
        self.assert_ok(helper.block("10.0.0.2", 1000))
        for _ in range(5):  # refreshes are free
            self.assert_ok(helper.block("10.0.0.2", 1000))
        self.assertEqual(helper.block("10.0.0.3", 1000).result, TOO_MANY)
        self.assert_ok(helper.unblock("10.0.0.1", 1000))
        self.assert_ok(helper.block("10.0.0.3", 1000))
        self.assert_ok(helper.unblock("10.0.0.3", 1000))
        self.assertEqual(helper.block("10.0.0.4", 1000).result, TOO_FAST)
        self.assertEqual(helper.ask(STATUS).blocks, 1)

    def test_restored_blocks_are_not_new(self):
        """After a start there is no limit to how fast they come, but to how many there are."""
        helper = self.start(firewall={"max_blocks": 4, "max_blocks_per_minute": 1})
        for last in (1, 2, 3):
            self.assert_ok(helper.block(f"10.0.0.{last}", 1000, restored=1))
        self.assert_ok(helper.block("10.0.0.4", 1000))
        self.assertEqual(helper.block("10.0.0.5", 1000, restored=1).result, TOO_MANY)
        self.assert_ok(helper.unblock("10.0.0.3", 1000))
        self.assertEqual(helper.block("10.0.0.5", 1000).result, TOO_FAST)
        self.assert_ok(helper.block("10.0.0.5", 1000, restored=1))

    def assert_counted(self, places, packets):
        listed = self.helper.list()
        self.assertEqual([listed[place].packets for place in places], packets)

    def test_thousands_of_blocks_where_there_were_few(self):
        """They come with a table of their own, and their counters right after it."""
        lab = self.lab
        limits = {"max_blocks": 6000, "max_blocks_per_minute": 6000}
        helper = self.helper = self.start(firewall=limits)
        with lab.inside("target"):
            server = socket.create_server((lab.TARGET, PORT + 1))
        self.addCleanup(server.close)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assert_reset(source=lab.STRANGER)
        self.assert_reset(source=lab.STRANGER)
        places = [(f"10.0.{i >> 8}.{i & 255}", 1000) for i in range(2500)]
        places += [(f"fd00::{i:x}", 1000) for i in range(1, 2500)]
        places += [(lab.TARGET, PORT + 1)]
        helper.block_many([(*place, SEALED if i % 2 else DEFAULT, 600_000)
                           for i, place in enumerate(places)])
        self.assertEqual(set(helper.list()), {*places, (lab.TARGET, PORT)})
        for port in (PORT, PORT + 1):
            self.assert_reset(source=lab.STRANGER, port=port)
        self.assert_open(source=lab.ALLOWED)
        self.assert_counted([(lab.TARGET, PORT), (lab.TARGET, PORT + 1), places[0]], [3, 1, 0])
        helper.block_many([(*place, DEFAULT, 600_000) for place in places])
        self.assert_counted([(lab.TARGET, PORT), (lab.TARGET, PORT + 1), places[0]], [3, 1, 0])
        self.assert_ok(helper.unblock(lab.TARGET, PORT + 1))
        self.assertEqual(len(helper.list()), len(places))

    def test_thousands_that_are_refused_change_nothing(self):
        helper = self.start(firewall={"max_blocks": 6000, "max_blocks_per_minute": 6000})
        self.assert_ok(helper.block("192.0.2.1", 80))
        before = self.count_transactions()
        helper.block_many([(f"10.0.{i >> 8}.{i & 255}", 22, 1, 60_000) for i in range(5000)],
                          PROTECTED_PORT)
        self.assertEqual(self.count_transactions(), before)
        self.assertEqual(set(helper.list()), {("192.0.2.1", 80)})

    def test_blocks_that_come_together(self):
        """Each has its own answer; what is refused takes nothing with it."""
        helper = self.start(firewall={"max_blocks": 4, "max_blocks_per_minute": 100})
        helper.block("192.0.2.9", 80, timeout_ms=60_000)
        got = helper.ask_at_once([
            ("192.0.2.1", 80, 1, 60_000), ("192.0.2.2", 22, 1, 60_000),
            ("192.0.2.3", 80, 77, 60_000), ("192.0.2.9", 80, 1, 600_000),
            ("192.0.2.4", 80, 1, 1), ("2001:db8::1", 80, MANUAL, 60_000),
            ("192.0.2.1", 80, 1, 90_000), ("192.0.2.5", 80, 1, 60_000),
            ("192.0.2.6", 80, 1, 60_000)])
        self.assertEqual([r.result for r in got],
                         [OK, PROTECTED_PORT, BAD_RULE, OK, BAD_TIMEOUT, OK,
                          OK, OK, TOO_MANY])
        listed = helper.list()
        self.assertEqual(set(listed), {("192.0.2.9", 80), ("192.0.2.1", 80),
                                       ("2001:db8::1", 80), ("192.0.2.5", 80)})
        self.assertGreater(listed["192.0.2.9", 80].expires_ms, 500_000)
        self.assertGreater(listed["192.0.2.1", 80].expires_ms, 80_000)
        self.assertEqual(listed["2001:db8::1", 80].rule, MANUAL)

    def count_transactions(self):
        """Of this namespace, until our last one."""
        stamp = self.lab.nft("list", "set", "inet", "pprofwall", "stamp").stdout
        return int(re.search(r"elements = { (0x[0-9a-f]+)", stamp)[1], 16)

    def test_many_blocks_are_one_transaction(self):
        """Those that are new, and such as are renewed and get another rule."""
        limits = {"max_blocks": 2000, "max_blocks_per_minute": 2000}
        helper = self.start(firewall=limits)
        places = [(f"10.0.{i >> 8}.{i & 255}", 80) for i in range(600)]
        for rules in ((DEFAULT, DEFAULT, DEFAULT), (DEFAULT, SEALED, MANUAL)):
            before = self.count_transactions()
            replies = helper.ask_at_once([(*place, rules[i % 3], 600_000)
                                          for i, place in enumerate(places)], 200)
            self.assertEqual({reply.result for reply in replies}, {OK})
            self.assertEqual(self.count_transactions(), before + 1)
            listed = helper.list()
            self.assertEqual(set(listed), set(places))
            self.assertEqual([listed[place].rule for place in places],
                             [rules[i % 3] for i in range(len(places))])

    def test_blocks_that_the_kernel_refuses_together(self):
        """A second verdict for a key is EEXIST: then they are made one by one."""
        helper = self.start()
        got = helper.ask_at_once([("192.0.2.1", 80, 1, 60_000), ("192.0.2.2", 80, 1, 60_000)])
        self.assertEqual([r.result for r in got], [OK, OK])
        if self.persist == "off":
            self.lab.nft("delete", "element", "inet", "pprofwall", "block4",
                         "{ 192.0.2.1 . tcp . 80 }")
            self.lab.nft("delete", "table", "inet", "pprofwall")
        got = helper.ask_at_once([("192.0.2.1", 80, MANUAL, 60_000),
                                  ("192.0.2.1", 80, 1, 60_000),
                                  ("192.0.2.3", 80, 1, 60_000)])
        self.assertEqual([r.result for r in got], [OK] * 3)
        listed = helper.list()
        self.assertEqual(set(listed), {(f"192.0.2.{i}", 80) for i in (1, 2, 3)})
        self.assertEqual(listed["192.0.2.1", 80].rule, 1)

    def test_unblock_of_what_is_not_there(self):
        helper = self.start()
        self.assertEqual(helper.unblock("10.0.0.1", 1000).result, NOT_FOUND)
        self.assert_ok(helper.block("10.0.0.2", 1000))

    def test_many_blocks_are_listed(self):
        helper = self.start(firewall={"max_blocks": 5000, "max_blocks_per_minute": 5000})
        wanted = {(f"10.0.{i >> 8}.{i & 255}", 1000) for i in range(1, 1500)}
        wanted |= {(f"fd00::{i:x}", 1000) for i in range(1, 500)}
        for address, port in wanted:
            self.assert_ok(helper.block(address, port))
        self.assertEqual(set(helper.list()), wanted)
        helper.reload(self.config(firewall={"max_blocks": 5000}))
        self.assertEqual(set(helper.list()), wanted)

    def test_answers_pings_on_both_sockets(self):
        helper = self.start()
        for peer in (helper.parent, helper.agent):
            seq = peer.send(PING)
            self.assertEqual(peer.receive(), (PONG, seq, b""))

    def test_routed_traffic(self):
        lab, helper = self.lab, self.start()
        self.add_pod()
        for pod, stranger, allowed in ((POD, lab.STRANGER, lab.ALLOWED),
                                       (POD6, lab.STRANGER6, lab.ALLOWED6)):
            with self.subTest(pod):
                cut, kept = self.connect(pod, stranger), self.connect(pod, allowed)
                for sock in (cut, kept):
                    sock.sendall(b"s")
                    self.assertTrue(sock.recv(4))
                self.assert_ok(helper.block(pod, PORT, DEFAULT))
                self.assert_stream_ends(cut)
                for _ in range(20):
                    self.assertTrue(kept.recv(4))
                self.assert_reset(pod, stranger)
                self.assert_open(pod, allowed)
                # The host itself is a kubelet.
                self.assertEqual(self.connect_as(1000, pod), "got e")
                self.assertEqual(self.connect_as(PROBER_UID, pod), "got e")
                self.assert_ok(helper.block(pod, PORT, SEALED))
                self.assertEqual(self.connect_as(1000, pod), "ConnectionRefusedError")
                self.assertEqual(self.connect_as(PROBER_UID, pod), "got e")

    def test_translated_to_a_pod(self):
        lab, helper = self.lab, self.start()
        self.add_pod()
        lab.nft("add table ip shift; add chain ip shift pre { type nat hook prerouting priority "
                f"dstnat; }}; add rule ip shift pre tcp dport 8000 dnat to {POD}:{PORT}")
        for block in ((lab.TARGET, 8000), (POD, PORT)):
            with self.subTest(block):
                streaming = self.connect(port=8000, source=lab.STRANGER)
                streaming.sendall(b"s")
                self.assertTrue(streaming.recv(4))
                self.assert_ok(helper.block(*block, DEFAULT))
                self.assert_stream_ends(streaming)
                self.assert_reset(port=8000, source=lab.STRANGER)
                self.assert_open(port=8000, source=lab.ALLOWED)
                self.assert_ok(helper.unblock(*block))

    def test_masqueraded_connections_from_a_blocked_port_are_untouched(self):
        lab, helper, port = self.lab, self.start(), self.add_quiet_port()
        self.add_pod()
        lab.nft("add table ip shift; add chain ip shift post { type nat hook postrouting priority "
                "srcnat; }; add rule ip shift post ip saddr 10.92.0.0/24 oifname eth0 meta "
                f"l4proto tcp masquerade to :{port}")
        self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
        with contextlib.closing(Echo(lab, "client", lab.STRANGER, 7000)):
            sock = self.connect(lab.STRANGER, port=7000, namespace="pod")
            self.assertTrue(is_answering(sock))
            self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
            self.assertTrue(is_answering(sock))
        self.assertEqual(helper.list()[(lab.TARGET, port)].packets, 0)


class Lifecycle:
    """Configurations, deaths, panics and other programs; once with each kind of table."""

    def test_a_successor_adopts_what_a_killed_helper_left(self):
        lab, helper, port = self.lab, self.start(), self.add_quiet_port()
        self.assert_ok(helper.block(lab.TARGET, port, SEALED, timeout_ms=20_000))
        self.assert_ok(helper.block(lab.TARGET6, PORT, MANUAL, timeout_ms=1500))
        self.assert_ok(helper.block("10.0.0.1", 443, DEFAULT))
        self.assert_ok(helper.block("10.0.0.2", 1000, DEFAULT))
        self.assert_reset(source=lab.STRANGER, port=port)
        helper.kill()
        self.assert_reset(source=lab.STRANGER, port=port)
        self.assert_reset(lab.TARGET6, lab.STRANGER6)
        time.sleep(1.6)  # while nobody runs, blocks expire all the same
        self.assert_open(lab.TARGET6, lab.STRANGER6)
        # Another order, one rule gone, one port protected now.
        config = self.config(protect={"ports": [443]})
        config["breakers"] = [{"name": "new"}, CONFIG["breakers"][1]]
        self.helper = Helper(lab).start(config)
        blocks = self.helper.list()
        self.assertEqual(set(blocks), {(lab.TARGET, port), ("10.0.0.2", 1000)})
        adopted = blocks[(lab.TARGET, port)]
        self.assertEqual((adopted.rule, adopted.packets), (2, 2))
        self.assertTrue(10_000 < adopted.expires_ms < 18_500, adopted)
        self.assertEqual(blocks[("10.0.0.2", 1000)].rule, ORPHAN)
        self.assert_reset(source=lab.STRANGER, port=port)
        self.assert_ok(self.helper.unblock(lab.TARGET, port))
        self.assert_open(source=lab.STRANGER, port=port)

    def test_a_successor_carries_over_the_counters_of_many(self):
        """So many that they are asked for one by one; some of them nobody has any more."""
        lab, port = self.lab, self.add_quiet_port()
        limits = {"max_blocks": 5000, "max_blocks_per_minute": 5000}
        helper = self.start(firewall=limits)
        gone = ["10.0.0.0", "10.0.0.77", "10.0.4.75"]
        for at in range(0, 1100, 50):
            replies = helper.ask_at_once(
                [(f"10.0.{i >> 8}.{i & 255}", 9100, DEFAULT, 60_000)
                 for i in range(at, at + 50)])
            for reply in replies:
                self.assert_ok(reply)
        self.assert_ok(helper.block(lab.TARGET, port, SEALED))
        self.assert_ok(helper.block(lab.TARGET6, PORT, MANUAL))
        for _ in range(3):
            self.assert_reset(source=lab.STRANGER, port=port)
        self.assert_reset(lab.TARGET6, lab.STRANGER6)
        before = helper.list()
        self.assertEqual(len(before), 1102)
        counted = {key: (reply.packets, reply.bytes) for key, reply in before.items()}
        self.assertEqual(counted[(lab.TARGET, port)][0], 3)
        self.assertEqual(counted[(lab.TARGET6, PORT)][0], 1)
        self.assertEqual(sum(packets for packets, _ in counted.values()), 4)
        helper.kill()
        for address in gone:
            lab.nft(f"delete element inet pprofwall hits4 {{ {address} . tcp . 9100 }}")
        self.helper = Helper(lab).start(self.config(firewall=limits))
        self.assertEqual({key: (reply.packets, reply.bytes)
                          for key, reply in self.helper.list().items()}, counted)
        self.assert_reset(source=lab.STRANGER, port=port)
        self.assertEqual(self.helper.list()[(lab.TARGET, port)].packets, 4)

    def hammer(self, stop, outcomes):
        """Connects without pause; the wall has a gap if anybody gets through."""
        while not stop.is_set():
            try:
                self.lab.connect(self.lab.TARGET, PORT, source=self.lab.STRANGER).close()
                outcomes.append("open")
            except ConnectionRefusedError:
                outcomes.append("reset")
            except OSError as err:
                outcomes.append(repr(err))

    def test_there_is_no_gap_while_tables_are_replaced(self):
        lab, helper = self.lab, self.start()
        stop, outcomes = threading.Event(), []
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        hammers = [threading.Thread(target=self.hammer, args=(stop, outcomes)) for _ in range(3)]
        for thread in hammers:
            thread.start()
        try:
            for _ in range(30):
                helper.reload(self.config())
                self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
            for _ in range(5):
                self.helper.kill()
                self.helper = Helper(lab).start(self.config())
        finally:
            stop.set()
            for thread in hammers:
                thread.join()
        self.assertGreater(len(outcomes), 100)
        self.assertEqual(set(outcomes), {"reset"})

    def test_reload_changes_who_is_let_through(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, timeout_ms=30_000))
        config = self.config()
        config["breakers"][0]["allow_from"] = ["10.91.0.4/32", "10.91.0.5/32"]
        config["breakers"].reverse()
        self.assertEqual(helper.check(config), (0, ""))
        self.assert_reset(source=lab.STRANGER)  # only checked
        self.assertEqual(helper.commit(), (0, ""))
        self.assert_open(source=lab.STRANGER)
        self.assert_reset(source=lab.ALLOWED)
        block = helper.list()[(lab.TARGET, PORT)]
        self.assertEqual(block.rule, 3)  # the same rule, another number
        self.assertTrue(20_000 < block.expires_ms <= 30_000)
        self.assertEqual(
            helper.block(lab.TARGET, PORT, DEFAULT, generation=helper.generation - 1).result, STALE)

    def test_reload_that_protects_the_port_lifts_the_block(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        helper.reload(self.config(protect={"ports": [PORT]}))
        self.assert_open(source=lab.STRANGER)
        self.assertEqual(helper.list(), {})

    def test_a_bad_configuration_changes_nothing(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        generation = helper.generation
        error, text = helper.check({"mode": "enforced"})
        self.assertLess(error, 0)
        self.assertRegex(text, "1:10:.*enforce")
        self.assertLess(helper.commit()[0], 0)
        other = "off" if self.persist == "auto" else "auto"
        error, text = helper.check({**self.config(), "firewall": {"persist": other}})
        self.assertLess(error, 0)
        self.assertIn("firewall.persist", text)
        error, text = helper.check({**self.config(), "firewall": {
            "persist": self.persist, "mark": "0x1", "mark_mask": "0xf0"}})
        self.assertLess(error, 0)
        self.assertEqual(helper.check(self.config())[0], 0)
        helper.parent.abort()
        self.assertLess(helper.commit()[0], 0)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, generation=generation))
        self.assert_reset(source=lab.STRANGER)

    def test_panic_by_signal(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        os.kill(helper.pid, signal.SIGUSR1)
        event = helper.wait_event()
        self.assertEqual((event.result, event.panicked, event.blocks), (PANICKED, 1, 0))
        self.assert_open(source=lab.STRANGER)
        self.assertEqual(self.tool("--table-exists").returncode, 1)
        self.assert_panicked_and_resume()

    def test_panic_by_request(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assertEqual(helper.ask(PANIC).panicked, 1)
        self.assert_open(source=lab.STRANGER)
        helper.reload(self.config())  # is no way out
        self.assert_panicked_and_resume()

    def test_panic_from_the_start(self):
        helper = self.start()
        self.assert_ok(helper.block(self.lab.TARGET, PORT, DEFAULT))
        helper.kill()
        self.start(panic=True)
        self.assert_open(source=self.lab.STRANGER)
        self.assert_panicked_and_resume()

    def assert_panicked_and_resume(self):
        lab, helper = self.lab, self.helper
        self.assertEqual(self.tool("--table-exists").returncode, 1)
        self.assertEqual(helper.block(lab.TARGET, PORT, DEFAULT).result, PANICKED)
        self.assertEqual(helper.unblock(lab.TARGET, PORT).result, NOT_FOUND)
        self.assertEqual(helper.list(), {})
        self.assertEqual(helper.ask(RESUME).panicked, 0)
        self.assertEqual(self.tool("--table-exists").returncode, 0)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assert_reset(source=lab.STRANGER)

    def test_stop_obeys_on_stop(self):
        lab = self.lab
        helper = self.start(on_stop="keep")
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        for number in (signal.SIGTERM, signal.SIGINT):  # the parent's word counts
            os.kill(helper.pid, number)
        self.assertEqual(helper.ask(STATUS).result, OK)
        self.assertEqual(helper.stop(), 0)
        self.assert_reset(source=lab.STRANGER)
        helper = self.start(on_stop="remove")
        self.assert_reset(source=lab.STRANGER)
        self.assertEqual(helper.stop(), 0)
        self.assert_open(source=lab.STRANGER)
        self.assertEqual(self.tool("--table-exists").returncode, 1)

    def test_the_table_stays_when_the_parent_goes(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        helper.parent.close()
        self.assertEqual(helper.process.wait(5), 1)
        self.assert_reset(source=lab.STRANGER)

    def test_the_end_of_the_agent_is_the_parents_affair(self):
        """In an orderly stop the agent ends first."""
        lab, helper = self.lab, self.start(on_stop="remove")
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        for _ in range(50):  # and does not wait for its answers
            helper.agent.send(FW_REQUEST, REQUEST.pack(VERSION, STATUS, 0, 0, 0, bytes(16), 0, 0, 0, 0))
        helper.agent.close()
        seq = helper.parent.send(PING)
        self.assertEqual(helper.parent.receive(), (PONG, seq, b""))
        self.assert_reset(source=lab.STRANGER)
        self.assertEqual(helper.stop(), 0)
        self.assert_open(source=lab.STRANGER)

    def test_malformed_messages_close_the_connection(self):
        good = REQUEST.pack(VERSION, BLOCK, PORT, socket.AF_INET, 0, bytes([10]) + bytes(15), 1, 0, 1,
                            60_000)
        for what, kind, body in (
                ("short", FW_REQUEST, good[:-1]), ("long", FW_REQUEST, good + b"\0"),
                ("version", FW_REQUEST, b"\1" + good[1:]),
                ("fallback", FW_REQUEST, good[:7] + b"\2" + good[8:]),
                ("restored", FW_REQUEST, good[:28] + b"\2" + good[29:]),
                ("padding", FW_REQUEST, good[:29] + b"\1" + good[30:]),
                ("verb", FW_REQUEST, good[:2] + b"\xff" + good[3:]), ("type", 7, good)):
            with self.subTest(what):
                helper = self.start()
                seq = helper.agent.send(kind, body)
                if kind == FW_REQUEST:
                    got, answered, reply = helper.agent.receive()
                    self.assertEqual((got, answered, reply[2]), (FW_REPLY, seq, MALFORMED))
                self.assertIsNone(helper.agent.receive())
                self.assertEqual(helper.process.wait(5), 1)
        helper = self.start()
        helper.agent.sock.send(b"no frame at all, but as long as one is")
        self.assertIsNone(helper.agent.receive())
        self.assertEqual(helper.process.wait(5), 1)

    def test_the_tools(self):
        helper = self.start()
        self.assertEqual(self.tool("--table-exists").returncode, 0)
        start = time.monotonic()
        done = self.tool("--delete-table")
        self.assertLess(time.monotonic() - start, GATE)
        owned = self.persist == "auto" and is_persist_possible()
        self.assertEqual(done.returncode, 1 if owned else 0)
        self.assertEqual(len(done.stderr.splitlines()), 1 if owned else 0)
        helper.kill()
        self.assertEqual(self.tool("--delete-table").returncode, 0)
        self.assertEqual(self.tool("--table-exists").returncode, 1)
        self.assertEqual(self.tool("--delete-table").returncode, 0)
        self.assertEqual(self.tool("--nonsense").returncode, 1)


class OwnedTable(Rules, Lifecycle, Base):
    persist = "auto"

    @unittest.skipUnless(is_persist_possible(), "Linux 6.9 or later")
    def test_others_cannot_touch_the_table(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        lab.nft("flush", "ruleset")
        self.assertNotEqual(lab.nft("delete", "table", "inet", "pprofwall",
                                    check=False).returncode, 0)
        self.assert_reset(source=lab.STRANGER)
        self.assertEqual(helper.ask(STATUS).reconciliations, 0)

    @unittest.skipUnless(is_persist_possible(), "Linux 6.9 or later")
    def test_a_second_helper_is_refused(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        second = Helper(lab)
        self.assertEqual(second.check(self.config())[0], 0)
        error, text = second.commit()
        self.assertLess(error, 0)
        self.assertIn("another process", text)
        second.kill()
        self.assert_reset(source=lab.STRANGER)
        self.assert_ok(helper.unblock(lab.TARGET, PORT))


class PlainTable(Rules, Lifecycle, Base):
    persist = "off"

    def assert_restored(self, helper, *nft):
        start = time.monotonic()
        self.lab.nft(*nft)
        event = helper.wait_event()
        took = time.monotonic() - start
        self.assertEqual((event.result, event.blocks), (OK, 2))
        self.assertLess(took, GATE)
        self.assert_reset(source=self.lab.STRANGER)
        self.assert_open(source=self.lab.ALLOWED)

    def test_what_others_change_is_restored(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT, timeout_ms=30_000))
        self.assert_ok(helper.block(lab.TARGET6, PORT, DEFAULT, timeout_ms=30_000))
        key = f"{lab.TARGET} . tcp . {PORT}"
        table = "inet pprofwall"
        changes = [
            "flush ruleset", f"delete table {table}", f"flush chain {table} prerouting",
            f"flush map {table} block4", f"delete element {table} block4 {{ {key} }}",
            f"insert rule {table} prerouting accept", f"flush chain {table} refuse",
            f"add element {table} allow4_32_default {{ {lab.STRANGER} }}",
            f"add table {table} {{ flags dormant; }}"]
        for change in changes:
            with self.subTest(change):
                self.assert_restored(helper, change)
        self.assertEqual(helper.ask(STATUS).reconciliations, len(changes))
        self.assertTrue(5_000 < helper.list()[(lab.TARGET, PORT)].expires_ms < 30_000)
        # Other tables are other people's business.
        lab.nft("add", "table", "inet", "other")
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assertEqual(helper.ask(STATUS).reconciliations, len(changes))

    def test_counters_survive_a_change_that_leaves_them(self):
        lab, helper, port = self.lab, self.start(), self.add_quiet_port()
        self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
        self.assert_reset(source=lab.STRANGER, port=port)
        lab.nft("flush", "chain", "inet", "pprofwall", "prerouting")
        helper.wait_event()
        self.assertEqual(helper.list()[(lab.TARGET, port)].packets, 1)

    def test_a_panic_while_stopped_is_not_undone(self):
        """Root deletes the table of a helper that hangs, and then wakes it."""
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        os.kill(helper.pid, signal.SIGSTOP)
        os.kill(helper.pid, signal.SIGUSR1)
        self.assertEqual(self.tool("--delete-table").returncode, 0)
        self.assert_open(source=lab.STRANGER)
        os.kill(helper.pid, signal.SIGCONT)
        self.assertEqual(helper.wait_event().panicked, 1)
        self.assertEqual(helper.ask(STATUS).reconciliations, 0)
        self.assertEqual(self.tool("--table-exists").returncode, 1)


if __name__ == "__main__":
    unittest.main()
