# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scan keeps away from: printers, and hosts that accept every port. And what it reads:
the outputs of other scanners."""
import contextlib
import json
import pathlib
import re
import socket
import struct
import sys
import threading
import time
import unittest

import lab
from test_scan import Server, recorded

EXPOSED = "go1.26-std"
CORPUS = pathlib.Path(lab.SOURCE_DIR, "tests", "fuzz", "corpus", "fuzz_input_formats")
SO_ORIGINAL_DST = 80


class Mute:
    """Accepts, says `banner` if there is one, and keeps every byte that comes."""

    def __init__(self, address, port, banner=b""):
        self.banner, self.received, self.connections = banner, {}, 0
        self._lock = threading.Lock()
        self.listener = socket.create_server((address, port), backlog=4096)
        self.port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._take, args=(client,), daemon=True).start()

    def _take(self, client):
        with contextlib.suppress(OSError), client:
            with self._lock:
                self.connections += 1
            asked = self._asked_for(client)
            client.sendall(self.banner)
            while data := client.recv(65536):
                with self._lock:
                    self.received[asked] = self.received.get(asked, b"") + data

    @staticmethod
    def _asked_for(client):
        """Where the connection went before nftables sent it here."""
        try:
            raw = client.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        except OSError:
            return client.getsockname()[:2]
        port, address = struct.unpack("!2xH4s8x", raw)
        return socket.inet_ntoa(address), port

    def close(self):
        self.listener.close()


class GuardTest(unittest.TestCase):
    def setUp(self):
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)

    def add_address(self, address):
        self.lab.run("target", "ip", "address", "add", f"{address}/24", "dev", "eth0")
        return address

    def serve(self, handler, address, port):
        with self.lab.inside("target"):
            server = Server(handler, address=address, port=port)
        self.addCleanup(server.close)
        return server

    def mute(self, address, port, banner=b""):
        with self.lab.inside("target"):
            server = Mute(address, port, banner)
        self.addCleanup(server.close)
        return server

    def scan(self, *arguments, status=None, descriptors=None):
        """(findings, what was said on standard error)"""
        argv = [lab.program("pprofwall"), "scan", "--format", "ndjson", *arguments]
        if descriptors:
            argv = ["sh", "-c", f'ulimit -n {descriptors}; exec "$0" "$@"', *argv]
        done = self.lab.run("client", *argv, check=False, timeout=40)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [row for row in rows if "verdict" in row], done.stderr


class Printers(GuardTest):
    METHODS = ("direct", "connect", "syn")

    def test_a_printer_receives_nothing(self):
        node = self.add_address("10.91.0.20")
        self.lab.serve_node_exporter(address=node)
        printers = []
        for i, sign in enumerate((515, 631, 9101)):
            address = self.add_address(f"10.91.0.{30 + i}")
            printers.append(self.mute(address, 9100))
            # Alone beside 9100, 9101 may be an exporter: only 9102 makes it a box of three.
            self.mute(address, sign)
        printers.append(self.mute(self.add_address("10.91.0.40"), 9107, b"@PJL\r\n"))
        three = self.add_address("10.91.0.41")
        printers += [self.mute(three, port) for port in (9100, 9101, 9102)]
        for method in self.METHODS:
            with self.subTest(method):
                rows, said = self.scan("--method", method, "--ports", "9100-9107",
                                       "--timeout", "1s", "10.91.0.20/31", "10.91.0.30/31",
                                       "10.91.0.32", "10.91.0.40/31", status=1)
                self.assertEqual([row["endpoint"] for row in rows], ["10.91.0.20:9100"])
                self.assertEqual(rows[0]["verdict"], "confirmed")
                self.assertEqual([p.received for p in printers], [{}] * len(printers))
                for sign in ("515", "631", "9101", "9102", "speaks first"):
                    self.assertIn(sign, said)

    def test_a_printer_that_is_named(self):
        printer = self.mute(self.add_address("10.91.0.30"), 9100)
        self.mute("10.91.0.30", 631)
        for target in ("10.91.0.30:9100", "http://10.91.0.30:9100/debug/pprof/"):
            rows, said = self.scan("--timeout", "500ms", "--all", target, status=0)
            self.assertEqual((rows, printer.received), ([], {}))
            self.assertIn("631", said)

    def test_without_the_guard(self):
        """The printer of these tests does notice."""
        printer = self.mute(self.add_address("10.91.0.30"), 9100)
        self.mute("10.91.0.30", 515)
        self.scan("--no-printer-guard", "--timeout", "500ms", "10.91.0.30:9100")
        self.assertIn(b"GET /debug/pprof/", printer.received["10.91.0.30", 9100])

    def test_knocks_keep_to_the_rate(self):
        """Guards' connections and the probes' come out of one allowance."""
        self.lab.run("target", "ip", "route", "add", "local", "10.92.0.0/27", "dev", "lo")
        self.lab.run("client", "ip", "route", "add", "10.92.0.0/27", "via", self.lab.TARGET)
        self.mute("0.0.0.0", 9100)
        begun = time.monotonic()
        self.scan("--method", "connect", "--rate", "40", "--timeout", "300ms",
                  "--no-accept-all-guard", "--ports", "9100", "10.92.0.0/27", status=0)
        # 32 hosts: four knocks and a probe each.
        self.assertGreater(time.monotonic() - begun, 32 * 5 / 40 * 0.9)

    def test_no_descriptors_to_look_with(self):
        self.serve(recorded(EXPOSED), self.lab.TARGET, 9100)
        printer = self.mute(self.add_address("10.91.0.30"), 9100)
        self.mute("10.91.0.30", 515)
        for limit in (24, 28, 32, 40, 64, 68, 72, 80, 100):
            with self.subTest(limit):
                self.scan("--timeout", "300ms", "--method", "direct", "10.91.0.30:9100",
                          f"{self.lab.TARGET}:9100", descriptors=limit)
                self.assertEqual(printer.received, {})


class AcceptAll(GuardTest):
    PORTS = "1000-1019"

    def setUp(self):
        super().setUp()
        self.lab.run("target", "ip", "route", "add", "local", "10.92.0.0/16", "dev", "lo")
        self.lab.run("client", "ip", "route", "add", "10.92.0.0/16", "via", self.lab.TARGET)

    def accept_all(self, prefix):
        self.lab.nft("table ip every { chain port { type nat hook prerouting priority -100; "
                     f"ip daddr {prefix} meta l4proto tcp redirect to :7; }}; }}")
        with self.lab.inside("target"):
            server = Mute("0.0.0.0", 7)
        self.addCleanup(server.close)
        return server

    def test_a_host(self):
        proxy = self.accept_all("10.92.0.5")
        for method in ("connect", "syn"):
            with self.subTest(method):
                proxy.received.clear()
                begun = time.monotonic()
                _, said = self.scan("--method", method, "--ports", self.PORTS, "--timeout",
                                    "2s", "10.92.0.5", status=0)
                self.assertLess(time.monotonic() - begun, 15)
                self.assertEqual(said.count("10.92.0.5 accepts every port: set aside"), 1, said)
                self.assertLessEqual(len(proxy.received), 5)

    def test_without_the_guard(self):
        proxy = self.accept_all("10.92.0.5")
        _, said = self.scan("--no-accept-all-guard", "--method", "connect", "--ports",
                            self.PORTS, "--timeout", "500ms", "10.92.0.5", status=0)
        self.assertNotIn("accepts every port", said)
        self.assertEqual(len(proxy.received), 20)

    def test_a_network(self):
        proxy = self.accept_all("10.92.7.0/24")
        honest = self.serve(recorded(EXPOSED), self.lab.TARGET, 1007)
        rows, said = self.scan("--method", "connect", "--rate", "0", "--ports", self.PORTS,
                               "--timeout", "2s", "10.92.7.0/24", f"{self.lab.TARGET}", status=1)
        self.assertEqual([row["endpoint"] for row in rows], [honest.endpoint])
        self.assertEqual(said.count("10.92.7.0/24 accepts every port on every address: set aside"),
                         1, said)
        # Not all of 5,120 endpoints.
        self.assertLess(len(proxy.received), 1500)
        self.assertFalse({port for _, port in proxy.received} - set(range(1000, 1020)))

    def test_excluded_addresses_are_not_knocked_at(self):
        """The network's check asks only what it was told to."""
        proxy = self.accept_all("10.92.7.0/24")
        self.scan("--method", "connect", "--rate", "0", "--ports", self.PORTS, "--timeout", "1s",
                  "--exclude", "10.92.7.128/25", "10.92.7.0/25", status=0)
        self.assertFalse([a for a, _ in proxy.received if int(a.rpartition(".")[2]) >= 128])

    def test_honest_hosts_with_many_ports(self):
        servers = [self.serve(recorded(EXPOSED), self.lab.TARGET, port)
                   for port in range(1000, 1012)]
        rows, said = self.scan("--method", "connect", "--ports", self.PORTS, "--timeout", "3s",
                               self.lab.TARGET, status=1)
        self.assertEqual({row["endpoint"] for row in rows}, {s.endpoint for s in servers})
        self.assertNotIn("accepts every port", said)


class Inputs(GuardTest):
    """Recordings of other scanners of 10.67.0.2 and 10.67.0.3, played back to our own."""
    FOUND = {"10.67.0.2:6060", "10.67.0.2:9100", "10.67.0.3:8080"}

    def setUp(self):
        super().setUp()
        self.lab.run("client", "ip", "route", "add", "10.67.0.0/24", "via", self.lab.TARGET)
        for address in ("10.67.0.2", "10.67.0.3"):
            self.lab.run("target", "ip", "address", "add", f"{address}/32", "dev", "lo")

    def endpoints(self, *arguments, status):
        rows, said = self.scan("--all", "--timeout", "2s", *arguments, status=status)
        self.assertEqual({row["verdict"] for row in rows} - {"closed"}, set())
        return {row["endpoint"] for row in rows}, said

    def write(self, text):
        path = pathlib.Path(self.lab.directory, "input")
        path.write_text(text, encoding="utf-8")
        return f"@{path}"

    def test_whole_files(self):
        for name in ("nmap-7.93-sv.xml", "nmap-7.93-sv.gnmap", "masscan-1.3.2-oJ",
                     "masscan-1.3.2-oL", "masscan-1.3.2-oG", "masscan-1.3.2-oX",
                     "masscan-1.3.2-oD", "masscan-1.3.2-banners-oJ", "masscan-1.3.2-banners-oL"):
            with self.subTest(name):
                found, _ = self.endpoints(f"@{CORPUS / name}", status=0)
                self.assertEqual(found, self.FOUND)

    def test_interrupted_scans(self):
        for name in ("nmap-7.93-int.xml", "nmap-7.93-int.gnmap"):
            with self.subTest(name):
                found, said = self.endpoints(f"@{CORPUS / name}", status=3)
                self.assertEqual(found, {"10.67.0.2:6060", "10.67.0.2:9100"})
                self.assertRegex(said, rf"{name}:\d+:\d+: .*the file is not complete")
        cut = (CORPUS / "masscan-1.3.2-oJ").read_text(encoding="utf-8").rpartition("{")[0]
        found, said = self.endpoints(self.write(cut), status=3)
        self.assertEqual(len(found), 2 if "ttl" not in cut.splitlines()[-1] else len(found))
        self.assertIn("not complete", said)

    def test_mistakes(self):
        for text, place in (
                ("<!DOCTYPE nmaprun [<!ENTITY a 'b'>]>\n<nmaprun>&a;</nmaprun>\n", ":1:"),
                ("<nmaprun></host></nmaprun>\n", ":1:12"),
                ("<html></html>\n", ":1:1: expected <nmaprun>"),
                ("# Nmap 7.93 scan initiated today as: nmap -oN x\nNmap scan report for x\n",
                 ":2:1: expected 'Host: '"),
                ("[\n{\"ip\":\"10.67.0.2\",\"ports\":[{\"port\":0,\"proto\":\"tcp\","
                 "\"status\":\"open\"}]}\n]\n", ":2:1: '0' is no port"),
                ("#masscan\nopen tcp 80 10.67.0 1\n# end\n", ":2:10: '10.67.0' is not an")):
            with self.subTest(text):
                rows, said = self.scan(self.write(text), status=2)
                self.assertEqual(rows, [])
                self.assertIn(f"/input{place}", said)

    def test_a_big_file_in_little_memory(self):
        """A gigabyte would take the same: nothing of it is held."""
        host = ('<host><address addr="10.67.0.2" addrtype="ipv4"/><ports>'
                '<port protocol="tcp" portid="%d"><state state="closed"/></port>'
                '</ports></host>\n')
        many = host % 81 * 400000
        where = self.write('<?xml version="1.0"?>\n<nmaprun>\n' + many
                           + (host % 6060).replace("closed", "open") + "</nmaprun>\n")
        argv = [lab.program("pprofwall"), "scan", "--format", "ndjson", "--all", where]
        with open(pathlib.Path(self.lab.directory, "time"), "w+", encoding="utf-8") as peak:
            code = ("import resource, subprocess, sys; "
                    "done = subprocess.run(sys.argv[1:]); "
                    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, "
                    "file=sys.stderr); sys.exit(done.returncode)")
            done = self.lab.run("client", sys.executable, "-c", code, *argv, timeout=120)
            peak.write(done.stderr)
        self.assertEqual(json.loads(done.stdout)["endpoint"], "10.67.0.2:6060")
        if not lab.IS_ASAN:
            self.assertLess(int(done.stderr.split()[-1]), 48 * 1024)

    def test_a_pipe(self):
        """What a scanner writes is taken as it comes."""
        whole = (CORPUS / "masscan-1.3.2-oD").read_bytes()
        self.assertTrue(re.search(rb"10\.67\.0\.3", whole))
        done = self.lab.run("client", "sh", "-c", f"cat {CORPUS / 'masscan-1.3.2-oD'} | "
                            f"{lab.program('pprofwall')} scan --format ndjson --all -")
        self.assertEqual({json.loads(line)["endpoint"] for line in done.stdout.splitlines()},
                         self.FOUND)


if __name__ == "__main__":
    unittest.main()
