# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to an endpoint that is filtered: first a profile is to be had there, then it is not, and
the metrics go on. And what a server sees of its clients meanwhile: nobody becomes local.

The firewall helper and the filter process are the real ones; we are their parent and their agent.
"""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import select
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gobuild  # noqa: E402
from filter_process import PARENT_PEER, ROLE_FIREWALL, FilterProcess  # noqa: E402
from firewall_helper import Helper  # noqa: E402
from filter_fake import PEER, ROLE_FILTER  # noqa: E402
from lab import BUILD_DIR, HttpServer, run, wait_until  # noqa: E402
from test_daemon import DaemonTest  # noqa: E402
from test_firewall import POD, POD6, PORT  # noqa: E402
from test_wall_paths import ONE, ONE6, TWO, TWO6, Bridged  # noqa: E402

WEB = 9180
PROFILE, METRICS, GATED = "/debug/pprof/", "/metrics", "/debug/requests"
BOTH = {"allow_from": ["10.91.0.3", "fd91::3"]}
RULES = [
    {"name": "closed", "action": "filter", **BOTH},
    {"name": "open", "action": "filter", "on_failure": "open", **BOTH},
    {"name": "sealed", "action": "filter", "seal_local": True, "drain": "2s"},
    {"name": "narrow", "action": "filter", "deny": ["/debug/pprof"], "seal_local": True},
    {"name": "soon", "action": "filter", "drain": "2s"},
]
CLOSED, OPEN, SEALED, NARROW, SOON = range(1, 6)
IN_MARK, OUT_MARK, PROBE_MARK = 0x60000000, 0x70000000, 0x50000000


class Site:
    """Says who asks, has a profile, and a page for local clients alone, as golang.org/x/net/trace."""

    def __init__(self, lab, namespace, address, port=WEB):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802, the library's name
                client = self.client_address[0].removeprefix("::ffff:")
                is_local = client in ("127.0.0.1", "::1")
                texts = {METRICS: (200, f"metrics for {client}"), PROFILE: (200, "profile"),
                         GATED: (200, "requests") if is_local else (403, "not local")}
                status, text = texts.get(self.path, (404, "none"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        with lab.inside(namespace):
            self._server = HttpServer((address, port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Filter(FilterProcess):
    """The real process, whose firewall is the real helper."""

    def __init__(self, lab, helper, config):
        self.helper, self.config = helper, config
        super().__init__(lab, rules={})

    def configure(self, _):
        found = self.parent.check(json.dumps(self.config).encode())
        return found if found[0] else self.parent.commit()

    def join_firewall(self):
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with one, other:
            self.helper.parent.send(PARENT_PEER, PEER.pack(ROLE_FILTER, 0, 0, 0), one.fileno())
            self.parent.send(PARENT_PEER, struct.pack("=IIii", ROLE_FIREWALL, 0, 0, 0),
                             other.fileno())


class Roads(Bridged):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for address in (cls.lab.TARGET, cls.lab.TARGET6, "127.0.0.1", "::1"):
            cls.open_site("target", address)
        # What wg-quick sets, and a reverse path filter.
        cls.lab.run("target", "sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=1",
                    "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1",
                    "net.ipv4.conf.eth0.rp_filter=1")
        for family in ("-4", "-6"):
            run("ip", "-n", cls.lab.name_of("target"), family, "rule", "add", "not", "fwmark",
                "0xca6c", "lookup", "51820")

    @classmethod
    def open_site(cls, namespace, address, port=WEB):
        cls.stack.enter_context(contextlib.closing(Site(cls.lab, namespace, address, port)))

    def start(self, **changes):
        config = self.config(**{"breakers": RULES, **changes})
        self.helper = Helper(self.lab).start(config)
        self.filter = Filter(self.lab, self.helper, config)
        self.stack_of_test = contextlib.ExitStack()
        self.addCleanup(self.stack_of_test.close)
        self.stack_of_test.enter_context(self.filter)
        self.wait_table(lambda text: "tproxy" in text)
        return self.helper

    def wait_table(self, condition):
        wait_until(lambda: condition(self.lab.nft("list", "table", "inet", "pprofwall").stdout), 10,
                   "the table follows the filter")

    def add_pod(self):
        there = os.path.exists(f"/run/netns/{self.lab.name_of('pod')}")
        super().add_pod()
        if not there:
            for address in (POD, POD6):
                self.open_site("pod", address)

    def add_bridge(self):
        there = os.path.exists(f"/run/netns/{self.lab.name_of('one')}")
        super().add_bridge()
        if not there:
            for namespace, address in (("one", ONE), ("one", ONE6), ("two", TWO), ("two", TWO6)):
                self.open_site(namespace, address)

    # What a client gets

    def get(self, path, address, namespace="client", source=None, port=WEB, mark=0, timeout=5):
        """(status, text), or the exception's name."""
        try:
            with self.reach(address, source, port, namespace, mark, timeout) as sock:
                return self.get_by(sock, path)
        except (OSError, http.client.HTTPException) as err:
            return type(err).__name__

    @staticmethod
    def get_by(sock, path):
        """One request on a connection that stays."""
        connection = http.client.HTTPConnection("filtered")
        connection.sock = sock
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def assert_leaks(self, **way):
        wait_until(lambda: self.get(PROFILE, **way) == (200, "profile"), 20, f"leaks: {way}",
                   interval=0.1)

    def assert_filtered(self, sees=None, **way):
        status, text = self.get(PROFILE, **way)
        self.assertEqual(status, 403, (way, text))
        self.assertIn("pprofwall", text)
        status, text = self.get(METRICS, **way)
        self.assertEqual(status, 200, (way, text))
        if sees:
            self.assertEqual(text, f"metrics for {sees}", way)

    def assert_cut(self, **way):
        for path in (PROFILE, METRICS):
            self.assertIsInstance(self.get(path, timeout=2, **way), str, (way, path))

    def assert_filters(self, blocks, ways, spared=()):
        """`ways` leak, the blocks filter every one of them, and spare the others."""
        for way in (*ways, *spared):
            self.assert_leaks(**{k: v for k, v in way.items() if k != "sees"})
        for address, port, rule in blocks:
            self.assert_ok(self.helper.block(address, port, rule))
        for way in ways:
            self.assert_filtered(**way)
        for way in spared:
            self.assert_leaks(**way)
        for address, port, _ in blocks:
            self.assert_ok(self.helper.unblock(address, port))
        for way in ways:
            self.assert_leaks(**{k: v for k, v in way.items() if k != "sees"})

    # The ways

    def test_remote_to_local(self):
        lab = self.lab
        self.start()
        for address, stranger, allowed in ((lab.TARGET, lab.STRANGER, lab.ALLOWED),
                                           (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6)):
            self.assert_filters([(address, WEB, CLOSED)],
                                [{"address": address, "source": stranger, "sees": address}],
                                [{"address": address, "source": allowed},
                                 {"address": address, "namespace": "target"}])

    def test_routed_pods(self):
        """The server sees its client, not this host."""
        lab = self.lab
        self.start()
        self.add_pod()
        self.add_bridge()
        for pod, stranger, allowed, other in ((POD, lab.STRANGER, lab.ALLOWED, ONE),
                                              (POD6, lab.STRANGER6, lab.ALLOWED6, ONE6)):
            self.assert_filters([(pod, WEB, CLOSED)],
                                [{"address": pod, "source": stranger, "sees": stranger}],
                                [{"address": pod, "source": allowed},
                                 {"address": pod, "namespace": "target"}])
        self.set_bridge_nf(0)
        self.addCleanup(self.set_bridge_nf, 1)
        for pod, other in ((POD, ONE), (POD6, ONE6)):
            self.assert_filters([(pod, WEB, CLOSED)],
                                [{"address": pod, "namespace": "one", "sees": other}])

    def test_pods_on_a_bridge_from_outside(self):
        """Their answers come in by a port of the bridge; with bridge-nf, too."""
        self.start()
        self.add_bridge()
        self.addCleanup(self.set_bridge_nf, 1)
        for value in (0, 1):
            self.set_bridge_nf(value)
            for address, stranger in ((TWO, self.lab.STRANGER), (TWO6, self.lab.STRANGER6)):
                self.assert_filters([(address, WEB, CLOSED)],
                                    [{"address": address, "sees": stranger}])

    def test_without_conntrack(self):
        self.start()
        self.add_pod()
        self.lab.nft("add table inet raw; add chain inet raw pre { type filter hook prerouting "
                     "priority -300; }; add chain inet raw out { type filter hook output "
                     "priority -300; }")
        for chain in ("pre", "out"):
            for port in ("sport", "dport"):
                self.lab.nft(f"add rule inet raw {chain} tcp {port} {WEB} notrack")
        for address, stranger, allowed in ((POD, self.lab.STRANGER, self.lab.ALLOWED),
                                           (POD6, self.lab.STRANGER6, self.lab.ALLOWED6)):
            self.assert_filters([(address, WEB, CLOSED)], [{"address": address, "sees": stranger}],
                                [{"address": address, "source": allowed}])
        self.assert_filters([(self.lab.TARGET, WEB, CLOSED)], [{"address": self.lab.TARGET}])

    def test_where_any_address_can_be_bound(self):
        """As routers with addresses that wander set it: binding does not tell whose one is."""
        self.start()
        self.add_pod()
        self.lab.run("target", "sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1")
        self.addCleanup(self.lab.run, "target", "sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=0")
        for address, sees in ((POD, self.lab.STRANGER), (self.lab.TARGET, self.lab.TARGET)):
            self.assert_filters([(address, WEB, CLOSED)], [{"address": address, "sees": sees}])

    def publish(self, pod, pod6):
        """As a container engine does it: DNAT in prerouting, and in output for the host."""
        self.lab.nft("add table inet nat; add chain inet nat pre { type nat hook prerouting "
                     "priority -100; }; add chain inet nat out { type nat hook output "
                     "priority -100; }")
        for chain in ("pre", "out"):
            for family, to in (("ipv4", f"ip to {pod}"), ("ipv6", f"ip6 to [{pod6}]")):
                self.lab.nft(f"add rule inet nat {chain} meta nfproto {family} fib daddr type local "
                             f"tcp dport 8000 dnat {to}:{WEB}")

    def test_published_ports_by_either_name(self):
        lab = self.lab
        self.start()
        self.add_pod()
        self.publish(POD, POD6)
        for target, pod, stranger, allowed in ((lab.TARGET, POD, lab.STRANGER, lab.ALLOWED),
                                               (lab.TARGET6, POD6, lab.STRANGER6, lab.ALLOWED6)):
            published = {"address": target, "port": 8000, "source": stranger, "sees": stranger}
            direct = {"address": pod, "source": stranger}
            host = {"address": target, "port": 8000, "namespace": "target"}
            spared = [{"address": target, "port": 8000, "source": allowed}, host]
            self.assert_filters([(target, 8000, CLOSED)], [published], [direct, *spared])
            self.assert_filters([(pod, WEB, CLOSED)], [published, direct], spared)
            self.assert_filters([(target, 8000, SEALED)], [published, host], [direct])
            self.assert_filters([(pod, WEB, SEALED)], [published, direct, host])

    def test_the_hosts_own_clients_with_seal_local(self):
        lab = self.lab
        self.start()
        self.add_pod()
        ways = [(lab.TARGET, lab.TARGET), (lab.TARGET6, lab.TARGET6), ("127.0.0.1", "127.0.0.1"),
                ("::1", "::1"), (POD, "10.92.0.1"), (POD6, "fd92::1")]
        for address, sees in ways:
            host = {"address": address, "namespace": "target", "sees": sees}
            if not address.startswith(("127", "::1")):
                self.assert_leaks(address=address, namespace="target")
                self.assert_ok(self.helper.block(address, WEB, CLOSED))
                self.assert_leaks(address=address, namespace="target")
                self.assert_ok(self.helper.unblock(address, WEB))
            self.assert_filters([(address, WEB, SEALED)], [host])

    # What a filter cannot do

    def test_pod_to_pod_on_one_bridge_is_cut_or_passes_as_of_a_filter_that_fails(self):
        self.start(breakers=[{**RULES[0], "allow_from": [ONE]}, RULES[1], {
            **RULES[4], "name": "nobody"}])
        self.add_bridge()
        self.addCleanup(self.set_bridge_nf, 1)
        for value in (0, 1):
            self.set_bridge_nf(value)
            for address in (TWO, TWO6):
                pod = {"address": address, "namespace": "one"}
                self.assert_leaks(**pod)
                self.assert_ok(self.helper.block(address, WEB, 3))
                self.assert_cut(**pod)
                self.assert_filtered(address=address)
                self.assert_ok(self.helper.block(address, WEB, CLOSED))
                if address == TWO:
                    self.assert_leaks(**pod)  # by allow_from
                else:
                    self.assert_cut(**pod)
                self.assert_ok(self.helper.block(address, WEB, OPEN))
                self.assert_leaks(**pod)
                self.assert_ok(self.helper.unblock(address, WEB))

    def test_what_bridge_nf_takes_from_us_is_cut(self):
        """Of a pod's opening packet the kernel forgets the filter, and the server would get it."""
        lab = self.lab
        self.start()
        self.add_pod()
        self.add_bridge()
        self.addCleanup(self.set_bridge_nf, 1)
        for address in (lab.TARGET, lab.TARGET6, POD, POD6):
            pod = {"address": address, "namespace": "one"}
            for value in (0, 1):
                self.set_bridge_nf(value)
                self.assert_leaks(**pod)
                self.assert_ok(self.helper.block(address, WEB, CLOSED))
                if value:
                    self.assertEqual(self.get(PROFILE, **pod), "ConnectionRefusedError")
                    self.assert_cut(**pod)
                else:
                    self.assert_filtered(**pod)
                self.assert_filtered(address=address)
                self.assert_ok(self.helper.unblock(address, WEB))
        self.assert_ok(self.helper.block(lab.TARGET, WEB, OPEN))
        self.assert_leaks(address=lab.TARGET, namespace="one")

    def test_a_client_on_the_endpoints_own_link_is_cut_by_its_published_name(self):
        lab = self.lab
        self.start()
        self.add_bridge()
        self.publish(TWO, TWO6)
        self.addCleanup(self.set_bridge_nf, 1)
        for value in (0, 1):
            self.set_bridge_nf(value)
            for address in (lab.TARGET, lab.TARGET6):
                self.assert_ok(self.helper.block(address, 8000, CLOSED))
                self.assert_filtered(address=address, port=8000)
                self.assert_cut(address=address, port=8000, namespace="one")
                self.assert_ok(self.helper.unblock(address, 8000))

    # Connections that were there before, and that are there after

    def hold(self, address, namespace="client", port=WEB):
        source = None
        if namespace == "client":
            source = self.lab.STRANGER6 if ":" in address else self.lab.STRANGER
        sock = self.connect(address, source, port, namespace=namespace, timeout=5)
        self.assertEqual(self.get_by(sock, METRICS)[0], 200)
        return sock

    def is_leaking(self, sock):
        try:
            return self.get_by(sock, PROFILE) == (200, "profile")
        except (OSError, http.client.HTTPException):
            return False

    def test_connections_from_before_end_after_a_while(self):
        self.start()
        self.add_pod()
        self.publish(POD, POD6)
        for namespace, rule, ways in (
                ("client", SOON, ((POD, WEB), (POD6, WEB), (self.lab.TARGET, 8000))),
                ("target", SEALED, ((POD, WEB), (POD6, WEB)))):
            held = []
            for address, port in ways:
                way = {"address": address, "port": port, "namespace": namespace}
                self.assert_leaks(**way)
                held.append((way, self.hold(address, namespace, port)))
            for (address, port), (way, sock) in zip(ways, held):
                self.assert_ok(self.helper.block(address, port, rule))
                self.assertEqual(self.get_by(sock, METRICS)[0], 200, way)
                self.assert_filtered(**way)
            for way, sock in held:
                wait_until(lambda s=sock: not self.is_leaking(s), 20, f"{way} ends", interval=0.1)
                self.assert_filtered(**way)
            for address, port in ways:
                self.assert_ok(self.helper.unblock(address, port))

    def heard(self, sock, port, seconds):
        """How many packets with data come from that port."""
        count, end = 0, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
            packet = sock.recv(65535)
            header = (packet[0] & 15) * 4
            data = header + (packet[header + 12] >> 4) * 4
            count += packet[9] == socket.IPPROTO_TCP and len(packet) > data and \
                int.from_bytes(packet[header:header + 2], "big") == port
        return count

    def test_an_answer_in_flight_stops(self):
        """Also for a client that hears no reset, and acknowledges nothing."""
        lab = self.lab
        self.start(breakers=[{**RULES[0], "drain": "0s"}])
        self.add_pod()
        with lab.inside("client"):
            ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
        self.addCleanup(ear.close)
        streaming = self.connect(POD, lab.STRANGER)
        streaming.sendall(b"s")
        self.assertTrue(streaming.recv(4))
        lab.run("client", "nft", "add table ip deaf; add chain ip deaf out { type filter hook output "
                f"priority 0; }}; add rule ip deaf out ip daddr {POD} drop")
        self.addCleanup(lab.run, "client", "nft", "delete table ip deaf")
        self.assertGreater(self.heard(ear, PORT, 1), 0)
        self.assert_ok(self.helper.block(POD, PORT, CLOSED))
        self.heard(ear, PORT, 0.05)  # what was under way
        self.assertEqual(self.heard(ear, PORT, 3), 0)

    def test_connections_of_the_filter_go_on_when_nothing_is_filtered_any_more(self):
        lab = self.lab
        self.start()
        self.add_pod()
        self.publish(POD, POD6)
        for address, port, namespace in ((POD, WEB, "client"), (POD6, WEB, "client"),
                                         (lab.TARGET, 8000, "client"), (POD, WEB, "target"),
                                         (POD6, WEB, "target"), (lab.TARGET, WEB, "client")):
            way = {"address": address, "port": port, "namespace": namespace}
            self.assert_ok(self.helper.block(address, port, SEALED))
            self.assert_filtered(**way)
            held = self.hold(address, namespace, port)
            self.assert_ok(self.helper.unblock(address, port))
            self.assert_leaks(**way)
            for _ in range(3):
                self.assertEqual(self.get_by(held, METRICS)[0], 200, way)
            self.assertEqual(self.get_by(held, PROFILE)[0], 403, way)

    def test_a_killed_filter(self):
        lab = self.lab
        self.start(breakers=[*RULES, {**RULES[1], "name": "open-sealed", "seal_local": True}])
        self.add_pod()
        self.publish(POD, POD6)
        remote = [{"address": POD}, {"address": POD6}, {"address": lab.TARGET, "port": 8000}]
        own = [{"address": POD, "namespace": "target"}, {"address": POD6, "namespace": "target"}]
        for way in (*remote, *own):
            self.assert_ok(self.helper.block(way["address"], way.get("port", WEB), SEALED))
            self.assert_filtered(**way)
        self.filter.kill()
        self.wait_table(lambda text: "tproxy" not in text)
        for way in (*remote, *own):
            self.assertEqual(self.get(METRICS, **way), "ConnectionRefusedError", way)
        for way in (*remote, *own):
            self.assert_ok(self.helper.block(way["address"], way.get("port", WEB), 6))
            self.assert_leaks(**way)
        with Filter(lab, self.helper, self.filter.config):
            for way in (*remote, *own):
                wait_until(lambda w=way: self.get(PROFILE, **w)[0] == 403, 10, f"filtered: {way}")
                self.assert_filtered(**way)

    # Nobody becomes local, and nobody else's marks help

    def test_a_page_for_local_clients_stays_closed(self):
        lab = self.lab
        self.start()
        self.add_pod()
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(self.get(GATED, address, "target"), (200, "requests"))
        for address in (lab.TARGET, lab.TARGET6, POD, POD6):
            before = self.get(GATED, address)
            self.assertEqual(before, (403, "not local"))
            self.assert_ok(self.helper.block(address, WEB, NARROW))
            self.assert_filtered(address=address)
            for namespace in ("client", "target"):
                self.assertEqual(self.get(GATED, address, namespace), before, address)
            self.assert_ok(self.helper.block(address, WEB, CLOSED))
            status, text = self.get(GATED, address)
            self.assertEqual(status, 403)
            self.assertIn("pprofwall", text)  # a relative of profiles: not even asked
            self.assert_ok(self.helper.unblock(address, WEB))

    def test_marks_made_elsewhere_open_nothing(self):
        self.start()
        self.add_pod()
        self.add_bridge()
        self.set_bridge_nf(0)
        self.addCleanup(self.set_bridge_nf, 1)
        for address in (self.lab.TARGET, POD, POD6):
            for namespace in ("client", "one"):
                way = {"address": address, "namespace": namespace}
                self.assert_leaks(**way)
                self.assert_ok(self.helper.block(address, WEB, CLOSED))
                for mark in (IN_MARK, OUT_MARK, PROBE_MARK):
                    self.assert_filtered(mark=mark, **way)
                self.assert_ok(self.helper.unblock(address, WEB))
                for mark in (IN_MARK, OUT_MARK, PROBE_MARK):
                    self.assert_leaks(mark=mark, **way)

    def test_what_is_not_filtered_is_not_touched(self):
        self.start()
        self.add_pod()
        self.assert_ok(self.helper.block(POD, WEB, SEALED))
        self.assert_ok(self.helper.block(self.lab.TARGET, WEB, SEALED))
        for way in ({"address": POD6}, {"address": self.lab.TARGET6},
                    {"address": POD6, "namespace": "target"}):
            self.assert_leaks(**way)
        self.assertTrue(self.is_open(POD))
        self.assertTrue(self.is_open(POD, namespace="target"))


@unittest.skipUnless(gobuild.is_there(), "no Go")
class Gates(DaemonTest):
    """The whole daemon, and a Go server with a page for local clients alone."""

    PORT = 9190

    def serve(self, namespace):
        program = gobuild.build(pathlib.Path(__file__).with_name("gated"),
                                pathlib.Path(BUILD_DIR, "gated", "server"))
        server = self.lab.process(namespace, program, f":{self.PORT}")
        self.addCleanup(server.end)
        self.lab.wait_port("127.0.0.1", self.PORT, namespace, process=server)

    def add_pod(self):
        lab = self.lab
        lab._add_namespace("pod")
        target, pod, client = map(lab.name_of, ("target", "pod", "client"))
        run("ip", "link", "add", "pod0", "netns", target, "type", "veth", "peer", "name", "eth0",
            "netns", pod)
        for name, device, last in ((target, "pod0", 1), (pod, "eth0", 2)):
            run("ip", "-n", name, "address", "add", f"10.92.0.{last}/24", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        lab.run("target", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run("ip", "-n", pod, "route", "add", "default", "via", "10.92.0.1")
        run("ip", "-n", client, "route", "add", "10.92.0.0/24", "via", lab.TARGET)

    def status_of(self, path, address, namespace="client"):
        try:
            return self.lab.get(address, self.PORT, path, namespace, timeout=3)[0]
        except (OSError, http.client.HTTPException):
            return None

    def test_a_page_for_local_clients_stays_closed(self):
        lab = self.lab
        self.add_pod()
        ways = {lab.TARGET: "target", POD: "pod"}
        for address, namespace in ways.items():
            self.serve(namespace)
            self.assertEqual(self.status_of(GATED, "127.0.0.1", namespace), 200)
            self.assertEqual(self.status_of(GATED, address), 401)
            self.assertEqual(self.status_of(PROFILE, address), 200)
        self.daemon = lab.daemon(lab.config(
            scan={"targets": [f"{address}:{self.PORT}" for address in ways]},
            filters=[{"name": "exporters", "match": {"ports": [self.PORT]},
                      "deny": ["/debug/pprof"], "seal_local": True}])).start()
        for address in ways:
            for namespace in ("client", "target"):
                wait_until(lambda a=address, n=namespace: self.status_of(PROFILE, a, n) == 403, 20,
                           f"{address} is filtered for {namespace}")
                self.assertEqual(self.status_of(METRICS, address, namespace), 200)
                self.assertEqual(self.status_of(GATED, address, namespace), 401)
        status, text = lab.get(lab.TARGET, self.PORT, METRICS)
        self.assertEqual((status, text.splitlines()[0]), (200, f"# seen from {lab.TARGET}"))
        status, text = lab.get(POD, self.PORT, METRICS, source=lab.STRANGER)
        self.assertEqual((status, text.splitlines()[0]), (200, f"# seen from {lab.STRANGER}"))
        # By default such a page is a relative of the profiles, and not even asked for.
        config = lab.config(
            scan={"targets": [f"{address}:{self.PORT}" for address in ways]},
            filters=[{"name": "exporters", "match": {"ports": [self.PORT]}, "seal_local": True}])
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        for address in ways:
            self.assertEqual(self.status_of(GATED, address), 403)
        self.assertEqual(self.daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
