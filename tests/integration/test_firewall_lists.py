# SPDX-License-Identifier: GPL-2.0-or-later
"""The firewall helper's lists beside its blocks: the ledger of who connects, and how it refuses."""
import contextlib
import os
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import (  # noqa: E402
    BAD_ADDRESS, BAD_RULE, NOT_FOUND, PANIC, PANICKED, PROBER_UID, RESUME, STALE, Helper)
from lab import run, wait_until  # noqa: E402
from test_firewall import DEFAULT, PORT, SEALED, Base, Echo, is_answering  # noqa: E402

# Connects as another user, says so, and waits.
HOLD_AS = """
import os, socket, sys, time
uid, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
s = socket.socket(); s.connect((address, port)); s.sendall(b"x"); s.recv(1); print("open", flush=True)
time.sleep(600)
"""
DAYS30_MS = 30 * 86_400_000


class Ledger(Base):
    """Who connects is counted, in whatever mode, and nobody else."""

    def add_clients(self, first, last):
        """Addresses of the client's namespace, for clients that are told apart."""
        client = self.lab.name_of("client")
        for n in range(first, last + 1):
            run("ip", "-n", client, "address", "replace", f"10.91.0.{n}/24", "dev", "eth0")
        return [f"10.91.0.{n}" for n in range(first, last + 1)]

    def test_twenty_clients_of_which_one_connects_once(self):
        lab, helper = self.lab, self.start(mode="observe")
        clients = self.add_clients(100, 119)
        key = (lab.TARGET, PORT)
        self.assert_open(source=clients[0])  # before it is counted
        self.assert_ok(helper.ledger_add(*key))
        self.assertEqual(helper.ledger(), {})
        for client in clients:
            for _ in range(1 if client == clients[7] else 3):
                self.assert_open(source=client)
        found = helper.ledger(*key)[key]
        self.assertEqual({c: p.connections for c, p in found.items()},
                         {c: 1 if c == clients[7] else 3 for c in clients})
        for peer in found.values():
            self.assertLess(peer.idle_ms, 120_000)
            self.assertEqual(peer.idle_ms + peer.expires_ms, DAYS30_MS)

    def test_one_connection_counts_once_whatever_it_sends(self):
        lab, helper = self.lab, self.start(mode="observe")
        self.assert_ok(helper.ledger_add(lab.TARGET, PORT))
        sock = self.connect(source=lab.STRANGER)
        for _ in range(50):
            self.assertTrue(is_answering(sock))
        found = helper.ledger()[(lab.TARGET, PORT)]
        self.assertEqual({c: p.connections for c, p in found.items()}, {lab.STRANGER: 1})

    def test_ipv6_and_clients_of_this_host(self):
        lab, helper = self.lab, self.start(mode="observe")
        for address in (lab.TARGET6, lab.TARGET):
            self.assert_ok(helper.ledger_add(address, PORT))
        self.assert_open(lab.TARGET6, lab.STRANGER6)
        self.assertEqual(self.connect_as(1000, lab.TARGET), "got e")
        self.assertEqual(self.connect_as(PROBER_UID, lab.TARGET), "got e")  # is nobody's client
        self.assertEqual({key: {c: p.connections for c, p in peers.items()}
                          for key, peers in helper.ledger().items()},
                         {(lab.TARGET6, PORT): {lab.STRANGER6: 1},
                          (lab.TARGET, PORT): {lab.TARGET: 1}})

    def test_only_what_is_asked_for(self):
        lab, helper, port = self.lab, self.start(mode="observe"), self.add_quiet_port()
        self.assert_ok(helper.ledger_add(lab.TARGET, port))
        self.assert_open(source=lab.STRANGER)
        self.assert_open(source=lab.STRANGER, port=port)
        self.assertEqual(set(helper.ledger()), {(lab.TARGET, port)})
        self.assertEqual(helper.ledger(lab.TARGET, PORT), {})
        self.assert_ok(helper.ledger_remove(lab.TARGET, port))
        self.assertEqual(helper.ledger(), {})
        self.assertEqual(helper.ledger_remove(lab.TARGET, port).result, NOT_FOUND)
        self.assertEqual(helper.ledger_add("0.0.0.0", PORT).result, BAD_ADDRESS)
        self.assertEqual(helper.ledger_add("ff02::1", PORT).result, BAD_ADDRESS)

    def count(self, helper, client=None):
        found = helper.ledger().get((self.lab.TARGET, PORT), {})
        peer = found.get(client or self.lab.STRANGER)
        return peer.connections if peer else 0

    def test_counts_go_on_behind_a_block_and_over_new_tables(self):
        lab, helper = self.lab, self.start(mode="observe")
        self.assert_ok(helper.ledger_add(lab.TARGET, PORT))
        self.assert_open(source=lab.STRANGER)
        before = helper.ledger()[(lab.TARGET, PORT)][lab.STRANGER]
        time.sleep(0.3)
        helper.reload(self.config())
        after = helper.ledger()[(lab.TARGET, PORT)][lab.STRANGER]
        self.assertEqual(after.connections, 1)
        self.assertGreaterEqual(after.idle_ms, before.idle_ms + 300)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assert_reset(source=lab.STRANGER)
        self.assertEqual(self.count(helper), 2)
        self.assert_ok(helper.ledger_add(lab.TARGET, PORT))  # again: what was counted stays
        helper.kill()
        self.assert_reset(source=lab.STRANGER)  # nobody is there, and it is counted
        self.helper = helper = Helper(lab).start(self.config())
        self.assertEqual(self.count(helper), 3)
        self.assert_reset(source=lab.STRANGER)
        peer = helper.ledger()[(lab.TARGET, PORT)][lab.STRANGER]
        self.assertEqual(peer.connections, 4)
        self.assertLess(peer.idle_ms, 120_000)
        self.assertGreater(peer.expires_ms, DAYS30_MS - 120_000)

    def test_translated_destinations_count_under_both_names(self):
        lab, helper = self.lab, self.start(mode="observe")
        lab.nft("add table ip shift; add chain ip shift pre { type nat hook prerouting "
                "priority dstnat; }; add rule ip shift pre tcp dport 8000 dnat to "
                f"{lab.TARGET}:{PORT}")
        for port in (8000, PORT):
            self.assert_ok(helper.ledger_add(lab.TARGET, port))
        self.assert_open(port=8000, source=lab.STRANGER)
        self.assertEqual({key: {c: p.connections for c, p in peers.items()}
                          for key, peers in helper.ledger().items()},
                         {(lab.TARGET, 8000): {lab.STRANGER: 1},
                          (lab.TARGET, PORT): {lab.STRANGER: 1}})

    def test_a_panic_ends_counting_and_resume_takes_it_up(self):
        lab, helper = self.lab, self.start()
        self.assert_ok(helper.ledger_add(lab.TARGET, PORT))
        self.assert_ok(helper.ask(PANIC))
        self.assertEqual(helper.ledger_add(lab.TARGET, PORT + 1).result, PANICKED)
        self.assertEqual(helper.ledger(), {})
        self.assert_ok(helper.ask(RESUME))
        self.assert_open(source=lab.STRANGER)
        self.assertEqual(self.count(helper), 1)


class PlainLedger(Ledger):
    persist = "off"

    def test_a_foreign_flush_costs_the_counts_but_not_the_counting(self):
        lab, helper = self.lab, self.start(mode="observe")
        self.assert_ok(helper.ledger_add(lab.TARGET, PORT))
        lab.nft("flush", "ruleset")
        helper.wait_event()
        self.assert_open(source=lab.STRANGER)
        self.assertEqual(self.count(helper), 1)


class Allow(Base):
    """Whom files and names stand for, as the agent says it."""
    FILES = "@/etc/pprofwall/allowed"

    def start_with_names(self):
        config = self.config()
        config["breakers"][0]["allow_from"] = [self.lab.ALLOWED, self.FILES]
        self.named = config
        self.helper = Helper(self.lab).start(config)
        return self.helper

    def passes(self, source, address=None):
        try:
            sock = self.lab.connect(address or self.lab.TARGET, PORT, source=source)
        except ConnectionRefusedError:
            return False
        with contextlib.closing(sock):
            return is_answering(sock)

    def test_only_for_rules_with_files_or_names(self):
        helper = self.start()
        for rule in (0, DEFAULT, SEALED, 99):
            self.assertEqual(helper.allow(rule, "10.0.0.0/8").result, BAD_RULE)
        helper.reload({**self.config(), "breakers": [{"name": "a", "allow_from": [self.FILES]}]})
        self.assertEqual(helper.allow(1, "10.0.0.0/8", generation=helper.generation - 1).result,
                         STALE)
        self.assert_ok(helper.allow(1, "10.0.0.0/8"))

    def test_the_last_word_counts(self):
        lab, helper = self.lab, self.start_with_names()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assert_ok(helper.block(lab.TARGET6, PORT, DEFAULT))
        for said, stranger, stranger6 in (
                ((), False, False), ((lab.STRANGER,), True, False),
                ((lab.STRANGER, "10.91.0.77"), True, False),      # the same lengths
                (("10.91.0.77",), False, False),
                (("10.91.0.4/31", "fd91::/125"), True, True),     # others
                (("0.0.0.0/0",), True, False), ((lab.STRANGER6,), False, True),
                (("10.0.0.0/8", "10.91.0.0/16", lab.STRANGER), True, False),
                (("10.92.0.0/16", "fd92::/16"), False, False), ((), False, False)):
            with self.subTest(said):
                self.assert_ok(helper.allow(DEFAULT, *said))
                self.assertEqual(self.passes(lab.STRANGER), stranger)
                self.assertEqual(self.passes(lab.STRANGER6, lab.TARGET6), stranger6)
                self.assertTrue(self.passes(lab.ALLOWED))

    def test_it_survives_reload_death_and_panic(self):
        lab, helper = self.lab, self.start_with_names()
        self.assert_ok(helper.allow(DEFAULT, lab.STRANGER, "10.0.0.0/9", "fd91::/127"))
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assertTrue(self.passes(lab.STRANGER))
        helper.reload({**self.named, "breakers": list(reversed(self.named["breakers"]))})
        self.assertTrue(self.passes(lab.STRANGER))
        helper.kill()
        self.assertTrue(self.passes(lab.STRANGER))
        self.helper = helper = Helper(lab).start(self.named)
        self.assertTrue(self.passes(lab.STRANGER))
        self.assert_ok(helper.ask(PANIC))
        self.assert_ok(helper.ask(RESUME))
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assertTrue(self.passes(lab.STRANGER))
        helper.reload(self.config())  # without the file
        self.assertFalse(self.passes(lab.STRANGER))
        helper.reload(self.named)  # and it was forgotten
        self.assertFalse(self.passes(lab.STRANGER))

    def test_who_stays_on_the_list_never_notices_a_change(self):
        lab, helper = self.lab, self.start_with_names()
        self.assert_ok(helper.allow(DEFAULT, lab.STRANGER))
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        stop, failed, tries = threading.Event(), [], []

        def talk():
            while not stop.is_set():
                tries.append(1)
                if not self.passes(lab.STRANGER):
                    failed.append(1)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            for n in range(200):
                more = [f"10.77.{n}.{k}" for k in range(20)]
                more += ["10.78.0.0/16"] if n % 20 == 0 else []  # another length of prefixes
                self.assert_ok(helper.allow(DEFAULT, lab.STRANGER, *more))
        finally:
            stop.set()
            thread.join()
        self.assertGreater(len(tries), 50)
        self.assertEqual(failed, [])

    def test_the_longest_list(self):
        lab, helper = self.lab, self.start_with_names()
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        many = [f"172.16.{n >> 8}.{n & 255}" for n in range(2999)]
        self.assert_ok(helper.allow(DEFAULT, *many, lab.STRANGER))
        self.assertTrue(self.passes(lab.STRANGER))
        self.assert_ok(helper.allow(DEFAULT, *many))
        self.assertFalse(self.passes(lab.STRANGER))


class PlainAllow(Allow):
    persist = "off"

    def test_a_foreign_change_is_undone_with_the_list(self):
        lab, helper = self.lab, self.start_with_names()
        self.assert_ok(helper.allow(DEFAULT, lab.STRANGER))
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        lab.nft("flush set inet pprofwall dynamic4_32_default")
        helper.wait_event()
        self.assertTrue(self.passes(lab.STRANGER))


class Refusal(Base):
    def start_silent(self):
        config = self.config()
        config["breakers"][0]["refuse"] = "drop"
        self.helper = Helper(self.lab).start(config)
        return self.helper

    def test_a_silent_rule_says_nothing(self):
        lab, helper = self.lab, self.start_silent()
        for target, stranger, allowed in ((lab.TARGET, lab.STRANGER, lab.ALLOWED),
                                          (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6)):
            with self.subTest(target):
                established, kept = self.connect(target, stranger), self.connect(target, allowed)
                self.assertTrue(is_answering(established))
                self.assert_ok(helper.block(target, PORT, DEFAULT))
                with self.assertRaises(TimeoutError):
                    self.connect(target, stranger, timeout=1.5)
                established.settimeout(1.5)
                with self.assertRaises(TimeoutError):
                    is_answering(established)
                self.assertTrue(is_answering(kept))
                self.assert_open(target, allowed)
                self.assertGreater(helper.list()[(target, PORT)].packets, 0)
                self.assert_ok(helper.block(target, PORT, SEALED))  # another rule: a reset
                self.assert_reset(target, stranger)


class Severing(Base):
    """What a block cuts does not stay with the server."""

    def sockets(self, port=PORT):
        """Clients of the server's established sockets."""
        out = self.lab.run("target", "ss", "-Htn", "state", "established",
                           f"( sport = :{port} )").stdout
        return sorted(line.split()[3].removeprefix("[::ffff:").replace("]:", ":")
                      .removeprefix("[") for line in out.splitlines())

    def name(self, sock):
        host, port = sock.getsockname()[:2]
        return f"{host}:{port}"

    def wait_sockets(self, *socks, port=PORT):
        wanted = sorted(self.name(s) for s in socks)
        wait_until(lambda: self.sockets(port) == wanted, 5,
                   f"{wanted} are left, not {self.sockets(port)}")

    def test_idle_connections_of_strangers_end_and_others_live_on(self):
        lab = self.lab
        for target, stranger, allowed, protected in (
                (lab.TARGET, lab.STRANGER, lab.ALLOWED, "10.91.0.9"),
                (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6, "fd91::9")):
            with self.subTest(target):
                helper = self.start()
                cut = [self.connect(target, stranger) for _ in range(3)]
                kept = [self.connect(target, allowed), self.connect(target, protected),
                        self.connect(target, target, namespace="target")]
                self.assertTrue(all(is_answering(s) for s in cut + kept))
                self.wait_sockets(*cut, *kept)
                self.assert_ok(helper.block(target, PORT, DEFAULT))
                self.wait_sockets(*kept)
                for sock in cut:  # told, although they sent nothing
                    self.assertRaises(ConnectionResetError, sock.recv, 1)
                self.assertTrue(all(is_answering(s) for s in kept))
                for sock in kept:
                    sock.close()
                helper.kill()
                lab.nft("flush", "ruleset")

    def test_seal_local_ends_those_of_this_host_but_not_the_probers(self):
        lab, helper = self.lab, self.start()
        prober = lab.process("target", sys.executable, "-c", HOLD_AS, PROBER_UID, lab.TARGET, PORT)
        prober.wait_line("open")
        local = self.connect(lab.TARGET, namespace="target")
        self.assertTrue(is_answering(local))
        self.assertEqual(len(self.sockets()), 2)
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        self.assertTrue(is_answering(local))
        self.assert_ok(helper.block(lab.TARGET, PORT, SEALED))  # another rule, which is stricter
        wait_until(lambda: len(self.sockets()) == 1, 5, "only the prober's is left")
        self.assertRaises(ConnectionResetError, local.recv, 1)
        prober.end()

    def test_local_clients_that_come_meanwhile(self):
        """The kernel's table is walked while they connect: one end may be seen without the other."""
        helper = self.start(firewall={"max_blocks_per_minute": 5000})
        over, cut, answered = threading.Event(), [], []

        def go_on():
            with self.lab.inside("target"):
                while not over.is_set():
                    try:
                        with socket.create_connection((self.lab.TARGET, PORT), 20) as sock:
                            answered.append(is_answering(sock))
                    except OSError as error:
                        cut.append(error)
        clients = [threading.Thread(target=go_on) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            for _ in range(500):
                self.assert_ok(helper.block(self.lab.TARGET, PORT, DEFAULT))
                self.assert_ok(helper.unblock(self.lab.TARGET, PORT))
        finally:
            over.set()
            for client in clients:
                client.join()
        self.assertEqual(cut, [])
        self.assertGreater(len(answered), 20)
        self.assertTrue(all(answered))

    def connect_out(self, port):
        """From the address and a port of the target to a server of the client's."""
        lab = self.lab
        with lab.inside("target"):
            sock = socket.socket()
        self.addCleanup(sock.close)
        sock.settimeout(3)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((lab.TARGET, port))
        sock.connect((lab.STRANGER, 7000))
        self.assertTrue(is_answering(sock))
        return sock

    def test_connections_from_a_blocked_port_live_on(self):
        lab, helper = self.lab, self.start()
        with contextlib.closing(Echo(lab, "client", lab.STRANGER, 7000)):
            tracked = self.connect_out(9101)
            lab.nft("add table ip raw; add chain ip raw out { type filter hook output priority "
                    "raw; }; add rule ip raw out tcp sport 9102 notrack; add chain ip raw in { "
                    "type filter hook prerouting priority raw; }; add rule ip raw in tcp dport "
                    "9102 notrack")
            unknown = self.connect_out(9102)
            for port in (9101, 9102):
                self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
            self.assertTrue(is_answering(tracked))
            # After this reply, both have been looked for.
            self.assert_ok(helper.unblock(lab.TARGET, 9102))
            self.assertEqual(self.sockets(9101), [f"{lab.STRANGER}:7000"])
            self.assertEqual(self.sockets(9102), [f"{lab.STRANGER}:7000"])
            unknown.close()

    def test_whose_address_is_translated_on_the_way_in_is_known_by_the_one_it_had(self):
        lab, helper = self.lab, self.start()
        lab.nft("add table ip shift; add chain ip shift in { type nat hook input priority "
                f"100; }}; add rule ip shift in tcp dport {PORT} snat to 10.91.0.77")
        kept = self.connect(source=lab.ALLOWED)
        cut = self.connect(source=lab.STRANGER)
        self.assertTrue(is_answering(kept) and is_answering(cut))
        wait_until(lambda: [s.rpartition(":")[0] for s in self.sockets()] == ["10.91.0.77"] * 2,
                   5, "both come from the same address")
        self.assert_ok(helper.block(lab.TARGET, PORT, DEFAULT))
        wait_until(lambda: len(self.sockets()) == 1, 5, "the stranger's is ended")
        self.assertTrue(is_answering(kept))

    def test_a_dual_stack_listener_and_a_renewal(self):
        lab, helper, port = self.lab, self.start(), next(self.quiet_ports)
        server = Echo(lab, "target", "::", port)
        self.stack.callback(server.close)
        sock = self.connect(port=port, source=lab.STRANGER)
        other = self.connect(lab.TARGET6, lab.STRANGER6, port=port)
        self.assertTrue(is_answering(sock) and is_answering(other))
        self.wait_sockets(sock, other, port=port)
        self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
        self.wait_sockets(other, port=port)
        self.assertTrue(is_answering(other))
        self.assert_ok(helper.block(lab.TARGET, port, DEFAULT))
        self.assertEqual(len([line for line in helper.process.lines if "were ended" in line]), 1)


if __name__ == "__main__":
    unittest.main()
