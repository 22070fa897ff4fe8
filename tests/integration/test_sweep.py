#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps, from the command line to the finding: a network of which half is silent, 20 servers with
profiles and 60 without. Both ends are namespaces; every packet is counted where it arrives."""
import contextlib
import ctypes
import fcntl
import ipaddress
import json
import os
import pathlib
import random
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import unittest

import lab
from test_scan import recorded

SLOW = 4 if lab.IS_ASAN else 1
PORTS = (6060, 8080, 8000, 3000, 9000, 9090, 9100, 2379, 8086, 8500)
LIST = ",".join(map(str, PORTS))
NETWORK = ipaddress.ip_network("10.77.0.0/20")
ANSWERING = ipaddress.ip_network("10.77.0.0/21")
SILENT = ipaddress.ip_network("10.77.8.0/21")
NETWORK6 = ipaddress.ip_network("fd77::/118")
ON_LINK = ipaddress.ip_network("10.91.0.128/26")
ENDPOINTS = NETWORK.num_addresses * len(PORTS)
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
CONF = pathlib.Path(lab.SOURCE_DIR, "conf")


def text_of(address, port):
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


class Fleet:
    """Many small servers in one thread, which remembers what they were asked."""

    def __init__(self, places):
        """{(address, port): name of a recording}"""
        self.requests = []  # (time, endpoint, head)
        self.handlers, self.clients = {}, {}
        self.epoll = select.epoll()
        for (address, port), name in places.items():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, port), family=family, backlog=512)
            listener.setblocking(False)
            self.handlers[listener.fileno()] = (listener, text_of(address, port), recorded(name))
            self.epoll.register(listener, select.EPOLLIN)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.ended.is_set():
            for fd, _ in self.epoll.poll(0.1):
                with contextlib.suppress(OSError):
                    if fd in self.handlers:
                        self._accept(fd)
                    elif self._read(fd):
                        self._drop(fd)

    def _accept(self, fd):
        listener, endpoint, handler = self.handlers[fd]
        client, _ = listener.accept()
        self.clients[client.fileno()] = [client, endpoint, handler, b""]
        self.epoll.register(client, select.EPOLLIN)

    def _drop(self, fd):
        self.clients.pop(fd)[0].close()

    def _read(self, fd):
        """True when it is over with this client."""
        state = self.clients[fd]
        client, endpoint, handler, head = state
        try:
            more = client.recv(65536)
            state[3] = head = head + more
            if more and b"\r\n\r\n" not in head and head[:1].isupper():
                return False
            if b"\r\n\r\n" in head:
                self.requests.append((time.monotonic(), endpoint, head.decode("latin-1")))
                client.setblocking(True)
                client.settimeout(1)
                handler(client, head.split(b" ")[1].decode("latin-1"))
        except OSError:
            pass
        return True

    def close(self):
        self.ended.set()
        self.thread.join(5)
        for listener, _, _ in self.handlers.values():
            listener.close()
        for fd in list(self.clients):
            self._drop(fd)
        self.epoll.close()


class Capture:
    """SYNs as they arrive at the target: (time, "address:port")."""

    # ip and tcp[13] == 2; offsets of an Ethernet frame
    FILTER = ((0x28, 0, 0, 12), (0x15, 0, 5, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 3, 6),
              (0x30, 0, 0, 47), (0x15, 0, 1, 2), (0x06, 0, 0, 96), (0x06, 0, 0, 0))

    def __init__(self, the_lab):
        self.seen = []
        with the_lab.inside("target"):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        code = b"".join(struct.pack("HBBI", *line) for line in self.FILTER)
        kept = ctypes.create_string_buffer(code, len(code))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack(
            "HL", len(self.FILTER), ctypes.addressof(kept)))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # however late we read
        self.socket.bind(("eth0", 0x0800))
        self.socket.settimeout(0.1)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                frame, control, _, _ = self.socket.recvmsg(96, 64)
            except TimeoutError:
                if self.ended.is_set():
                    return
                continue
            port = struct.unpack_from("!H", frame, 36)[0]
            seconds, ns = struct.unpack("qq", control[0][2])
            self.seen.append((seconds + ns / 1e9, text_of(socket.inet_ntoa(frame[30:34]), port)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        arrived, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET,
                                                                      PACKET_STATISTICS, 8))
        self.socket.close()
        if dropped:
            raise RuntimeError(f"{dropped} of {arrived} packets were not captured")

    def swept(self):
        """{"address:port": SYNs}, without what guards ask beside a sweep."""
        counts = {}
        for _, endpoint in self.seen:
            if int(endpoint.rpartition(":")[2]) in PORTS:
                counts[endpoint] = counts.get(endpoint, 0) + 1
        return counts


class Result:
    def __init__(self, status, out, err):
        self.status, self.err, self.text = status, err, out
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        self.rows = [line for line in lines if "type" not in line]
        self.trailers = [line for line in lines if "type" in line]
        self.found = {row["endpoint"] for row in self.rows
                      if row["verdict"] in ("confirmed", "likely")}


class SweepLab(lab.Lab):
    def __init__(self):
        super().__init__()
        try:
            self._lay_out()
        except BaseException:
            self.close()
            raise

    def _lay_out(self):
        choice = random.Random(4)
        self.places = {}

        def place(network, ports, exposed, plain):
            base, size = int(network.network_address), network.num_addresses
            picked = choice.sample(range(size * len(ports)), exposed + plain)
            for i, at in enumerate(picked):
                address = str(ipaddress.ip_address(base + at // len(ports)))
                kind = ("go1.26-std" if i < exposed
                        else ("v8121-docs", "v8111-spa", "v8122-login")[i % 3])
                self.places[address, ports[at % len(ports)]] = kind
        place(ANSWERING, PORTS, 20, 60)
        place(ipaddress.ip_network("fd77::/119"), PORTS[:3], 5, 5)
        place(ON_LINK, PORTS, 4, 8)
        self.run("target", "ip", "route", "add", "local", "10.77.0.0/16", "dev", "lo")
        self.run("target", "ip", "route", "add", "local", str(ON_LINK), "dev", "lo")
        self.run("target", "ip", "-6", "route", "add", "local", str(NETWORK6), "dev", "lo")
        self.run("client", "ip", "route", "add", "10.77.0.0/16", "via", self.TARGET)
        self.run("client", "ip", "-6", "route", "add", str(NETWORK6), "via", self.TARGET6)
        self.run("target", "sysctl", "-qw", "net.ipv4.tcp_challenge_ack_limit=1000000",
                 "net.ipv6.ip_nonlocal_bind=1")
        self.nft(f"""
            add table inet lab
            add counter inet lab syns
            add counter inet lab arrived
            add chain inet lab in {{ type filter hook prerouting priority raw; policy accept; }}
            add rule inet lab in iifname eth0 meta l4proto {{ tcp, udp }} counter name arrived
            add rule inet lab in iifname eth0 tcp flags & (syn | ack) == syn counter name syns
            add rule inet lab in ip daddr {{ 10.77.8.0/21, 10.77.16.0-10.77.255.255 }} drop
            add rule inet lab in ip6 daddr fd77::200/119 drop
            """)
        with self.inside("target"):
            self.fleet = Fleet(self.places)
        self._stack.callback(self.fleet.close)

    def exposed(self, *networks):
        networks = [ipaddress.ip_network(n) for n in networks] or [NETWORK]
        return {text_of(a, p) for (a, p), kind in self.places.items() if kind == "go1.26-std"
                and any(ipaddress.ip_address(a) in n for n in networks)}

    def command(self, *arguments):
        return [lab.program("pprofwall"), "scan", "--format", "ndjson", *map(str, arguments)]

    def counter(self, name="syns"):
        """Packets since the last time."""
        said = self.nft("-j", "reset", "counter", "inet", "lab", name).stdout
        return sum(item["counter"]["packets"] for item in json.loads(said)["nftables"]
                   if "counter" in item)


def setUpModule():  # noqa: N802, the library's name
    global LAB  # pylint: disable=global-statement
    LAB = SweepLab()
    unittest.addModuleCleanup(LAB.close)


class SweepTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(lab.tempfile.mkdtemp(dir=LAB.directory))
        self.addCleanup(lab.shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        self.forget()

    def forget(self):
        LAB.fleet.requests.clear()
        LAB.counter("syns")
        LAB.counter("arrived")

    def scan(self, *arguments, status=1, prefix=()):
        done = LAB.run("client", *prefix, *LAB.command(*arguments), check=False, timeout=120)
        wanted = status if isinstance(status, tuple) else (status,)
        self.assertIn(done.returncode, wanted, done.stdout[-2000:] + done.stderr[-4000:])
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, prefix=(), **kwargs):
        """A scan that runs: subprocess.Popen, which ends with the test."""
        LAB.counter()
        argv = ["ip", "netns", "exec", LAB.name_of("client"), *prefix, *LAB.command(*arguments)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, text=True,
                                   env=lab.environment(), **{
                                       "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                                       **kwargs})

        def end():
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.addCleanup(end)
        return process

    def finish(self, process, status, timeout=30):
        out, err = process.communicate(timeout=timeout * SLOW)
        self.assertEqual(process.returncode, status, out[-2000:] + err[-4000:])
        return Result(status, out, err)

    @staticmethod
    def wait_syns(wanted):
        """Until so many more have arrived."""
        arrived = 0

        def enough():
            nonlocal arrived
            arrived += LAB.counter()
            return arrived >= wanted
        lab.wait_until(enough, 30 * SLOW, f"{wanted} SYNs")

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="ascii")
        return path


FAST = ("--rate", "0", "--timeout", f"{400 * SLOW}ms", "--ports", LIST)


class Methods(SweepTest):
    METHODS = ("syn", "connect", "direct", "auto")

    def compare(self, expected, *targets, methods=METHODS, ports=LIST):
        """All methods say the same of the same."""
        verdicts = {}
        for method in methods:
            result = self.scan("--method", method, "--all", *FAST, "--ports", ports, *targets)
            self.assertEqual(result.found, expected, method + result.err)
            rows = [(row["endpoint"], row["verdict"], row["severity"], row["kind"])
                    for row in result.rows if row["verdict"] not in ("closed", "filtered")]
            self.assertEqual(len(rows), len(set(rows)), method)
            verdicts[method] = set(rows)
        for method in methods[1:]:
            self.assertEqual(verdicts[method], verdicts[methods[0]], method)

    def test_through_a_gateway(self):
        listed = self.file("list", "".join(f"{a}\n" for a, _ in LAB.places if a < "10.77.4"))
        self.compare(LAB.exposed(), "10.77.0.0/21")
        self.compare(LAB.exposed() & {text_of(a, p) for a, p in LAB.places if a < "10.77.4"},
                     f"@{listed}")

    def test_half_of_it_silent(self):
        """Sets of endpoints, and the summary counts each of them once."""
        for method in ("syn", "connect", "auto"):
            with Capture(LAB) as capture:
                result = self.scan("--method", method, *FAST, NETWORK)
            self.assertEqual(result.found, LAB.exposed(), method + result.err)
            self.assertEqual(len(result.rows), len(LAB.exposed()), method)
            said = re.search(r"scanned (\d+) endpoints .* (\d+) closed, (\d+) filtered", result.err)
            half = ENDPOINTS // 2
            self.assertEqual([int(n) for n in said.groups()], [ENDPOINTS, half - 80, half])
            self.assertEqual(set(capture.swept()), {text_of(a, p) for a in NETWORK for p in PORTS})

    def test_on_link(self):
        """Neighbours are asked for by ARP; most are not there."""
        expected = LAB.exposed(ON_LINK)
        self.compare(expected, "10.91.0.128/25")
        result = self.scan("--method", "syn", *FAST, "10.91.0.128/25")
        silent, = re.findall(r"; (\d+) neighbours silent", result.err)
        # The upper half of it, but for the link's broadcast address.
        self.assertIn(int(silent), range(1, 64), result.err)

    def test_ipv6(self):
        ports = ",".join(map(str, PORTS[:3]))
        expected = LAB.exposed(NETWORK6)
        self.assertEqual(len(expected), 5)
        listed = self.file("list", "".join(f"{a}\n" for a, _ in LAB.places if ":" in a))
        self.compare(expected, NETWORK6, methods=("syn", "connect", "auto"), ports=ports)
        self.compare(expected, f"@{listed}", ports=ports)

    def test_ipv6_on_link(self):
        places = {("fd91::105", 6060): "go1.26-std", ("fd91::1f0", 8080): "v8121-docs"}
        for address, _ in places:
            LAB.run("target", "ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
        with LAB.inside("target"):
            fleet = Fleet(places)
        self.addCleanup(fleet.close)
        self.compare({"[fd91::105]:6060"}, "fd91::100/120")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)


def sockets_of(pid):
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
            if match:
                found.add(match[1])
    return found


def special_sockets(pid):
    """inodes of packet and raw sockets in the process's namespace"""
    found = set()
    for name, column in (("packet", 8), ("raw", 9), ("raw6", 9)):
        with open(f"/proc/{pid}/net/{name}", encoding="ascii") as file:
            found |= {line.split()[column] for line in file.read().splitlines()[1:]}
    return found


class Privileges(SweepTest):
    def watch(self, method):
        """{pid: status} of a sweep that runs, by then sandboxed"""
        process = self.start("--method", method, "--rate", "1000", "--ports", LIST, "--resume",
                             self.folder / "state", NETWORK)
        self.wait_syns(20)
        pids = [process.pid, *(pid for pid, _ in lab.descendants(process.pid))]
        return process, {pid: status_of(pid) for pid in pids}

    def test_nobody_may_anything(self):
        for method in ("syn", "connect"):
            process, seen = self.watch(method)
            special = special_sockets(process.pid)
            holders = [pid for pid in seen if sockets_of(pid) & special]
            for pid, status in seen.items():
                with self.subTest(method, process=status["Name"], main=pid == process.pid):
                    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                        self.assertEqual(int(status[name], 16), 0, name)
                    self.assertEqual(status["NoNewPrivs"], "1")
                    for task in os.listdir(f"/proc/{pid}/task"):
                        if not lab.IS_ASAN:  # sanitizers need what filters forbid
                            self.assertEqual(status_of(f"{pid}/task/{task}")["Seccomp"], "2")
                    if not self.is_keeper(pid):
                        self.assertNotIn("0", status["Uid"].split())
                        self.assertNotIn("0", status["Gid"].split())
                    self.assertEqual(status["Groups"].strip(), "")
            self.assertGreaterEqual(len(seen), 3, seen)  # itself, the discoverer, the keeper
            self.assertNotIn(process.pid, holders)
            self.assertEqual(len(holders), 1 if method == "syn" else 0)
            process.send_signal(signal.SIGINT)
            self.finish(process, 3)

    @staticmethod
    def is_keeper(pid):
        """It becomes the owner of the folder that it writes to."""
        return any(os.path.isdir(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))

    def test_without_privileges(self):
        """Not root: connect by itself, and syn is refused."""
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        result = self.scan(*FAST, NETWORK, prefix=nobody)
        self.assertEqual(result.found, LAB.exposed())
        result = self.scan("--method", "syn", *FAST, NETWORK, prefix=nobody, status=2)
        # Where the build lies in a folder of root's alone, nobody cannot read what it ships.
        said = [line for line in result.err.splitlines() if "without signatures" not in line]
        self.assertEqual(len(said), 1, result.err)
        self.assertRegex(said[0], r"--method syn: .*--method connect$")


class Order(SweepTest):
    def test_shards(self):
        """Disjoint and complete, by what arrives."""
        every = {text_of(a, p) for a in NETWORK for p in PORTS}
        for method in ("syn", "connect"):
            seen, found = {}, []
            for shard in (1, 2, 3):
                with Capture(LAB) as capture:
                    result = self.scan("--method", method, "--shard", f"{shard}/3", *FAST,
                                       NETWORK)
                self.assertEqual((result.trailers[0]["shard"], result.trailers[0]["shards"]),
                                 (shard, 3))
                seen[shard] = set(capture.swept())
                found += result.found
            sizes = sorted(len(part) for part in seen.values())
            both = (seen[1] & seen[2]) | (seen[1] & seen[3]) | (seen[2] & seen[3])
            self.assertEqual(sum(sizes) - len(both), ENDPOINTS)
            self.assertLessEqual(sizes[2] - sizes[0], 1 + len(both))
            self.assertEqual(both, set(), method)
            self.assertEqual(seen[1] | seen[2] | seen[3], every)
            self.assertEqual(sorted(found), sorted(LAB.exposed()))

    def test_the_seed_is_the_order(self):
        orders = []
        for method, seed in (("syn", 5), ("syn", 5), ("connect", 5), ("syn", 6)):
            with Capture(LAB) as capture:
                self.scan("--method", method, "--seed", seed, "--rate", "5000", "--retries", "0",
                          "--timeout", "300ms", "--ports", LIST, "10.77.8.0/24", status=0)
            orders.append([endpoint for _, endpoint in capture.seen])
            self.assertEqual(sorted(orders[-1]), sorted(orders[0]))
            self.assertEqual(len(orders[-1]), 2560)
        self.assertEqual(orders[0], orders[1])
        self.assertEqual(orders[0], orders[2])
        self.assertNotEqual(orders[0], orders[3])
        # Neither ports nor hosts come one after the other.
        hosts = [endpoint.split(":")[0] for endpoint in orders[0]]
        near = sum(a == b for a, b in zip(hosts, hosts[1:]))
        self.assertLess(near, 100)

    def test_exclusions(self):
        """Not one packet, also where nothing answers and SYNs are repeated."""
        excluded = self.file("excluded", "# not ours\n10.77.3.0/24\n10.77.9.1\n"
                                         "10.77.15.128/25 # x\n")
        nets = [ipaddress.ip_network(n) for n in ("10.77.3.0/24", "10.77.9.1/32", "10.77.15.128/25",
                                                  "10.77.0.0/25")]
        left = {text_of(a, p) for a in NETWORK if not any(a in n for n in nets) for p in PORTS}
        LAB.nft("add counter inet lab forbidden; add rule inet lab in ip daddr "
                "{ 10.77.3.0/24, 10.77.9.1, 10.77.15.128/25, 10.77.0.0/25 } counter name forbidden")
        for method in ("syn", "connect", "direct"):
            targets = ("10.77.0.0/22", "10.77.9.0/30") if method == "direct" else (NETWORK,)
            retries = ("--retries", "3") if method == "syn" else ()
            with Capture(LAB) as capture:
                result = self.scan("--method", method, *FAST, *retries, "--exclude",
                                   "10.77.0.0/25", "--exclude-file", excluded, *targets)
            self.assertEqual(LAB.counter("forbidden"), 0, method)
            asked = capture.swept()
            if method != "direct":
                self.assertEqual(set(asked), left, method)
                self.assertEqual(result.found, LAB.exposed() & left)
            if method == "syn":
                silent = [n for e, n in asked.items()
                          if ipaddress.ip_address(e.split(":")[0]) in SILENT]
                self.assertEqual(set(silent), {4})

    def test_shipped_files(self):
        for name in ("special-purpose.txt", "never.txt"):
            result = self.scan("--dry-run", "--exclude-file", CONF / name, "224.0.0.0/24",
                               "10.77.0.0/24", "93.184.216.0/24", status=0)
            excluded = int(re.search(r"of which (\d+) are excluded", result.text)[1])
            ports = int(re.search(r"endpoints (\d+)", result.text)[1]) // 768
            self.assertEqual(excluded, ports * 256 * (2 if name[0] == "s" else 1))
        bad = self.file("bad", "10.0.0.0/8\n10.0.0.1/33 # no\n")
        result = self.scan("--exclude-file", bad, NETWORK, status=2)
        self.assertRegex(result.err, r"/bad:2:\d+: ")
        self.assertEqual(LAB.counter("arrived"), 0)


class Loss(SweepTest):
    @contextlib.contextmanager
    def loss(self, percent):
        """Of what arrives at either end."""
        per_mille = percent * 10
        for namespace in ("target", "client"):
            LAB.run(namespace, "nft", "add table inet loss; add chain inet loss in { type filter "
                    "hook prerouting priority raw - 1; policy accept; }; add rule inet loss in "
                    f"iifname eth0 numgen random mod 1000 < {per_mille} drop")
        # The SYN engine reads below nftables: its answers are lost where they leave.
        LAB.run("target", "nft", "add chain inet loss out { type filter hook output priority raw - "
                "1; policy accept; }; add rule inet loss out oifname eth0 numgen random mod 1000 < "
                f"{per_mille} drop")
        try:
            yield
        finally:
            for namespace in ("target", "client"):
                LAB.run(namespace, "nft", "delete table inet loss")

    def test_two_percent(self):
        with self.loss(2):
            for method in ("syn", "syn", "syn", "connect"):
                self.forget()
                # the kernel's own SYNs go out at once, and after one and three seconds
                timeout = "1500ms" if method == "syn" else "4s"
                result = self.scan("--method", method, "--rate", "20000", "--timeout", timeout,
                                   "--ports", LIST, NETWORK)
                self.assertEqual(result.found, LAB.exposed(), method + result.err)
                self.assertEqual(len(result.rows), len(result.found))

    def test_no_loss_no_retries(self):
        """Silent SYNs are not repeated more often than the measured loss demands."""
        with Capture(LAB) as capture:
            self.scan("--method", "syn", *FAST, NETWORK)
        tries = capture.swept()
        self.assertEqual(len(tries), ENDPOINTS)
        silent = [n for e, n in tries.items() if ipaddress.ip_address(e.split(":")[0]) in SILENT]
        self.assertLessEqual(sum(silent), 2.2 * len(silent))


class Conntrack(SweepTest):
    COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"

    def setUp(self):
        super().setUp()
        LAB.run("client", "nft", "add table inet track; add chain inet track in { type filter hook "
                "input priority filter; policy accept; }; add rule inet track in ct state "
                "established,related accept")
        self.addCleanup(LAB.run, "client", "nft", "delete table inet track")
        with LAB.inside("client"):
            self.count_file = open(self.COUNT, "rb", buffering=0)
        self.addCleanup(self.count_file.close)

    def count(self):
        self.count_file.seek(0)
        return int(self.count_file.read())

    def most(self, process, forget_at=None):
        """The largest table seen while it runs. The kernel takes a minute to forget: we don't."""
        most, since = 0, None
        while process.poll() is None:
            count = self.count()
            most = max(most, count)
            if forget_at is None or count < forget_at:
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since > 0.3:
                self.forget_connections()
            time.sleep(0.02)
        return most

    @staticmethod
    def forget_connections():
        message = struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0)  # DELETE, with an ACK
        with LAB.inside("client"):
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        with netlink:
            netlink.send(message)
            netlink.recv(4096)

    def test_syn_fills_no_table(self):
        before = self.count()
        process = self.start("--method", "syn", *FAST, NETWORK, stdout=subprocess.PIPE)
        most = self.most(process)
        result = self.finish(process, 1)
        self.assertEqual(result.found, LAB.exposed())
        self.assertLess(most - before, 2000)  # probes and guards; 40,960 were asked

    def test_a_small_table(self):
        """connect waits for room, says so, and finds everything."""
        # Many kernels have one limit for all namespaces: it is shown another one.
        small = self.file("max", "3000\n")
        prefix = ("sh", "-c", f"mount --bind {small} /proc/sys/net/netfilter/nf_conntrack_max && "
                  'exec "$@"', "sh")
        process = self.start("--method", "connect", *FAST, "--timeout", "900ms", "10.77.6.0/23",
                             "10.77.8.0/23", prefix=prefix)
        most = self.most(process, forget_at=2000)
        result = self.finish(process, 1, timeout=60)
        self.assertEqual(result.found, LAB.exposed("10.77.6.0/23"))
        self.assertLess(most, 2900)
        self.assertRegex(result.err, "conntrack|connection tracking|tracked")


class Memory(SweepTest):
    """Nothing grows with the size of a sweep."""

    LIMIT = 48 << 20

    def peak(self, *arguments, status):
        """Largest sums over all its processes, in bytes: of all memory, and of what is its own.

        How much of a library is accounted to it depends on who else has it mapped."""
        process = self.start(*arguments, "--resume", self.folder / "state")
        most = [0, 0]
        while process.poll() is None:
            pids = [process.pid, *(pid for pid, _ in lab.descendants(process.pid))]
            sizes = [self.sizes(pid) for pid in pids]
            most = [max(before, sum(column)) for before, column in zip(most, zip(*sizes))]
            time.sleep(0.02)
        self.finish(process, status, timeout=60)
        self.assertGreater(most[1], 1 << 20)
        for path in self.folder.iterdir():
            path.unlink()
        return most

    @staticmethod
    def sizes(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                text = file.read()
            return [int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) << 10
                    for name in ("Pss", "Pss_Anon")]
        return [0, 0]

    @unittest.skipIf(lab.IS_ASAN, "a sanitizer's memory is its own")
    def test_a_larger_sweep(self):
        for method in ("syn", "connect"):
            small = self.peak("--method", method, *FAST, NETWORK, status=1)
            large = self.peak("--method", method, *FAST, "10.77.0.0/17", status=1)
            said = f"{method}: {small[0] / 2**20:.1f} MB for {ENDPOINTS} endpoints, " \
                   f"{large[0] / 2**20:.1f} MB for {8 * ENDPOINTS}"
            print(said, end="; ", flush=True)
            self.assertLess(max(small[0], large[0]), self.LIMIT, said)
            self.assertLess(large[1], small[1] * 1.1, (said, small, large))

    @unittest.skipIf(lab.IS_ASAN, "a sanitizer's memory is its own")
    def test_every_endpoint_told(self):
        """With a history the scan hears of each silent endpoint, and they are many at once."""
        most, _ = self.peak("--method", "syn", *FAST, "--history", self.folder / "history",
                              "10.77.0.0/16", status=1)
        print(f"{most / 2**20:.1f} MB", end=" ", flush=True)
        self.assertLess(most, self.LIMIT / 2)

    @unittest.skipIf(lab.IS_ASAN, "a sanitizer's memory is its own")
    def test_the_largest_plan(self):
        process = subprocess.Popen(LAB.command("--dry-run", "--ports", "top30", "10.0.0.0/8", "-"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=lab.environment())
        self.addCleanup(process.kill)
        # It waits for more on standard input when it has read the rest.
        lab.wait_until(lambda: status_of(process.pid)["State"][0] == "S", 10, "it waits")
        peak = int(status_of(process.pid)["VmHWM"].split()[0]) << 10
        plan, _ = process.communicate("10.0.0.1\n")
        self.assertEqual(process.returncode, 0)
        self.assertIn(f"endpoints {30 * ((1 << 24) + 1)}", plan)
        self.assertLess(peak, self.LIMIT)


def continuation(said):
    """The command that it printed, with our program in the place of `pprofwall`."""
    line = re.search(r"^to continue: pprofwall (scan .*)$", said, re.M)
    return f"{shlex.quote(lab.program('pprofwall'))} {line[1]}"


class Interrupted(SweepTest):
    def run_line(self, line):
        done = LAB.run("client", "sh", "-c", line, check=False, timeout=120)
        return Result(done.returncode, done.stdout, done.stderr)

    def interrupt(self, process, number=signal.SIGINT):
        begun = time.monotonic()
        process.send_signal(number)
        result = self.finish(process, 3)
        self.assertLess(time.monotonic() - begun, 1 * SLOW)
        return result

    @staticmethod
    def has_written(process):
        waiting = fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))
        return int.from_bytes(waiting, sys.byteorder) > 0

    def test_the_printed_command_goes_on(self):
        for method in ("syn", "connect", "direct"):
            self.forget()
            target = "10.77.0.0/22" if method == "direct" else NETWORK
            with Capture(LAB) as first_seen:
                process = self.start("--method", method, "--rate", "6000", "--timeout",
                                     f"{400 * SLOW}ms", "--ports", LIST, target)
                lab.wait_until(lambda: self.has_written(process), 30 * SLOW, "a finding")
                first = self.interrupt(process)
            self.assertGreater(len(first.found), 0, method)
            self.assertLess(first.found, LAB.exposed(target), method)
            with Capture(LAB) as then_seen:
                rest = self.run_line(continuation(first.err))
            self.assertEqual(rest.status, 1, rest.err)
            self.assertEqual(first.found | rest.found, LAB.exposed(target), method)
            sent, again = first_seen.swept(), then_seen.swept()
            size = ipaddress.ip_network(target).num_addresses * len(PORTS)
            self.assertEqual(len({**sent, **again}), size, method)
            # Again only what was under way: a window, and one that waits for answers.
            under_way = len(set(sent) & set(again))
            self.assertLess(under_way, 6000 * (4 if method == "syn" else 2), method)

    def test_at_once(self):
        """Whenever it comes."""
        for wait in (0.02, 0.05, 0.1, 0.2):
            process = self.start(*FAST, "--rate", "1000", NETWORK)
            lab.wait_until(lambda: lab.descendants(process.pid), 10 * SLOW, "a discoverer")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            if status_of(process.pid).get("SigCgt", "0").strip("0"):
                self.interrupt(process, signal.SIGTERM)
            else:
                process.kill()

    def interrupted_state(self, *arguments):
        state = self.folder / "state"
        process = self.start("--rate", "3000", "--timeout", "300ms", "--ports", LIST, "--resume",
                             state, *arguments, NETWORK)
        self.wait_syns(100)
        said = self.interrupt(process).err
        self.assertIn(f"--resume {state}", continuation(said))
        self.assertNotIn("--start-at", said)
        return state

    def test_a_file_that_is_not_ours(self):
        state = self.interrupted_state("--seed", "7", "--shard", "1/2")
        whole = state.read_text("ascii")
        LAB.counter()
        ours = ("--ports", LIST, "--resume", state, "--shard", "1/2")

        def refused(pattern, *arguments):
            result = self.scan(*arguments, status=2)
            self.assertRegex(result.err, pattern)
            self.assertEqual(result.err.count("\n"), 1, result.err)
            self.assertEqual(result.text, "")
        refused("of a sweep with other targets, ports or prefixes", *ours, "10.77.0.0/21")
        refused("of a sweep with other targets, ports or prefixes", *ours, "--ports", "80", NETWORK)
        refused("of shard 1/2", *ours, "--shard", "2/2", NETWORK)
        refused("of shard 1/2", "--ports", LIST, "--resume", state, NETWORK)
        refused("of a sweep with the seed 7", *ours, "--seed", "8", NETWORK)
        for damage in (whole[:40], whole.replace('"seed":"7"', '"seed":"x"'), "\0" * 100, "{}\n",
                       whole.replace('"start_at":"', '"start_at":"-'), "x" * 200000):
            state.write_text(damage, encoding="ascii")
            refused("--resume: ", *ours, NETWORK)
        state.unlink()
        state.mkdir()
        refused("--resume: ", *ours, NETWORK)
        refused("--start-at", "--start-at", "0:1:zzz", "--seed", "1", NETWORK)
        refused("--start-at needs the --seed", "--start-at", "0:1", NETWORK)
        self.assertEqual(LAB.counter(), 0)

    def test_a_complete_one_begins_anew(self):
        state = self.folder / "state"
        for _ in range(2):
            result = self.scan(*FAST, "--resume", state, "10.77.4.0/22")
            self.assertEqual(result.found, LAB.exposed("10.77.4.0/22"))
            kept = json.loads(state.read_text("ascii"))
            self.assertTrue(kept["complete"])
            self.assertEqual(kept["endpoints"], 10240)
            self.assertEqual(os.stat(state).st_mode & 0o777, 0o600)

    def test_counts_go_on(self):
        """The summary of a sweep's last run is the whole sweep's."""
        state = self.interrupted_state()
        result = self.scan(*FAST, "--resume", state, NETWORK)
        kept = json.loads(state.read_text("ascii"))
        scanned = int(re.search(r"scanned (\d+) endpoints", result.err)[1])
        self.assertEqual(kept["endpoints"], scanned)
        self.assertGreaterEqual(scanned, ENDPOINTS)
        self.assertLess(scanned, ENDPOINTS + 3000 * 3 + 256)


class Killed(SweepTest):
    def test_killed_at_random(self):
        """Again and again, until it is complete: nothing is skipped, little is asked twice."""
        choice, rate = random.Random(8), 8000 // SLOW
        for method in ("syn", "connect"):
            self.forget()
            state, found, kills = self.folder / f"state-{method}", set(), 0
            with Capture(LAB) as capture:
                while True:
                    output = self.folder / "found.ndjson"
                    with open(output, "w", encoding="ascii") as out:
                        process = self.start("--method", method, "--rate", rate, "--timeout",
                                             f"{300 * SLOW}ms", "--retries", "0", "--ports", LIST,
                                             "--resume", state, NETWORK, stdout=out)
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            process.wait((choice.uniform(0.2, 1.8) if kills < 8 else 60) * SLOW)
                        status = process.poll()
                        family = lab.descendants(process.pid)
                        process.kill()
                        _, said = process.communicate()
                    lines = output.read_text("ascii").splitlines()
                    found |= {json.loads(line)["endpoint"] for line in lines
                              if line.endswith("}")}
                    # Nobody outlives it: the next run is alone.
                    lab.wait_until(lambda: not any(lab.start_time(pid) == begun
                                                   for pid, begun in family), 5,
                                   "its children's end")
                    if status is not None:
                        self.assertEqual(status, 1 if found else 0, said)
                        break
                    kills += 1
            sent = capture.swept()
            print(f"{method}: {kills} kills, {sum(sent.values())} SYNs for {ENDPOINTS} endpoints",
                  end=" ", flush=True)
            self.assertGreaterEqual(kills, 4)
            self.assertEqual(found, LAB.exposed(), method)
            self.assertEqual(set(sent), {text_of(a, p) for a in NETWORK for p in PORTS})
            # For each kill a window under way and one second that had not been written down.
            self.assertLess(sum(sent.values()), ENDPOINTS + (kills + 1) * 8000 * 3)
            self.assertTrue(json.loads(state.read_text("ascii"))["complete"])


class Polite(SweepTest):
    def rate(self, capture):
        """Packets per second, without the first and the last tenth."""
        times = [at for at, _ in capture.seen]
        times = times[len(times) // 10:-len(times) // 10]
        return (len(times) - 1) / (times[-1] - times[0])

    def test_rate(self):
        for method in ("syn", "connect"):
            with Capture(LAB) as capture:
                self.scan("--method", method, "--rate", "500", "--retries", "0", "--timeout",
                          "300ms", "--ports", "81,82,83,84,85,86", "10.77.8.0/24", status=0)
            self.assertGreaterEqual(len(capture.seen), 1536)
            self.assertAlmostEqual(self.rate(capture), 500, delta=50, msg=method)

    def test_rate_of_direct(self):
        """Closed ports: one connection each."""
        with Capture(LAB) as capture:
            self.scan("--method", "direct", "--rate", "500", "--ports", "81,82,83,84,85",
                      "10.77.0.0/24", status=0)
        self.assertGreaterEqual(len(capture.seen), 1280)
        self.assertAlmostEqual(self.rate(capture), 500, delta=50)

    def test_per_host_rate(self):
        ports = ",".join(str(port) for port in range(81, 91))
        for method in ("syn", "connect", "direct"):
            with Capture(LAB) as capture:
                self.scan("--method", method, "--rate", "0", "--per-host-rate", "5", "--ports",
                          ports, "10.77.1.0/29", status=0)
            hosts = {}
            for at, endpoint in capture.seen:
                hosts.setdefault(endpoint.split(":")[0], []).append(at)
            self.assertEqual(len(hosts), 8, method)
            for host, times in hosts.items():
                self.assertEqual(len(times), 10, (method, host))
                gaps = [b - a for a, b in zip(times, times[1:])]
                self.assertGreater(min(gaps), 0.2 - 0.05 * SLOW, (method, host))
                self.assertLess(times[-1] - times[0], 9 * 0.2 * 2 * SLOW, (method, host))

    def test_contact(self):
        for method in ("syn", "connect", "direct"):
            LAB.fleet.requests.clear()
            self.scan("--method", method, *FAST, "--contact", "mailto:security@example.org",
                      "10.77.4.0/24" if method == "direct" else "10.77.4.0/22")
            agents = {re.search(r"^User-Agent: (.*)\r$", head, re.M)[1]
                      for _, _, head in LAB.fleet.requests}
            self.assertEqual(len(agents), 1, method)
            self.assertRegex(agents.pop(),
                             r"^pprofwall/\S+.* contact: mailto:security@example\.org$")
        result = self.scan("--contact", "a\nb", "10.77.4.1", status=2)
        self.assertIn("--contact: ", result.err)

    def test_dry_run(self):
        state = self.folder / "state"
        result = self.scan("--dry-run", "--rate", "2000", "--ports", LIST, "--resume", state,
                           "--metrics-file", self.folder / "metrics.prom", "--exclude",
                           "10.77.0.0/24", NETWORK, "10.0.0.1", status=0)
        self.assertEqual((LAB.counter("arrived"), result.err), (0, ""))
        self.assertIn("endpoints 40970, of which 2560 are excluded", result.text)
        self.assertRegex(result.text, r"takes +20 s at --rate 2000")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_stop_file(self):
        """Both shards see it."""
        stop = self.folder / "stop"
        shards = [self.start("--method", method, "--rate", "1000", "--ports", LIST, "--shard",
                             shard, "--stop-file", stop, NETWORK)
                  for shard, method in (("1/2", "syn"), ("2/2", "connect"))]
        self.wait_syns(1000)
        self.assertEqual([shard.poll() for shard in shards], [None, None])
        stop.touch()
        begun = time.monotonic()
        results = [self.finish(shard, 3) for shard in shards]
        self.assertLess(time.monotonic() - begun, 1.5 * SLOW)
        for result in results:
            self.assertIn(str(stop), result.err)
            self.assertFalse(result.trailers[-1]["complete"])
            self.assertIn("--start-at", continuation(result.err))
        LAB.counter("arrived")
        result = self.scan("--ports", LIST, "--stop-file", stop, NETWORK, status=3)
        self.assertLess(LAB.counter(), 5000)


class Shards(SweepTest):
    KEPT = ("endpoint", "verdict", "severity", "risk", "kind", "profiles", "status", "path")

    def kept(self, rows):
        return sorted(json.dumps({key: row[key] for key in self.KEPT}) for row in rows)

    def merge(self, *files, status):
        done = lab.run(lab.program("pprofwall"), "merge", "--format", "ndjson", *files, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return Result(status, done.stdout, done.stderr)

    def test_merged(self):
        whole = self.scan("--all", *FAST, "--method", "syn", "10.77.4.0/22", "10.77.8.0/24")
        files = []
        for shard, method in ((1, "syn"), (2, "connect"), (3, "syn")):
            result = self.scan("--all", *FAST, "--method", method, "--shard", f"{shard}/3",
                               "10.77.4.0/22", "10.77.8.0/24", status=(0, 1))
            files.append(self.file(f"{shard}.ndjson", result.text))
        merged = self.merge(*files, status=1)
        self.assertEqual(len(merged.rows), 12800)
        self.assertEqual(self.kept(merged.rows), self.kept(whole.rows))
        self.assertEqual(merged.found, LAB.exposed("10.77.4.0/22"))
        missing = self.merge(files[0], files[2], status=3)
        self.assertRegex(missing.err, r"2")
        self.assertRegex(missing.err, r"missing")
        # One that did not end is told from one that did.
        process = self.start("--rate", "500", "--ports", LIST, "--timeout", "300ms", "--shard",
                             "2/3", "10.77.4.0/22", "10.77.8.0/24")
        self.wait_syns(50)
        process.send_signal(signal.SIGINT)
        files[1].write_text(self.finish(process, 3).text, encoding="ascii")
        self.assertIn("2", self.merge(*files, status=3).err)


class Metrics(SweepTest):
    def test_textfile(self):
        """promtool has nothing to say, and a reader never sees half of it."""
        file = self.folder / "sweep.prom"
        file.write_text("old\n", encoding="ascii")
        process = self.start(*FAST, "--rate", "20000", "--metrics-file", file, NETWORK)
        seen = set()
        while process.poll() is None:
            seen.add(file.read_text("ascii"))
        result = self.finish(process, 1)
        text = file.read_text("ascii")
        self.assertLessEqual(seen, {"old\n", text})
        self.assertEqual([path.name for path in self.folder.iterdir()], ["sweep.prom"])
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o644)
        done = subprocess.run([lab.server_program("promtool"), "check", "metrics"], input=text,
                              text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        metrics = lab.parse_metrics(text)
        verdicts = {labels["verdict"]: value for labels, value
                    in metrics["pprofwall_sweep_last_endpoints"]}
        self.assertEqual(verdicts["confirmed"], len(result.found))
        self.assertEqual(sum(verdicts.values()), ENDPOINTS)
        self.assertEqual(metrics["pprofwall_sweep_last_complete"], [({}, 1)])
        self.assertGreaterEqual(metrics["pprofwall_sweep_last_packets_sent"][0][1], ENDPOINTS)
        exposures = sum(value for _, value in metrics["pprofwall_sweep_last_exposures"])
        self.assertEqual(exposures, len(result.found))

    def test_incomplete(self):
        file = self.folder / "sweep.prom"
        process = self.start("--rate", "1000", "--ports", LIST, "--metrics-file", file, NETWORK)
        self.wait_syns(100)
        process.send_signal(signal.SIGINT)
        self.finish(process, 3)
        metrics = lab.parse_metrics(file.read_text("ascii"))
        self.assertEqual(metrics["pprofwall_sweep_last_complete"], [({}, 0)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
