#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The ledger: who connects to what is exposed, and would be cut off by a block."""
import ipaddress
import pathlib
import shutil
import socket
import struct
import threading
import unittest

from lab import Lab, wait_until
from test_daemon import ENDPOINT, SLOW, DaemonTest

CLIENTS = [f"10.91.0.{n}" for n in range(101, 121)]
# Clients that hold a connection, that come and go, and one that comes once.
STAYING, COMING, ONCE = CLIENTS[:10], CLIENTS[10:19], CLIENTS[19]
# Names that must not reach anybody: escapes, markup, and what is no host name.
HOSTILE = {CLIENTS[3]: b"\x1b[2Jgone", CLIENTS[4]: b"<script>", CLIENTS[5]: b"a b"}


def name_of(address):
    return f"client-{address.rpartition('.')[2]}.example.com"


class Names:
    """DNS in a namespace: the name of each client, and none for others."""

    def __init__(self, lab):
        self.asked = []
        self.folder = pathlib.Path("/etc/netns", lab.name_of("target"))
        self.folder.mkdir(parents=True)
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", "ascii")
        with lab.inside("target"):
            self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                packet, peer = self.server.recvfrom(512)
            except OSError:
                return
            if packet:
                self.server.sendto(self.reply_to(packet), peer)

    def reply_to(self, packet):
        end = packet.index(b"\0", 12) + 5
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("ascii", "replace").lower())
            at += 1 + packet[at]
        address = ".".join(reversed(labels[:4]))
        self.asked.append(address)
        if address not in CLIENTS or labels[4:] != ["in-addr", "arpa"]:
            return packet[:2] + struct.pack("!HHHHH", 0x8583, 1, 0, 0, 0) + packet[12:end]
        name = ([HOSTILE[address], b"example", b"com"] if address in HOSTILE
                else [part.encode() for part in name_of(address).split(".")])
        data = b"".join(bytes([len(part)]) + part for part in name) + b"\0"
        return (packet[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0) + packet[12:end]
                + b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, len(data)) + data)

    def close(self):
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class ImpactTest(DaemonTest):
    def setUp(self):
        super().setUp()
        for address in CLIENTS:
            self.lab.run("client", "ip", "address", "add", f"{address}/24", "dev", "eth0")

    def client(self, address, keep=False):
        sock = self.lab.connect(Lab.TARGET, 9100, source=address, timeout=5 * SLOW)
        if keep:
            self.addCleanup(sock.close)
        else:
            sock.close()

    def page(self, endpoint=ENDPOINT):
        page, = self.daemon.ctl_json("impact", endpoint)["endpoints"]
        return page

    def peers(self, page=None):
        return {p["address"]: p for p in (page or self.page())["peers"]}

    def wait_peers(self, *addresses):
        """The peers, once all of these are listed."""
        return wait_until(lambda: (lambda p: set(addresses) <= set(p) and p)(self.peers()),
                          10 * SLOW, f"{addresses} are listed")

    def start_observed(self, **changes):
        self.lab.serve_node_exporter()
        self.start(**{"mode": "observe", **changes})
        wait_until(lambda: self.daemon.ctl_json("impact")["endpoints"], 10 * SLOW, "observed")


class Ledger(ImpactTest):
    def come(self):
        for address in COMING:
            for _ in range(3):
                self.client(address)
        self.client(ONCE)
        for address in STAYING:
            self.client(address, keep=True)
        self.client(Lab.ALLOWED)

    def check(self, page):
        peers = self.peers(page)
        # The prober, which connects all the time, is none of them.
        self.assertEqual(set(peers), {*CLIENTS, Lab.ALLOWED})
        self.assertEqual((page["cut"], page["stay"], page["unlisted"]), (20, 1, 0))
        self.assertEqual((page["action"], page["blocked"]), ("observe", False))
        self.assertEqual(peers[ONCE]["connections"], 1)
        for address in COMING:
            self.assertEqual(peers[address]["connections"], 3)
        for address in CLIENTS:
            self.assertEqual((peers[address]["cut"], peers[address]["stays"]), (True, None))
        self.assertEqual((peers[Lab.ALLOWED]["cut"], peers[Lab.ALLOWED]["stays"]),
                         (False, "allow_from"))
        return peers

    def test_twenty_clients_are_listed_and_a_restart_keeps_them(self):
        names = Names(self.lab)
        self.addCleanup(names.close)
        self.start_observed()
        self.come()
        self.wait_peers(*CLIENTS, Lab.ALLOWED)
        expected = {a: None if a in HOSTILE else name_of(a) for a in CLIENTS}
        wait_until(lambda: {a: p["name"] for a, p in self.peers().items() if a in CLIENTS}
                   == expected, 15 * SLOW, "names are known")
        before = self.page()
        self.check(before)
        text = self.daemon.ctl("impact").stdout
        for address in CLIENTS:
            self.assertIn(address, text)
        self.assertIn("a block would cut off 20 clients, 1 stays; observed for", text)
        self.assertNotIn("\x1b", text)
        self.assertEqual(self.daemon.stop(), 0)
        # Not even the kernel remembers: what comes now is from the database.
        self.lab.nft("delete", "table", "inet", "pprofwall", check=False)
        self.daemon.start()
        after = self.page()
        self.check(after)
        self.assertEqual(after["since"], before["since"])
        for address, peer in self.peers(after).items():
            # Those who stay are seen again.
            for key in ("first_seen", "connections", *(
                    () if address in STAYING else ("last_seen",))):
                self.assertEqual(peer[key], self.peers(before)[address][key], address)
        # ...and it goes on counting.
        self.client(ONCE)
        wait_until(lambda: self.peers()[ONCE]["connections"] == 2, 10 * SLOW, "counted again")

    def test_a_crash_loses_nobody(self):
        self.start_observed()
        self.client(ONCE)
        self.wait_peers(ONCE)
        # New ones are on the disk within seconds; the counting set outlives us, too.
        self.daemon.kill_everything()
        self.daemon.start()
        self.assertEqual(self.wait_peers(ONCE)[ONCE]["connections"], 1)

    def test_those_who_were_there_before(self):
        """Their connections were opened before anybody counted: sock_diag tells of them."""
        self.lab.serve_node_exporter()
        for address in STAYING:
            self.client(address, keep=True)
        self.start(mode="observe")
        wait_until(lambda: self.daemon.ctl_json("impact")["endpoints"], 10 * SLOW, "observed")
        peers = self.wait_peers(*STAYING)
        self.assertEqual(set(peers), set(STAYING))
        for address in STAYING:
            self.assertEqual((peers[address]["connected"], peers[address]["connections"]),
                             (True, 1))
        self.assertIn("cut off, connected now", self.daemon.ctl("impact").stdout)

    def test_alerts_say_who(self):
        hook = self.lab.webhook()
        breakers = self.config_of(confirm_interval="1s", trip_after=4)["breakers"]
        self.start_observed(breakers=breakers)
        self.client(ONCE)
        self.client(Lab.ALLOWED)
        event = hook.wait_event("opened", 20 * SLOW)
        impact = event["impact"]
        self.assertEqual((impact["cut"], impact["stay"]), (1, 1))
        self.assertEqual(impact["first"], [{"address": ONCE, "name": None}])
        self.assertIn(f"; that would cut off 1 client: {ONCE}", event["text"])
        self.assertEqual(event["action"], "observe")

    def test_a_degraded_block_says_who_would_be_cut(self):
        hook = self.lab.webhook()
        breakers = self.config_of(confirm_interval="1s", trip_after=4, allow_from=[])["breakers"]
        self.start_observed(mode="enforce", breakers=breakers)
        self.client(ONCE)
        event = hook.wait_event("opened", 20 * SLOW)
        self.assertEqual((event["action"], event["impact"]["cut"]), ("alert", 1))
        self.assertRegex(event["text"], "not blocked: the port also serves .*; that would cut "
                                        f"off 1 client: {ONCE}")

    def test_those_who_are_blocked_are_counted_too(self):
        self.start_tripped()
        wait_until(self.refused, 10 * SLOW, "blocked")
        peer = self.wait_peers(Lab.STRANGER)[Lab.STRANGER]
        self.assertTrue(peer["cut"])
        page = self.page()
        self.assertEqual((page["blocked"], page["action"]), (True, "drop"))
        self.assertIn("a block cuts off", self.daemon.ctl("impact", ENDPOINT).stdout)

    def test_a_manual_block_says_whom_it_cuts(self):
        self.start_observed()
        self.client(ONCE)
        self.client(Lab.ALLOWED)
        self.wait_peers(ONCE, Lab.ALLOWED)
        done = self.daemon.ctl("block", ENDPOINT, "--reason", "SEC-1")
        # A person's block knows no allow_from.
        self.assertIn("it cuts off 2 clients: ", done.stdout)
        self.assertIn(ONCE, done.stdout)

    def test_local_and_protected_clients_stay(self):
        self.start_observed(protect={"ports": [22], "sources": [COMING[0]]})
        self.client(COMING[0])
        self.lab.connect(Lab.TARGET, 9100, namespace="target").close()
        peers = self.wait_peers(COMING[0], Lab.TARGET)
        self.assertEqual(peers[COMING[0]]["stays"], "protect.sources")
        self.assertEqual(peers[Lab.TARGET]["stays"], "this host")
        self.assertEqual(self.page()["cut"], 0)

    def test_those_in_a_file_stay(self):
        path = pathlib.Path(self.lab.directory, "scrapers.txt")
        path.write_text(f"{COMING[0]}\n", "ascii")
        path.chmod(0o644)
        breakers = self.config_of(allow_from=[f"@{path}"])["breakers"]
        self.start_observed(breakers=breakers)
        self.client(COMING[0])
        self.client(COMING[1])
        peers = self.wait_peers(COMING[0], COMING[1])
        self.assertEqual([peers[a]["stays"] for a in COMING[:2]], ["allow_from", None])

    def test_six(self):
        self.lab.serve_node_exporter(address=Lab.TARGET6)
        self.start(mode="observe", scan={"targets": [f"[{Lab.TARGET6}]:9100"]})
        wait_until(lambda: self.daemon.ctl_json("impact")["endpoints"], 10 * SLOW, "observed")
        self.lab.connect(Lab.TARGET6, 9100, source=Lab.STRANGER6).close()
        endpoint = f"[{Lab.TARGET6}]:9100"
        wait_until(lambda: [p["address"] for p in self.page(endpoint)["peers"]]
                   == [str(ipaddress.ip_address(Lab.STRANGER6))], 10 * SLOW, "listed")

    def test_what_is_not_observed(self):
        self.lab.serve_plain()
        self.start()
        self.wait_probes(2, "clear")
        self.assertEqual(self.daemon.ctl_json("impact"), {"ok": True, "endpoints": []})
        self.assertIn("nothing is observed", self.daemon.ctl("impact").stdout)
        done = self.daemon.ctl("impact", ENDPOINT, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"pprofwall impact: {ENDPOINT} is not observed: it is neither "
                             "exposed nor blocked\n"))
        for wrong in (("nonsense",), (ENDPOINT, ENDPOINT), ("--nonsense",)):
            done = self.daemon.ctl("impact", *wrong, check=False)
            self.assertEqual(done.returncode, 2, wrong)


if __name__ == "__main__":
    unittest.main(verbosity=2)
