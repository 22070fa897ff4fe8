# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to a blocked endpoint: first it leads there, then it does not. And whom it must spare.

The helper is asked directly, so that what is shown is the table's own doing.
"""
import contextlib
import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import MANUAL, PANIC, RESUME, Helper  # noqa: E402
from lab import run, wait_until  # noqa: E402
from test_firewall import (  # noqa: E402
    DEFAULT, POD, POD6, PORT, PROBER_UID, SEALED, Base, Echo, is_answering)

ONE, TWO = "10.93.0.2", "10.93.0.3"        # pods on one bridge of the target
ONE6, TWO6 = "fd93::2", "fd93::3"
MARK = 0x50000000


class Bridged(Base):
    """Two pods on one bridge of the target."""

    def open_echo(self, namespace, address, port):
        server = Echo(self.lab, namespace, address, port)
        self.addCleanup(server.close)

    def reach(self, address, source, port, namespace, mark, patience):
        """A new connection, to be closed; for strangers unless told otherwise."""
        if namespace == "client" and not source:
            source = self.lab.STRANGER6 if ":" in address else self.lab.STRANGER
        with self.lab.inside(namespace):
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            sock.settimeout(patience)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if source:
                sock.bind((source, 0))
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return contextlib.closing(sock)

    def is_open(self, address, source=None, port=PORT, namespace="client", mark=0, patience=2):
        """Whether a new connection gets an answer. Neither a reset nor silence is one."""
        try:
            with self.reach(address, source, port, namespace, mark, patience) as sock:
                return is_answering(sock)
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            return False

    def add_bridge(self):
        lab, target = self.lab, self.lab.name_of("target")
        if os.path.exists(f"/run/netns/{lab.name_of('one')}"):
            return
        lab.run("target", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1")
        run("ip", "-n", target, "link", "add", "br0", "type", "bridge",
            "mcast_snooping", "0")
        run("ip", "-n", target, "address", "add", "10.93.0.1/24", "dev", "br0")
        run("ip", "-n", target, "address", "add", "fd93::1/64", "dev", "br0", "nodad")
        run("ip", "-n", target, "link", "set", "br0", "up")
        for namespace, addresses in (("one", (ONE, ONE6)), ("two", (TWO, TWO6))):
            lab._add_namespace(namespace)
            pod = lab.name_of(namespace)
            run("ip", "link", "add", namespace, "netns", target, "type", "veth",
                "peer", "name", "eth0", "netns", pod)
            run("ip", "-n", target, "link", "set", namespace, "master", "br0", "up")
            run("ip", "-n", pod, "address", "add", f"{addresses[0]}/24", "dev", "eth0")
            run("ip", "-n", pod, "address", "add", f"{addresses[1]}/64", "dev", "eth0", "nodad")
            run("ip", "-n", pod, "link", "set", "eth0", "up")
            run("ip", "-n", pod, "route", "add", "default", "via", "10.93.0.1")
            run("ip", "-n", pod, "route", "add", "default", "via", "fd93::1")
            for address in addresses:
                self.stack.enter_context(contextlib.closing(Echo(lab, namespace, address, PORT)))
        client = lab.name_of("client")
        run("ip", "-n", client, "route", "add", "10.93.0.0/24", "via", lab.TARGET)
        run("ip", "-n", client, "route", "add", "fd93::/64", "via", lab.TARGET6)
        for address in (TWO, TWO6):
            for way in ("one", "target", "client"):
                wait_until(lambda a=address, n=way: self.is_open(a, namespace=n), 10,
                           f"{address} answers {way}")

    def set_bridge_nf(self, value):
        """Whether frames between ports of a bridge are shown to the tables of IP."""
        done = self.lab.run("target", "sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={value}",
                            f"net.bridge.bridge-nf-call-ip6tables={value}", check=False)
        if done.returncode and value:
            self.skipTest("no bridge-nf in this kernel")


class Paths(Bridged):
    def assert_closes(self, block, ways, spared=()):
        """`ways` are open, the block closes every one of them, and `spared` stay open."""
        for way in (*ways, *spared):
            self.assertTrue(self.is_open(**way, patience=20), f"before: {way}")
        for address, port, rule in block:
            self.assert_ok(self.helper.block(address, port, rule))
        for way in ways:
            self.assertFalse(self.is_open(**way), f"leaks: {way}")
        for way in spared:
            self.assertTrue(self.is_open(**way, patience=20), f"cut: {way}")
        for address, port, _ in block:
            self.assert_ok(self.helper.unblock(address, port))
        for way in ways:
            self.assertTrue(self.is_open(**way, patience=20), f"after: {way}")

    def test_remote_to_local(self):
        lab = self.lab
        self.start()
        for address, stranger, allowed in ((lab.TARGET, lab.STRANGER, lab.ALLOWED),
                                           (lab.TARGET6, lab.STRANGER6, lab.ALLOWED6)):
            self.assert_closes([(address, PORT, DEFAULT)],
                               [{"address": address, "source": stranger}],
                               [{"address": address, "source": allowed},
                                {"address": address, "namespace": "target"}])

    def test_wildcard_listeners_on_every_local_address(self):
        lab, port = self.lab, next(self.quiet_ports)
        target = lab.name_of("target")
        more = ["10.91.0.21", "10.91.0.22", "fd91::21"]
        for address in more:
            run("ip", "-n", target, "address", "replace", f"{address}/{64 if ':' in address else 24}",
                "dev", "eth0", *(["nodad"] if ":" in address else []))
            self.addCleanup(run, "ip", "-n", target, "address", "delete",
                            f"{address}/{64 if ':' in address else 24}", "dev", "eth0")
        self.open_echo("target", "::", port)
        self.start()
        everywhere = [lab.TARGET, lab.TARGET6, *more]
        self.assert_closes([(a, port, DEFAULT) for a in everywhere],
                           [{"address": a, "port": port} for a in everywhere])
        # One that is blocked alone closes no other.
        self.assert_closes([(more[0], port, DEFAULT)], [{"address": more[0], "port": port}],
                           [{"address": a, "port": port} for a in everywhere if a != more[0]])

    def test_published_ports_by_either_name(self):
        """As a container engine does it: DNAT in prerouting, and in output for the host."""
        lab = self.lab
        self.start()
        self.add_pod()
        lab.nft("add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; };"
                " add chain ip nat out { type nat hook output priority -100; };"
                f" add rule ip nat pre fib daddr type local tcp dport 8000 dnat to {POD}:{PORT};"
                f" add rule ip nat out ip daddr {lab.TARGET} tcp dport 8000 dnat to {POD}:{PORT}")
        published = {"address": lab.TARGET, "port": 8000, "source": lab.STRANGER}
        direct = {"address": POD, "source": lab.STRANGER}
        spared = [{"address": lab.TARGET, "port": 8000, "source": lab.ALLOWED},
                  {"address": lab.TARGET, "port": 8000, "namespace": "target"}]
        self.assert_closes([(lab.TARGET, 8000, DEFAULT)], [published], [direct, *spared])
        self.assert_closes([(POD, PORT, DEFAULT)], [published, direct], spared)
        host = {"address": lab.TARGET, "port": 8000, "namespace": "target"}
        for block in ((lab.TARGET, 8000, SEALED), (POD, PORT, SEALED)):
            self.assert_closes([block], [published, host])

    def test_routed_pods_from_outside_and_from_other_pods(self):
        lab = self.lab
        self.start()
        self.add_pod()
        self.add_bridge()
        for pod, stranger, allowed, other in ((POD, lab.STRANGER, lab.ALLOWED, "one"),
                                              (POD6, lab.STRANGER6, lab.ALLOWED6, "one")):
            self.assert_closes([(pod, PORT, DEFAULT)],
                               [{"address": pod, "source": stranger},
                                {"address": pod, "namespace": other}],
                               [{"address": pod, "source": allowed}])

    def test_a_liveness_probe_goes_on_until_seal_local_cuts_it(self):
        self.start()
        self.add_pod()
        for pod in (POD, POD6):
            kubelet = {"address": pod, "namespace": "target"}
            self.assert_closes([(pod, PORT, DEFAULT)], [{"address": pod}], [kubelet])
            self.assert_closes([(pod, PORT, MANUAL)], [{"address": pod}], [kubelet])
            self.assert_closes([(pod, PORT, SEALED)], [{"address": pod}, kubelet])

    def test_probes_of_the_prober_pass_every_block(self):
        lab, helper = self.lab, self.start()
        self.add_pod()
        for address in (lab.TARGET, lab.TARGET6, "127.0.0.1", POD, POD6):
            self.assert_ok(helper.block(address, PORT, SEALED))
            self.assertEqual(self.connect_as(1000, address), "ConnectionRefusedError", address)
            self.assertEqual(self.connect_as(PROBER_UID, address), "got e", address)

    def test_marks_made_elsewhere_open_nothing(self):
        """On the wire, in a container's own namespace; and a uid there is no prober of ours."""
        lab, helper = self.lab, self.start()
        self.add_pod()
        self.add_bridge()
        for address in (lab.TARGET, lab.TARGET6, POD, POD6):
            self.assertTrue(self.is_open(address, namespace="one"))
            self.assert_ok(helper.block(address, PORT, DEFAULT))
            for namespace in ("client", "one"):
                self.assertFalse(self.is_open(address, namespace=namespace, mark=MARK), address)
        self.assertFalse(self.is_open(lab.TARGET, namespace="pod", mark=MARK))
        for namespace in ("one", "pod"):
            out = lab.run(namespace, sys.executable, "-c", CONNECT_AS_PROBER, PROBER_UID,
                          lab.TARGET, PORT).stdout.strip()
            self.assertEqual(out, "ConnectionRefusedError")

    # Pods on one bridge

    def test_pod_to_pod_on_one_bridge_with_bridge_nf(self):
        self.start()
        self.add_bridge()
        self.set_bridge_nf(1)
        for address in (TWO, TWO6):
            self.assert_closes([(address, PORT, DEFAULT)],
                               [{"address": address, "namespace": "one"}, {"address": address}],
                               [{"address": address, "namespace": "target"}])

    def test_pod_to_pod_on_one_bridge_without_bridge_nf(self):
        """Nothing of it meets a table of IP: the companion in the family bridge has to do it."""
        lab = self.lab
        helper = self.start(breakers=[
            {"name": "default", "allow_from": [ONE, "fd93::/127"]},
            {"name": "sealed-1.x", "seal_local": True}])
        self.add_bridge()
        self.set_bridge_nf(0)
        self.addCleanup(self.set_bridge_nf, 1)
        for address, allowed in ((TWO, ONE), (TWO6, ONE6)):
            pod = {"address": address, "namespace": "one"}
            host = {"address": address, "namespace": "target"}
            self.assert_closes([(address, PORT, SEALED)], [pod, host])
            if address == TWO:
                self.assert_closes([(address, PORT, DEFAULT)], [{"address": address}], [pod, host])
            self.assert_closes([(address, PORT, MANUAL)], [pod, {"address": address}], [host])
        # The other way round the allowed one is a server, and gets no client by it.
        self.assert_closes([(ONE, PORT, DEFAULT)], [{"address": ONE, "namespace": "two"}])
        # An answer in flight stops.
        streaming = self.connect(TWO, namespace="one")
        streaming.sendall(b"s")
        self.assertTrue(streaming.recv(4))
        self.assert_ok(helper.block(TWO, PORT, MANUAL))
        streaming.settimeout(1)
        with self.assertRaises(TimeoutError):
            for _ in range(10_000):
                self.assertTrue(streaming.recv(65536))
        self.assert_ok(helper.unblock(TWO, PORT))
        # A bridge's table is as whole as the other after a foreign flush, and as gone in a panic.
        self.assert_ok(helper.block(TWO, PORT, MANUAL))
        lab.nft("flush", "ruleset")
        if self.persist == "off":
            helper.wait_event()
        self.assertFalse(self.is_open(TWO, namespace="one"))
        self.assert_ok(helper.ask(PANIC))
        self.assertTrue(self.is_open(TWO, namespace="one"))
        self.assertNotIn("pprofwall", lab.nft("list", "tables").stdout)
        self.assert_ok(helper.ask(RESUME))
        self.assertIn("table bridge pprofwall", lab.nft("list", "tables").stdout)
        helper.kill()
        self.assertEqual(self.tool("--delete-table").returncode, 0)
        self.assertNotIn("pprofwall", lab.nft("list", "tables").stdout)
        self.assertEqual(self.tool("--table-exists").returncode, 1)

    # What must not be touched

    def test_service_addresses_in_the_local_table_are_untouched(self):
        """kube-ipvs0 holds every service's address, as keepalived its own; none is the listener's."""
        lab, port = self.lab, next(self.quiet_ports)
        target, client = lab.name_of("target"), lab.name_of("client")
        run("ip", "-n", target, "link", "add", "kube-ipvs0", "type", "bridge")
        self.addCleanup(run, "ip", "-n", target, "link", "delete", "kube-ipvs0")
        for address, via in (("10.96.0.10/32", lab.TARGET), ("fd96::10/128", lab.TARGET6)):
            run("ip", "-n", target, "address", "add", address, "dev", "kube-ipvs0",
                *(["nodad"] if ":" in address else []))
            run("ip", "-n", client, "route", "replace", address, "via", via)
        self.assertIn("local 10.96.0.10 ", run("ip", "-n", target, "route", "show", "table",
                                               "local").stdout)
        self.open_echo("target", "::", port)
        self.start()
        services = [{"address": "10.96.0.10", "port": port}, {"address": "fd96::10", "port": port}]
        self.assert_closes([(lab.TARGET, port, DEFAULT), (lab.TARGET6, port, DEFAULT)],
                           [{"address": lab.TARGET, "port": port},
                            {"address": lab.TARGET6, "port": port}], services)

    def test_masqueraded_connections_from_a_blocked_wildcard_port_are_untouched(self):
        lab, port = self.lab, next(self.quiet_ports)
        helper = self.start()
        self.add_pod()
        self.open_echo("target", "0.0.0.0", port)
        for server in (7000, 7001):
            self.open_echo("client", lab.STRANGER, server)
        lab.nft("add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
                f" add rule ip nat post ip saddr {POD} meta l4proto tcp masquerade to :{port}")
        sock = self.connect(lab.STRANGER, port=7000, namespace="pod")
        self.assertTrue(is_answering(sock))
        for address in (lab.TARGET, "10.92.0.1", "10.91.0.1"):
            self.assert_ok(helper.block(address, port, DEFAULT))
        self.assertFalse(self.is_open(lab.TARGET, port=port))
        for _ in range(20):
            self.assertTrue(is_answering(sock))  # its replies come to the blocked port
        self.assertTrue(self.is_open(lab.STRANGER, port=7001, namespace="pod"))

    # Clients that are let through

    def talk(self, address, source, stop, errors, counts):
        """New connections and one that stays, without pause; whatever fails is kept."""
        try:
            with self.lab.connect(address, PORT, source=source, timeout=10) as stays:
                while not stop.is_set():
                    with self.lab.connect(address, PORT, source=source, timeout=10) as fresh:
                        if not (is_answering(fresh) and is_answering(stays)):
                            raise ConnectionError("the connection was closed")
                    counts.append(1)
        except OSError as err:
            errors.append(f"{source}: {err!r}")

    def test_clients_in_allow_from_never_notice(self):
        lab, helper = self.lab, self.start()
        self.add_pod()
        stop, errors, counts = threading.Event(), [], []
        ways = [(lab.TARGET, lab.ALLOWED), (lab.TARGET6, lab.ALLOWED6), (POD, lab.ALLOWED),
                (lab.TARGET, "10.91.0.9")]
        threads = [threading.Thread(target=self.talk, args=(*way, stop, errors, counts))
                   for way in ways]
        for thread in threads:
            thread.start()
        try:
            for turn in range(40):
                for address in (lab.TARGET, lab.TARGET6, POD):
                    self.assert_ok(helper.block(address, PORT, DEFAULT))
                    self.assert_ok(helper.block(address, PORT, DEFAULT))
                self.assertFalse(self.is_open(lab.TARGET, lab.STRANGER))
                helper.reload(self.config())
                if turn % 5 == 4:  # its death and successor, too
                    helper.kill()
                    self.helper = helper = Helper(lab).start(self.config())
                if turn % 2:
                    for address in (lab.TARGET, lab.TARGET6, POD):
                        self.assert_ok(helper.unblock(address, PORT))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(errors, [])
        self.assertGreater(len(counts), 4 * 40)


# In another namespace than the prober's own, its uid says nothing.
CONNECT_AS_PROBER = """
import os, socket, sys
uid, address, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
s = socket.socket()
s.settimeout(3)
try:
    s.connect((address, port)); print("open")
except OSError as e:
    print(type(e).__name__)
"""


class PlainPaths(Paths):
    persist = "off"


if __name__ == "__main__":
    unittest.main()
