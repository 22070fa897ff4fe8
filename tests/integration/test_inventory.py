#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The inventory alone: who listens where, whose it is, and what else it may be asked."""
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import cgroups
import frames
import inventory_helper as wire
import lab
from inventory_helper import Inventory, request
from lab import Lab, run, wait_until

SLOW = wire.SLOW
IPPROTO_MPTCP = 262
INVENTORY_CAPABILITIES = sum(1 << n for n in (2, 19, 21, 38))
# Listens where it is told, says so, and sleeps.
LISTENER = ("import socket, sys, time\n"
            "s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
            "print('listens', flush=True)\n"
            "time.sleep(600)\n")
SENDS_IT_AWAY = ("import socket, sys\n"
                 "s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
                 "to = socket.socket(fileno=int(sys.argv[3]))\n"
                 "socket.send_fds(to, [b'x'], [s.fileno()])\n")
MANY_DESCRIPTORS = ("import os, resource, time\n"
                    "resource.setrlimit(resource.RLIMIT_NOFILE, (12100, 12100))\n"
                    "fd = os.eventfd(0)\n"
                    "for _ in range(12000): os.dup(fd)\n"
                    "print('listens', flush=True)\n"
                    "time.sleep(600)\n")
# The same when it is told to, and ceases when it is told to.
ON_ORDER = ("import socket, sys\n"
            "print('listens', flush=True)\n"
            "while sys.stdin.readline():\n"
            "    s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
            "    sys.stdin.readline()\n"
            "    s.close()\n")


def netns_of(name):
    return os.stat(f"/run/netns/{name}").st_ino


class InventoryTest(unittest.TestCase):
    EVENTS = True

    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.host = netns_of(self.lab.name_of("target"))
        self.other = netns_of(self.lab.name_of("client"))

    def start(self, watch=True, **options):
        options.setdefault("events", self.EVENTS)
        inventory = self.enterContext(Inventory(self.lab.name_of("target"), **options))
        if watch:
            inventory.watch(poll_ms=300)
        return inventory

    def listen(self, address, port=0, namespace="target", v6only=None, reuse=False, protocol=0,
               listen=True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.lab.inside(namespace):
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
            self.addCleanup(sock.close)
            if v6only is not None:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            if reuse:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address, port))
            if listen:
                sock.listen()
        return sock

    def netns(self):
        """A namespace of this test's own: its name, which is deleted at the end."""
        name = f"pw-{os.getpid()}-inv{len(self._cleanups)}"
        run("ip", "netns", "add", name)
        self.addCleanup(run, "ip", "netns", "delete", name, check=False)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def process(self, argv, namespace=None, **kwargs):
        argv = ["ip", "netns", "exec", namespace, *argv] if namespace else argv
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=lab.environment(), **kwargs)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        self.assertEqual(process.stdout.readline(), b"listens\n")
        return process


class Listeners(InventoryTest):
    def test_what_is_there_and_what_comes_and_goes(self):
        before = self.listen(Lab.TARGET, 7001)
        inventory = self.start()
        self.assertIn((self.host, Lab.TARGET, 7001), inventory.listeners)
        for namespace, netns, address in (("target", self.host, Lab.TARGET),
                                          ("client", self.other, Lab.STRANGER)):
            with self.subTest(namespace):
                server = self.process([sys.executable, "-c", ON_ORDER, address, "7002"],
                                      self.lab.name_of(namespace), stdin=subprocess.PIPE)
                begin = time.monotonic_ns()
                server.stdin.write(b"listen\n")
                server.stdin.flush()
                found = inventory.wait_listener(netns, address, 7002, pid=server.pid)
                self.assertLess(time.monotonic_ns() - begin, 3 * SLOW * 10 ** 9)
                self.assertEqual(found.change, wire.ADDED)
                self.assertLess(abs(found.seen_ns - begin), 3 * SLOW * 10 ** 9)
                begin = time.monotonic()
                server.stdin.write(b"close\n")
                server.stdin.flush()
                inventory.wait_gone(netns, address, 7002)
                self.assertLess(time.monotonic() - begin, 3 * SLOW)
        before.close()
        inventory.wait_gone(self.host, Lab.TARGET, 7001)

    def test_one_right_after_another(self):
        """Between two looks at what events there are, and where the first look does not go."""
        if not self.EVENTS:
            self.skipTest("by events alone")
        inventory = self.start()
        places = (("target", self.host, Lab.TARGET), ("client", self.other, Lab.STRANGER))
        servers = [self.process([sys.executable, "-c", ON_ORDER, address, "7015"],
                                self.lab.name_of(namespace), stdin=subprocess.PIPE)
                   for namespace, _, address in places]

        def order(what, gap=0.0):
            for server in servers:
                server.stdin.write(what)
                server.stdin.flush()
                time.sleep(gap)
        for i in range(48):
            order(b"listen\n", i % 8 / 1000)
            begin = time.monotonic()
            for _, netns, address in places:
                inventory.wait_listener(netns, address, 7015)
            self.assertLess(time.monotonic() - begin, 0.5 * SLOW, i)
            order(b"close\n")
            for _, netns, address in places:
                inventory.wait_gone(netns, address, 7015)

    def test_a_socket_that_lives_elsewhere_than_who_listens_on_it(self):
        inventory = self.start()
        sock = self.listen(Lab.TARGET, 7008, listen=False)
        sock.listen()  # by a task of another namespace
        inventory.wait_listener(self.host, Lab.TARGET, 7008, 20)

    def test_a_socket_that_nobody_holds(self):
        """On its way from one process to another, for good; there is more to read than is read at
        a time. Who is looked for besides is found nevertheless."""
        left, right = socket.socketpair()
        self.addCleanup(left.close)
        self.addCleanup(right.close)
        target = self.lab.name_of("target")
        for _ in range(6):
            self.process([sys.executable, "-c", MANY_DESCRIPTORS], target)
        inventory = self.start()
        run("ip", "netns", "exec", target, sys.executable, "-c", SENDS_IT_AWAY, Lab.TARGET, "7012",
            left.fileno(), pass_fds=[left.fileno()])
        inventory.wait_listener(self.host, Lab.TARGET, 7012)
        process = self.process([sys.executable, "-c", LISTENER, Lab.TARGET, "7013"], target)
        inventory.wait_listener(self.host, Lab.TARGET, 7013, pid=process.pid)
        inventory.ask(request(wire.WATCH, poll_ms=300))
        inventory.wait_listener(self.host, Lab.TARGET, 7012, pid=0)

    def test_how_it_was_found(self):
        inventory = self.start()
        status = inventory.statuses[-1]
        self.assertEqual(status.mode, wire.BY_EVENTS if self.EVENTS else wire.BY_POLL)
        self.assertEqual(status.why_no_events, "" if self.EVENTS else "--no-events")
        self.assertGreaterEqual(status.namespaces, 2)
        self.listen(Lab.TARGET, 7003)
        inventory.wait_listener(self.host, Lab.TARGET, 7003)
        if self.EVENTS:
            inventory.watch()
            self.assertGreaterEqual(inventory.statuses[-1].events, 1)
        else:
            self.assertEqual(inventory.wait_synced().events, 0)

    def test_connections_are_no_events(self):
        """A socket that is accepted is a copy of the one that listens."""
        inventory = self.start()
        server = self.listen(Lab.TARGET, 7014)
        inventory.wait_listener(self.host, Lab.TARGET, 7014)

        def events():
            inventory.watch(poll_ms=300)  # the end of a look that was under way, it may be
            status = inventory.watch(poll_ms=300)
            return status.events + status.lost
        before = events()
        with self.lab.inside("target"):
            for _ in range(5000):
                with socket.create_connection((Lab.TARGET, 7014)):
                    server.accept()[0].close()
        # What begins to listen elsewhere on the machine meanwhile is counted, too.
        self.assertLess(events() - before, 2500)

    def test_families(self):
        inventory = self.start()
        for address, v6only in (("0.0.0.0", None), (Lab.TARGET, None), ("127.0.0.1", None),
                                ("::", False), ("::", True), (Lab.TARGET6, True), ("::1", True)):
            with self.subTest(address, v6only=v6only):
                port = self.listen(address, 0, v6only=v6only).getsockname()[1]
                found = inventory.wait_listener(self.host, address, port)
                self.assertEqual(found.v6only, bool(v6only))
                self.assertEqual(found.sockets, 1)

    def test_a_mapped_address_is_ipv4(self):
        inventory = self.start()
        port = self.listen(f"::ffff:{Lab.TARGET}", 0, v6only=False).getsockname()[1]
        inventory.wait_listener(self.host, Lab.TARGET, port)

    def test_sockets_that_share_a_port_are_one(self):
        inventory = self.start()
        first = self.listen(Lab.TARGET, 7004, reuse=True)
        inventory.wait_listener(self.host, Lab.TARGET, 7004, sockets=1)
        self.listen(Lab.TARGET, 7004, reuse=True)
        found = inventory.wait_listener(self.host, Lab.TARGET, 7004, sockets=2)
        self.assertEqual(found.change, wire.CHANGED)
        first.close()
        inventory.wait_listener(self.host, Lab.TARGET, 7004, sockets=1)
        self.assertNotIn(wire.GONE, [x.change for x in inventory.told if x.port == 7004])

    def test_mptcp_has_its_owner(self):
        try:
            sock = self.listen(Lab.TARGET, 7005, protocol=IPPROTO_MPTCP)
        except OSError as err:
            self.skipTest(f"no MPTCP here: {err}")
        inventory = self.start()
        found = inventory.wait_listener(self.host, Lab.TARGET, 7005, pid=os.getpid())
        for what in ("the same again", "a new one"):
            with self.subTest(what):
                sock.close()
                if what == "a new one":
                    inventory.wait_gone(self.host, Lab.TARGET, 7005)
                old, sock = found, self.listen(Lab.TARGET, 7005, protocol=IPPROTO_MPTCP)

                def owned():
                    now = inventory.listeners.get((self.host, Lab.TARGET, 7005))
                    return now if (now and now.pid == os.getpid() and
                                   now.seen_ns > old.seen_ns) else None  # noqa: B023
                found = inventory.wait(owned, 10, what)

    def test_addresses(self):
        run("ip", "-n", self.lab.name_of("target"), "link", "add", "kube-ipvs0", "type", "veth",
            "peer", "name", "pwother0")
        run("ip", "-n", self.lab.name_of("target"), "address", "add", "10.96.0.1/32", "dev",
            "kube-ipvs0")
        inventory = self.start()
        host = inventory.namespaces[self.host]
        self.assertTrue(host["host"])
        self.assertFalse(inventory.namespaces[self.other]["host"])
        self.assertEqual({a: host["addresses"].get(a) for a in
                          (Lab.TARGET, Lab.TARGET6, "127.0.0.1", "::1", "10.96.0.1")},
                         {Lab.TARGET: 0, Lab.TARGET6: 0, "127.0.0.1": wire.LOOPBACK,
                          "::1": wire.LOOPBACK, "10.96.0.1": wire.SERVICE})
        self.assertTrue([a for a, flags in host["addresses"].items()
                         if a.startswith("fe80:") and flags == wire.LINK_LOCAL])

    def test_services_leave_room_for_the_hosts_own_addresses(self):
        """As on a node of Kubernetes with kube-proxy in IPVS mode."""
        target = self.lab.name_of("target")
        run("ip", "-n", target, "link", "add", "kube-ipvs0", "type", "veth", "peer", "name",
            "pwother0")
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as batch:
            batch.writelines(f"address add 10.96.{n // 250}.{n % 250}/32 dev kube-ipvs0\n"
                             for n in range(600))
            batch.flush()
            run("ip", "-n", target, "-batch", batch.name)
        run("ip", "-n", target, "link", "add", "pwlast0", "type", "veth", "peer", "name",
            "pwlast1")
        run("ip", "-n", target, "address", "add", "10.91.0.78/32", "dev", "pwlast0")
        host = self.start().namespaces[self.host]["addresses"]
        self.assertEqual({a: host.get(a) for a in (Lab.TARGET, Lab.TARGET6, "10.91.0.78")},
                         {Lab.TARGET: 0, Lab.TARGET6: 0, "10.91.0.78": 0})
        self.assertGreater(list(host.values()).count(wire.SERVICE), 100)

    def test_an_address_that_comes_and_goes(self):
        inventory = self.start()
        link = run("ip", "-n", self.lab.name_of("target"), "-o", "address", "show", "to",
                   Lab.TARGET).stdout.split()[1]
        for verb in ("add", "delete"):
            run("ip", "-n", self.lab.name_of("target"), "address", verb, "10.91.0.77/32", "dev",
                link)
            inventory.wait(lambda: (verb == "add") ==  # noqa: B023
                           ("10.91.0.77" in inventory.namespaces[self.host]["addresses"]), 5,
                           f"the host's address after {verb}")

    def test_a_namespace_that_comes_and_goes(self):
        inventory = self.start()
        name = self.netns()
        netns = netns_of(name)
        process = self.process([sys.executable, "-c", LISTENER, "127.0.0.1", "7006"], name)
        inventory.wait_listener(netns, "127.0.0.1", 7006, pid=process.pid)
        self.assertIn("127.0.0.1", inventory.namespaces[netns]["addresses"])
        # With a device whose other end tells when the namespace is really gone: nobody pins it.
        target = self.lab.name_of("target")
        run("ip", "-n", target, "link", "add", "pwpin0", "type", "veth", "peer", "name", "pwpin1",
            "netns", name)
        process.kill()
        process.wait()
        inventory.wait_gone(netns, "127.0.0.1", 7006)
        run("ip", "netns", "delete", name)
        wait_until(lambda: run("ip", "-n", target, "link", "show", "pwpin0",
                               check=False).returncode, 10 * SLOW, "the namespace has ended")
        inventory.ask(request(wire.WATCH, poll_ms=300))
        inventory.wait(lambda: netns not in inventory.namespaces, 20, "the namespace is gone")

    def test_who_kills_all_processes_of_a_namespace_does_not_meet_us(self):
        """As scripts do before they delete one; a process is where its first thread is."""
        inventory = self.start()
        seen = set()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            self.listen("127.0.0.1", 0, "client").close()
            seen.add(os.stat(f"/proc/{inventory.process.pid}/ns/net").st_ino)
        inventory.watch(poll_ms=300)
        self.assertEqual(seen, {self.host})

    def test_unwatch_forgets(self):
        inventory = self.start()
        self.assertEqual(inventory.ask(request(wire.UNWATCH))[0], wire.OK)
        told = len(inventory.told)
        self.listen(Lab.TARGET, 7007)
        inventory.ping()
        self.assertEqual(len(inventory.told), told)
        inventory.namespaces.clear()
        inventory.listeners.clear()
        inventory.watch()
        self.assertIn((self.host, Lab.TARGET, 7007), inventory.listeners)


class Polling(Listeners):
    """All of the above where the kernel tells of no events."""
    EVENTS = False


class Owners(InventoryTest):
    def test_a_process(self):
        inventory = self.start()
        name = self.netns()
        process = self.process([sys.executable, "-c", LISTENER, "127.0.0.1", "7010"], name)
        found = inventory.wait_listener(netns_of(name), "127.0.0.1", 7010, pid=process.pid)
        self.assertEqual(found.executable, os.readlink(f"/proc/{process.pid}/exe"))
        with open(f"/proc/{process.pid}/comm", encoding="utf-8") as comm:
            self.assertEqual(found.command, comm.read().strip())
        self.assertEqual(found.uid, 0)

    def test_a_child_that_has_it_from_its_parent(self):
        """A daemon of the old kind: listens, forks, and the one who listened is gone."""
        inventory = self.start()
        name = self.netns()
        code = ("import os, socket, time\n"
                "s = socket.create_server(('127.0.0.1', 7011))\n"
                "if os.fork():\n"
                "    os._exit(0)\n"
                "print('listens', flush=True)\n"
                "time.sleep(600)\n")
        process = self.process([sys.executable, "-c", code], name)
        child, = run("ip", "netns", "pids", name).stdout.split()
        self.addCleanup(os.kill, int(child), signal.SIGKILL)
        process.wait()
        found = inventory.wait_listener(netns_of(name), "127.0.0.1", 7011, pid=int(child))
        self.assertNotEqual(found.pid, process.pid)

    def test_a_user_and_a_name_that_lies(self):
        inventory = self.start()
        name = self.netns()
        code = ("import ctypes, os, socket, time\n"
                "ctypes.CDLL(None).prctl(15, b'a\\x1b[31m\\xff\\n', 0, 0, 0)\n"
                "os.setuid(64999)\n"
                "s = socket.create_server(('127.0.0.1', 7012))\n"
                "print('listens', flush=True)\n"
                "time.sleep(600)\n")
        self.process([sys.executable, "-c", code], name)
        found = inventory.wait_listener(netns_of(name), "127.0.0.1", 7012, uid=64999)
        # Four characters cannot be told as they are; the field holds 15 bytes.
        self.assertEqual(found.command, "a\ufffd[31m\ufffd\ufffd")

    def test_a_unit_and_a_container(self):
        root, base = cgroups.make_root(self)
        inventory = self.start()
        identity = "0123456789abcdef" * 4
        for path, unit, container, runtime in (
                (f"{base}/my-app.service", "my-app.service", "", ""),
                (f"{base}/docker-{identity}.scope", "", identity, "docker")):
            with self.subTest(path):
                name = self.netns()
                port = 7013
                process = self.process_in_cgroup(os.path.join(root, path), name, port)
                found = inventory.wait_listener(netns_of(name), "127.0.0.1", port,
                                                pid=process.pid)
                self.assertEqual((found.unit, found.container, found.runtime),
                                 (unit, container, runtime), found)
                self.assertTrue(found.cgroup.endswith("/" + path), found)

    def process_in_cgroup(self, path, namespace, port):
        cgroups.make(self, path)
        return self.process(cgroups.within(path, namespace, sys.executable, "-c", LISTENER,
                                           "127.0.0.1", str(port)))


class Requests(InventoryTest):
    def test_what_is_malformed_is_refused(self):
        inventory = self.start(watch=False)
        good = request(wire.WATCH, poll_ms=1000)
        for what, body in (
                ("empty", b""), ("short", good[:-1]), ("long", good + b"\0"),
                ("version", request(wire.WATCH, poll_ms=1000, version=2)),
                ("padding", request(wire.WATCH, poll_ms=1000, zero=1)),
                ("verb 0", request(0)), ("verb 9", request(9)),
                ("too often", request(wire.WATCH, poll_ms=99)),
                ("too rarely", request(wire.WATCH, poll_ms=3600 * 1000 + 1)),
                ("WATCH with an address", request(wire.WATCH, "10.0.0.1", poll_ms=1000)),
                ("UNWATCH with an interval", request(wire.UNWATCH, poll_ms=1000)),
                ("PEERS of no port", request(wire.PEERS, "10.0.0.1", 0, self.host)),
                ("LOGINS of a port", request(wire.LOGINS, "10.0.0.1", 80)),
                ("LOGINS somewhere", request(wire.LOGINS, netns=self.host)),
                ("PEERS nowhere", request(wire.PEERS, "10.0.0.1", 80)),
                ("SOCKET of no family", request(wire.SOCKET, netns=self.host)),
                ("SOCKET of AF_UNIX", request(wire.SOCKET, netns=self.host,
                                              family=socket.AF_UNIX)),
                ("CONNECT to no port", request(wire.CONNECT, "10.0.0.1", timeout_ms=100)),
                ("CONNECT to nobody", request(wire.CONNECT, "0.0.0.0", 80, timeout_ms=100)),
                ("CONNECT for ever", request(wire.CONNECT, "10.0.0.1", 80, timeout_ms=10001))):
            with self.subTest(what):
                self.assertEqual(inventory.ask(body), (wire.MALFORMED, 0, [], None))
        inventory.ping()

    def test_what_ends_it(self):
        for what, message in (("type", frames.pack(wire.PEER, 1)), ("no frame", b"garbage")):
            with self.subTest(what):
                inventory = self.start(watch=False)
                inventory.agent.sock.send(message)
                status, errors = inventory.end()
                self.assertEqual(status, 1)
                self.assertRegex(errors, r"^pprofwall-inventory: agent: [^\n]+\n$")
        for name in ("parent", "agent"):
            with self.subTest(name):
                inventory = self.start(watch=False)
                getattr(inventory, name).sock.shutdown(socket.SHUT_RDWR)
                self.assertEqual(inventory.end(), (0, ""))
        inventory = self.start()
        inventory.parent.stop()
        self.assertEqual(inventory.end(), (0, ""))

    def test_privileges(self):
        inventory = self.start(verify=True)
        pid = inventory.process.pid
        threads = os.listdir(f"/proc/{pid}/task")
        if not lab.IS_ASAN:
            self.assertEqual(len(threads), 2)
        for thread in threads:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            self.assertEqual(status["Uid"].split(), [str(wire.UID)] * 4)
            self.assertEqual(status["Gid"].split(), [str(wire.UID)] * 4)
            self.assertEqual(status["Groups"].split(), [])
            for name in ("CapPrm", "CapEff"):
                self.assertEqual(int(status[name], 16), INVENTORY_CAPABILITIES, name)
            for name in ("CapInh", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[name], 16), 0, name)
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertEqual(status["Seccomp"], "0" if lab.IS_ASAN else "2")
        # It has come back from everywhere it went.
        self.assertEqual(os.stat(f"/proc/{pid}/ns/net").st_ino, self.host)

    def test_an_agent_that_does_not_read(self):
        inventory = self.start()
        before = self.listen(Lab.TARGET, 7020)
        inventory.wait_listener(self.host, Lab.TARGET, 7020)
        ports = [self.listen(Lab.TARGET, 0) for _ in range(600)]
        for sock in ports[::2]:
            sock.close()
        before.close()
        inventory.parent.send(frames.PING)
        self.assertEqual(inventory.parent.receive().type, frames.PONG)
        wanted = {(self.host, Lab.TARGET, s.getsockname()[1]) for s in ports[1::2]}
        inventory.wait(lambda: wanted <= set(inventory.listeners), 20, "what is there in the end")
        inventory.watch()
        self.assertEqual({key for key in inventory.listeners if key[:2] == (self.host, Lab.TARGET)},
                         wanted)

    def test_peers(self):
        inventory = self.start()
        server = self.listen("::", 7021, v6only=False)
        clients = [self.lab.connect(Lab.TARGET, 7021, namespace="client", source=Lab.STRANGER),
                   self.lab.connect(Lab.TARGET, 7021, namespace="client", source=Lab.ALLOWED),
                   self.lab.connect(Lab.TARGET6, 7021, namespace="client", source=Lab.STRANGER6)]
        for client in clients:
            self.addCleanup(client.close)
            self.addCleanup(server.accept()[0].close)
        self.listen(Lab.TARGET, 7022)
        self.addCleanup(self.lab.connect(Lab.TARGET, 7022, namespace="client").close)
        ends = [c.getsockname()[:2] for c in clients]
        for address, expected in (("::", ends), ("0.0.0.0", ends), (Lab.TARGET, ends[:2]),
                                  (Lab.TARGET6, ends[2:]), ("10.91.0.99", [])):
            with self.subTest(address):
                result, _, peers, _ = inventory.ask(request(wire.PEERS, address, 7021, self.host))
                self.assertEqual((result, sorted(peers)), (wire.OK, sorted(expected)))
        self.assertEqual(inventory.ask(request(wire.PEERS, "::", 7021, 1))[0], wire.NOT_FOUND)

    def test_more_peers_than_are_told(self):
        inventory = self.start()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        # Nobody accepts them: that takes half of the descriptors.
        self.lab.run("target", "sysctl", "-qw", "net.core.somaxconn=20000")
        server = self.listen(Lab.TARGET, 7024)
        server.listen(20000)
        ask = request(wire.PEERS, "::", 7024, self.host)
        with self.lab.inside("target"), contextlib.ExitStack() as stack:
            def connect():
                stack.enter_context(socket.socket()).connect((Lab.TARGET, 7024))
            for _ in range(wire.MAX_PEERS):
                connect()
            result, _, peers, _ = inventory.ask(ask)
            self.assertEqual((result, len(peers)), (wire.OK, wire.MAX_PEERS))
            connect()
            for _ in range(2):
                result, _, peers, _ = inventory.ask(ask)
                self.assertEqual((result, len(peers)), (wire.CUT, wire.MAX_PEERS))
        inventory.parent.stop()
        log = inventory.end()[1]
        self.assertEqual(log.count("port 7024 has more than 16384 connections"), 1, log)

    def test_a_socket_inside(self):
        inventory = self.start()
        server = self.listen("127.0.0.1", 7023, "client")
        result, _, _, fd = inventory.ask(request(wire.SOCKET, netns=self.other,
                                                 family=socket.AF_INET))
        self.assertEqual(result, wire.OK)
        with socket.socket(fileno=fd) as sock:
            sock.settimeout(10)
            sock.connect(("127.0.0.1", 7023))
            connection, peer = server.accept()
            connection.close()
            self.assertEqual(peer, sock.getsockname())
        self.assertEqual(inventory.ask(request(wire.SOCKET, netns=1, family=socket.AF_INET6)),
                         (wire.NOT_FOUND, 0, [], None))
        # It is still where it was.
        self.assertEqual(os.stat(f"/proc/{inventory.process.pid}/ns/net").st_ino, self.host)


class Connect(InventoryTest):
    """Tries an endpoint from a namespace of its own, as a stranger would."""

    def connect_result(self, inventory, address, port, timeout_ms=3000):
        result, error, peers, fd = inventory.ask(
            request(wire.CONNECT, address, port, timeout_ms=timeout_ms))
        self.assertEqual((error, peers, fd), (0, [], None))
        return result

    def test_what_comes_of_it(self):
        self.listen("0.0.0.0", 7030)
        self.listen("::", 7031, v6only=True)
        inventory = self.start(verify=True)
        self.lab.nft("add", "table", "inet", "pwtest")
        self.lab.nft("add", "chain", "inet", "pwtest", "in",
                     "{ type filter hook input priority 0; }")
        self.lab.nft("add", "rule", "inet", "pwtest", "in", "tcp", "dport", "7032", "drop")
        self.lab.nft("add", "rule", "inet", "pwtest", "in", "tcp", "dport", "7033", "reject",
                     "with", "tcp", "reset")
        for address, port, expected in (
                (Lab.TARGET, 7030, wire.CONNECTED), (Lab.TARGET6, 7031, wire.CONNECTED),
                (Lab.TARGET, 7034, wire.REFUSED), (Lab.TARGET6, 7034, wire.REFUSED),
                (Lab.TARGET, 7033, wire.REFUSED), ("127.0.0.1", 7030, wire.NO_ROUTE),
                ("::1", 7031, wire.NO_ROUTE), ("224.0.0.1", 7030, wire.NO_ROUTE)):
            with self.subTest(f"{address} {port}"):
                self.assertEqual(self.connect_result(inventory, address, port), expected)
        for address in (Lab.TARGET, Lab.TARGET6):
            begin = time.monotonic()
            self.assertEqual(self.connect_result(inventory, address, 7032, 200), wire.SILENT)
            self.assertGreaterEqual(time.monotonic() - begin, 0.19)

    def test_nothing_is_sent(self):
        server = self.listen(Lab.TARGET, 7035)
        inventory = self.start(verify=True)
        self.assertEqual(self.connect_result(inventory, Lab.TARGET, 7035), wire.CONNECTED)
        connection, peer = server.accept()
        self.addCleanup(connection.close)
        connection.settimeout(10)
        self.assertTrue(peer[0].startswith("169.254.213."), peer)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)

    def test_the_device_is_no_exposure_and_vanishes(self):
        inventory = self.start(verify=True)
        mine = {a: flags for a, flags in inventory.namespaces[self.host]["addresses"].items()
                if a.startswith(("169.254.", "fd70:"))}
        self.assertEqual(set(mine.values()), {wire.SERVICE}, mine)
        self.assertEqual(len(mine), 2)
        vantage = os.fstat(inventory.vantage).st_ino
        self.assertNotIn(vantage, inventory.namespaces)
        os.close(inventory.vantage)
        inventory.vantage = None
        inventory.process.kill()
        inventory.process.wait()
        wait_until(lambda: "pprofwall0" not in self.links(), 10 * SLOW, "the device is gone")

    def links(self):
        return run("ip", "-n", self.lab.name_of("target"), "-o", "link", "show").stdout

    def test_a_successor_takes_it_over(self):
        first = self.start(verify=True)
        vantage = os.dup(first.vantage)
        first.process.kill()
        first.process.wait()
        self.listen(Lab.TARGET, 7036)
        with os.fdopen(vantage) as data:
            second = self.start(verify=True, data=data)
        self.assertEqual(os.fstat(second.vantage).st_ino, os.fstat(first.vantage).st_ino)
        self.assertEqual(self.connect_result(second, Lab.TARGET, 7036), wire.CONNECTED)

    def test_what_a_killed_one_left_is_replaced(self):
        first = self.start(verify=True)
        first.process.kill()
        first.process.wait()  # its namespace lives on, since we have its descriptor
        self.listen(Lab.TARGET, 7037)
        second = self.start(verify=True)
        self.assertEqual(self.connect_result(second, Lab.TARGET, 7037), wire.CONNECTED)

    def test_a_device_that_is_not_ours_is_left_alone(self):
        target = self.lab.name_of("target")
        run("ip", "-n", target, "link", "add", "pprofwall0", "type", "bridge")
        inventory = self.start(verify=True)
        self.assertEqual(self.connect_result(inventory, Lab.TARGET, 80), wire.UNSUPPORTED)
        self.assertIn("pprofwall0", self.links())
        inventory.parent.stop()
        status, errors = inventory.end()
        self.assertEqual(status, 0)
        self.assertRegex(errors, "blocks cannot be verified: there is a pprofwall0")

    def test_without_verify(self):
        inventory = self.start()
        self.assertEqual(self.connect_result(inventory, Lab.TARGET, 80), wire.UNSUPPORTED)
        self.assertNotIn("pprofwall0", self.links())

    def test_many_at_once(self):
        inventory = self.start(verify=True)
        self.lab.nft("add", "table", "inet", "pwtest")
        self.lab.nft("add", "chain", "inet", "pwtest", "in",
                     "{ type filter hook input priority 0; }")
        self.lab.nft("add", "rule", "inet", "pwtest", "in", "tcp", "dport", "7038", "drop")
        body = request(wire.CONNECT, Lab.TARGET, 7038, timeout_ms=1000)
        for seq in range(100):
            inventory.agent.send(wire.REQUEST, body, seq=1000 + seq)
        results = []
        while len(results) < 100:
            frame = inventory.pump(20 * SLOW)
            if frame and frame.type == wire.ANSWER:
                results.append(wire.ANSWER_BODY.unpack(frame.body)[1])
        self.assertEqual({r: results.count(r) for r in set(results)},
                         {wire.SILENT: 64, wire.BUSY: 36})


if __name__ == "__main__":
    unittest.main(verbosity=2)
