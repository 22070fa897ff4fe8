#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps that are disturbed: processes that die or stop, readers that do not read, networks in
which everybody is a printer, inputs that are not what they were."""
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import unittest

import lab

SLOW = 4 if lab.IS_ASAN else 1
POLL = ("7", "73", "271")  # poll of x86-64, ppoll of arm64 and x86-64


class Door:
    """Accepts and hangs up."""

    def __init__(self, port):
        self.listener = socket.create_server(("0.0.0.0", port), backlog=4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()

    def close(self):
        # Closing does not wake who is in accept().
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class EdgeTest(unittest.TestCase):
    def setUp(self):
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)
        self.lab.run("client", "ip", "route", "add", "10.77.0.0/16", "via", self.lab.TARGET)
        self.lab.run("target", "ip", "route", "add", "local", "10.77.0.0/16", "dev", "lo")
        self.state = pathlib.Path(self.lab.directory, "sweep.state")

    def start(self, *arguments, **kwargs):
        return self.lab.process("client", lab.program("pprofwall"), "scan", *arguments, **kwargs)

    def finish(self, process, status, timeout=30):
        process.wait(timeout * SLOW)
        self.assertEqual(process.status, status, process.output)
        return process.output

    def scan(self, *arguments, status, timeout=30):
        return self.finish(self.start(*arguments), status, timeout)

    def children(self, process, count):
        """In the order in which they were started."""
        found = lab.wait_until(
            lambda: (below := lab.descendants(process.pid)) and len(below) >= count and below,
            10 * SLOW, f"{count} children")
        return [pid for pid, _ in found]

    def received(self):
        return int(self.lab.run("target", "cat",
                                "/sys/class/net/eth0/statistics/rx_packets").stdout)

    def wait_packets(self, count):
        end = self.received() + count
        lab.wait_until(lambda: self.received() >= end, 20 * SLOW, f"{count} packets")

    def accept_everything(self, prefix):
        self.lab.nft("table ip every { chain port { type nat hook prerouting priority -100; "
                     f"ip daddr {prefix} meta l4proto tcp redirect to :7; }}; }}")
        with self.lab.inside("target"):
            door = Door(7)
        self.addCleanup(door.close)


class Processes(EdgeTest):
    def test_a_discoverer_that_dies_ends_the_sweep(self):
        for method in ("syn", "connect"):
            with self.subTest(method):
                process = self.start("10.77.0.0/17", "--ports", "6060,8080", "--method", method)
                discoverer, = self.children(process, 1)
                # By then it has been told that there is no more to come.
                self.wait_packets(200)
                os.kill(discoverer, signal.SIGKILL)
                self.assertIn("the discoverer has ended", self.finish(process, 3, timeout=5))

    def test_a_discoverer_that_is_stopped_holds_up_no_signal(self):
        process = self.start("10.77.0.0/17", "--ports", "6060", "--method", "syn")
        discoverer, = self.children(process, 1)
        self.wait_packets(200)
        os.kill(discoverer, signal.SIGSTOP)
        process.signal(signal.SIGINT)
        self.assertIn("to continue: ", self.finish(process, 3, timeout=1))

    def test_a_keeper_that_hangs_does_not_hold_up_the_end(self):
        process = self.start("10.77.0.0/17", "--ports", "6060", "--method", "syn",
                             "--resume", self.state)
        keeper = self.children(process, 2)[1]
        self.addCleanup(self._kill, keeper)
        self.wait_packets(200)
        os.kill(keeper, signal.SIGSTOP)
        process.signal(signal.SIGINT)
        self.assertIn("files cannot be kept", self.finish(process, 3, timeout=10))

    @staticmethod
    def _kill(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class BackPressure(EdgeTest):
    def test_thousands_of_printers(self):
        """Guards hold more than may wait and let nobody pass; that takes longer than discovery."""
        self.accept_everything("10.77.0.0/20")
        said = self.scan("10.77.0.0/20", "--ports", "9100", "--method", "syn", "--rate", "0",
                         status=0, timeout=60)
        self.assertIn("scanned 4096 endpoints", said)
        self.assertIn("4096 set aside", said)

    def test_nobody_reads(self):
        for method in ("direct", "connect", "syn"):
            with self.subTest(method):
                reader, writer = os.pipe()
                with open(reader, "rb"), open(writer, "wb") as full:
                    self.interrupt("10.77.20.0/22", "--ports", "6060,8080", "--all", "--rate", "0",
                                   "--method", method, full=full)

    def interrupt(self, *arguments, full):
        with subprocess.Popen(
                ["ip", "netns", "exec", self.lab.name_of("client"), lab.program("pprofwall"),
                 "scan", *arguments], stdin=subprocess.DEVNULL, stdout=full,
                stderr=subprocess.PIPE, text=True, env=lab.environment()) as process:
            self.addCleanup(process.kill)
            lab.wait_until(lambda: self.is_stuck(process, full), 20 * SLOW, "a full pipe")
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=5 * SLOW)[1]
        self.assertEqual(process.returncode, 3, said)
        self.assertEqual(said.count("cannot write"), 1, said)
        self.assertRegex(said, r"to continue: .* --start-at 0:1:")

    @staticmethod
    def is_stuck(process, full):
        """In poll(2) for the pipe, not in epoll_wait(2)."""
        with open(f"/proc/{process.pid}/syscall", encoding="ascii") as file:
            number = file.read().split()[0]
        return number in POLL and not select.select([], [full], [], 0)[1]


class Resume(EdgeTest):
    def write_list(self, count):
        path = pathlib.Path(self.lab.directory, "list")
        path.write_text("".join(f"10.77.{i >> 8}.{i & 255}:6060\n" for i in range(count)),
                        encoding="ascii")
        return path

    def endpoints(self, path):
        """Of its whole lines."""
        found = set()
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.add(json.loads(line)["endpoint"])
        return found

    def test_an_output_that_is_full(self):
        """What could not be written is looked at once more."""
        path = self.write_list(200)
        for method in ("direct", "connect", "syn"):
            with self.subTest(method):
                self.state.unlink(missing_ok=True)
                outputs = [self.state.with_name(f"{method}{i}.ndjson") for i in range(2)]
                sweep = ["scan", f"@{path}", "--method", method, "--all", "--rate", "0",
                         "--format", "ndjson", "--resume", self.state, "--output"]
                # 8 KiB is not enough for 200 findings.
                limited = self.lab.run(
                    "client", "sh", "-c", 'ulimit -f 16; trap "" XFSZ; exec "$@"', "sh",
                    lab.program("pprofwall"), *sweep, outputs[0], check=False)
                self.assertEqual(limited.returncode, 3, limited.stderr)
                self.assertEqual(limited.stderr.count("cannot write"), 1, limited.stderr)
                self.finish(self.lab.process("client", lab.program("pprofwall"), *sweep,
                                             outputs[1]), 0)
                first, second = map(self.endpoints, outputs)
                self.assertLess(len(first), 200)
                self.assertEqual(len(first | second), 200)

    def test_an_input_that_has_become_shorter(self):
        self.assertIn("there are 1", self.scan("10.77.0.0/24", "--ports", "6060", "--seed", "1",
                                               "--start-at", "5:1", status=3))


class Lost(EdgeTest):
    def test_handshakes_after_the_search(self):
        """The discoverer's own SYN has one option, the kernel's have more: those are lost."""
        self.lab.serve_node_exporter()
        self.lab.nft("add table ip lost; add chain ip lost in { type filter hook prerouting "
                     "priority raw; policy accept; }; add rule ip lost in tcp dport 9100 "
                     "tcp flags & (syn | ack) == syn tcp doff > 6 numgen inc mod 3 < 2 drop")
        target = f"{self.lab.TARGET}:9100"
        # A connection of the prober has one SYN in that time, one of the printer guard two.
        scan = ("--method", "syn", "--timeout", f"{800 * SLOW}ms")
        self.assertIn("confirmed", self.scan(*scan, target, status=1))
        self.lab.nft("add rule ip lost in tcp dport 9100 tcp flags & (syn | ack) == syn "
                     "tcp doff > 6 drop")
        said = self.scan(*scan, target, "--all", "--no-printer-guard", status=0)
        self.assertIn("filtered", said)

    def test_data_of_a_connection(self):
        """What one connection sends is lost, again and again; another one's arrives."""
        self.lab.serve_node_exporter()
        self.lab.nft("add table ip lost; add set ip lost first { type inet_service; size 1; flags "
                     "dynamic; }; add chain ip lost in { type filter hook prerouting priority raw; "
                     "policy accept; }; add rule ip lost in tcp dport 9100 tcp flags & psh == psh "
                     "add @first { tcp sport }; add rule ip lost in tcp sport @first drop")
        said = self.scan("--method", "syn", "--timeout", f"{800 * SLOW}ms", "--no-printer-guard",
                         "--all", f"{self.lab.TARGET}:9100", status=1)
        self.assertIn("confirmed", said)


if __name__ == "__main__":
    unittest.main()
