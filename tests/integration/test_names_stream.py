# SPDX-License-Identifier: GPL-2.0-or-later
"""Names by the thousand, some of which never get an answer: none is lost, and none waits for them.

As a program of its own: `test_names_stream.py measure COUNT` prints figures for the docs.
"""
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import lab

PORT = 8080
DEADLINE = 5  # RESOLVE_DEADLINE_MS
SO_RCVBUFFORCE = 33
ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n<p>404\n"


def kind_of(number):
    """What DNS says about a name: 5% nothing, 5% NXDOMAIN, 5% eight addresses."""
    return {0: "silent", 1: "missing", 2: "eight"}.get(number % 20, "one")


def addresses_of(number):
    count = {"eight": 8, "one": 1}.get(kind_of(number), 0)
    first = (10 << 24) + (93 << 16) + number * 8 % 65528 + 1
    return [struct.pack("!I", first + i) for i in range(count)]


def reply_to(packet):
    end = packet.index(b"\0", 12) + 5
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].lower())
        at += 1 + packet[at]
    # evdns asks for a name of its own to see whether a server is back
    number = int(labels[0][1:]) if labels[-1] == b"example" else 1
    kind = kind_of(number)
    if kind == "silent":
        return None
    is_a = packet[end - 4:end - 2] == b"\0\1"
    records = addresses_of(number) if is_a else []
    flags = 0x8583 if kind == "missing" else 0x8580
    return (packet[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + packet[12:end]
            + b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + r for r in records))


def serve_names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    server.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    while True:
        packet, peer = server.recvfrom(512)
        reply = reply_to(packet)
        if reply:
            server.sendto(reply, peer)


def serve_pages():
    import asyncio

    async def talk(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    async def run():
        server = await asyncio.start_server(talk, "0.0.0.0", PORT, backlog=8192)
        print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(run())


def memory_of(pids):
    """Bytes, each shared page by its part."""
    total = 0
    for pid in pids:
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").split("\n"):
                total += int(line.split()[1]) << 10 if line.startswith("Pss:") else 0
        except OSError:
            pass
    return total


class Place:
    """A namespace with DNS, with all of 10.93.0.0/16 and with a resolv.conf of its own."""

    def __init__(self):
        self.name = f"pwnames{os.getpid()}"
        self.folder = pathlib.Path("/etc/netns", self.name)
        self.servers = []
        try:
            lab.run("ip", "netns", "add", self.name)
            lab.run("ip", "-n", self.name, "link", "set", "lo", "up")
            lab.run("ip", "-n", self.name, "route", "add", "local", "10.93.0.0/16", "dev", "lo")
            self.folder.mkdir(parents=True)
            (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", "ascii")
            for what in ("names", "pages"):
                self.serve(what)
        except BaseException:
            self.close()
            raise

    def serve(self, what):
        server = subprocess.Popen(self.inside(sys.executable, os.path.abspath(__file__),
                                              f"serve-{what}"), stdout=subprocess.PIPE)
        self.servers.append(server)
        if not server.stdout.readline():
            raise RuntimeError(f"no server of {what}")

    def inside(self, *argv):
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def close(self):
        for server in self.servers:
            server.kill()
            server.wait()
            server.stdout.close()
        lab.run("ip", "netns", "delete", self.name, check=False)
        if self.folder.exists():
            (self.folder / "resolv.conf").unlink(missing_ok=True)
            self.folder.rmdir()


class Scan:
    """One scan of that many names, watched."""

    def __init__(self, place, count, *options, pipe=False):
        with tempfile.TemporaryDirectory() as folder:
            names = pathlib.Path(folder, "names.txt")
            names.write_text("".join(f"n{i}.example\n" for i in range(count)), "ascii")
            began = time.monotonic()
            argv = place.inside(lab.program("pprofwall"), "scan", "-" if pipe else f"@{names}",
                                "--ports", PORT, "--method", "connect", "--rate", 0, "--all",
                                "--format", "ndjson", *options)
            source = subprocess.Popen(["cat", names], stdout=subprocess.PIPE) if pipe else None
            with open(os.path.join(folder, "errors"), "w+b") as errors:
                process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors,
                                           stdin=source.stdout if pipe else subprocess.DEVNULL,
                                           env=lab.environment())
                if source:
                    source.stdout.close()
                self.peak = 0
                self._watch(process)
                lines = process.stdout.read().splitlines()
                process.stdout.close()
                self.status = process.wait()
                self.took = time.monotonic() - began
                if source:
                    source.wait()
                errors.seek(0)
                self.errors = errors.read().decode()
        rows = [json.loads(line) for line in lines]
        self.found = {(r["host"], r["address"]) for r in rows if r.get("address")}
        self.verdicts = {r["verdict"] for r in rows if r.get("address")}

    def _watch(self, process):
        def look():
            while process.poll() is None:
                pids = [process.pid, *lab.descendants(process.pid)]
                self.peak = max(self.peak, memory_of(pids))
                time.sleep(0.1)
        threading.Thread(target=look, daemon=True).start()


def expected(count, first=False):
    return {(f"n{i}.example", socket.inet_ntoa(a)) for i in range(count)
            for a in (addresses_of(i)[:1] if first else addresses_of(i))}


def failures(count):
    return sum(kind_of(i) in ("silent", "missing") for i in range(count))


class NamesStream(unittest.TestCase):
    COUNT = 3000

    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.close)

    def check(self, done, first=False):
        self.assertEqual(done.found ^ expected(self.COUNT, first), set())
        self.assertEqual(done.verdicts, {"clear"})
        complaints = [line for line in done.errors.splitlines() if ".example: " in line]
        self.assertEqual(len(complaints), failures(self.COUNT), done.errors[-2000:])
        self.assertEqual(done.status, 3, done.errors[-2000:])  # names without an answer

    def test_file(self):
        self.check(Scan(self.place, self.COUNT))

    def test_pipe(self):
        self.check(Scan(self.place, self.COUNT, pipe=True))

    def test_first_address(self):
        self.check(Scan(self.place, self.COUNT, "--addresses", "first"), first=True)

    def test_the_dead_hold_nobody_up(self):
        """Several batches, each with names that never get an answer, wait for them together."""
        done = Scan(self.place, 20000, "--addresses", "first")
        self.assertEqual(done.found ^ expected(20000, True), set())
        if not lab.IS_ASAN:
            self.assertLess(done.took, 7 * DEADLINE)
            self.assertLess(done.peak, 48 << 20)


def measure(count, *options):
    place = Place()
    try:
        for pipe in (False, True):
            done = Scan(place, count, *options, pipe=pipe)
            lost = len(expected(count, "first" in options) - done.found)
            print(f"{'pipe' if pipe else 'file'}: {count} names in {done.took:.1f} s, "
                  f"{count / done.took:.0f}/s, PSS {done.peak / 1e6:.1f} MB, status {done.status}, "
                  f"{len(done.found)} findings, {lost} lost", flush=True)
            print(done.errors[-300:])
    finally:
        place.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve-names"]:
        serve_names()
    elif sys.argv[1:2] == ["serve-pages"]:
        serve_pages()
    elif sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]), *sys.argv[3:])
    else:
        unittest.main(verbosity=2)
