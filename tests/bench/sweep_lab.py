# SPDX-License-Identifier: GPL-2.0-or-later
"""The laboratory of the sweep's bench: a /16 that answers, with 1,000 servers in it.

The target's namespace holds all of 10.77.0.0/16: its lower half answers (closed ports by RST), its
upper half is dropped. 200 Go servers with pprof and 800 without are spread over the lower half and
ten ports, at addresses that a seed gives. The scanner's namespace tracks connections, as most hosts
do, since a sweep must not fill that table.

    with SweepLab() as lab:
        lab.serve()
        lab.run("client", "nmap", ...)

Run alone, it stays until it is interrupted: for measurements by hand.
"""
import contextlib
import ipaddress
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import BUILD_DIR, Lab, environment  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LOOP_PORT = 61000  # syn_loop.c's source port
PORTS = (6060, 8080, 8000, 3000, 9000, 9090, 9100, 2379, 8086, 8500)

NETLINK_NETFILTER, NLM_F_REQUEST, NLM_F_ACK = 12, 1, 4
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE = 1, 2


class SweepLab(Lab):
    NETWORK = ipaddress.ip_network("10.77.0.0/16")
    ANSWERING = ipaddress.ip_network("10.77.0.0/17")
    SILENT = ipaddress.ip_network("10.77.128.0/17")
    EXPOSED, PLAIN = 200, 800

    def __init__(self, seed=1):
        super().__init__()
        self.servers = self._place(seed)
        try:
            self._lay_out()
        except BaseException:
            self.close()
            raise

    def _place(self, seed):
        """{(address, port): kind}"""
        choice = random.Random(seed)
        base = int(self.ANSWERING.network_address)
        places = choice.sample(range(self.ANSWERING.num_addresses * len(PORTS)),
                               self.EXPOSED + self.PLAIN)
        kinds = (["pprof"] * self.EXPOSED + ["clear"] * (self.PLAIN // 2)
                 + ["page"] * (self.PLAIN // 2))
        return {(str(ipaddress.ip_address(base + place // len(PORTS))), PORTS[place % len(PORTS)]):
                kind for place, kind in zip(places, kinds)}

    def _lay_out(self):
        self.run("target", "ip", "route", "add", "local", str(self.NETWORK), "dev", "lo")
        self.run("client", "ip", "route", "add", str(self.NETWORK), "via", self.TARGET)
        self.nft(f"add table ip lab; add counter ip lab syns; add chain ip lab in {{ type filter "
                 f"hook prerouting priority raw; policy accept; }}; add rule ip lab in tcp flags "
                 f"& (syn | ack) == syn counter name syns; add rule ip lab in ip daddr "
                 f"{self.SILENT} drop")
        # The bare SYN loop is spared: it would fill the table, and slow down itself and others.
        self.run("client", "nft", "add table ip lab; add chain ip lab raw { type filter hook "
                 "output priority raw; policy accept; }; add rule ip lab raw tcp sport "
                 f"{LOOP_PORT} notrack; add chain ip lab in {{ type filter hook input priority "
                 "filter; policy accept; }; add rule ip lab in ct state established,related "
                 "accept")
        # Every answer is to come: an ICMP or RST that the kernel holds back would be a loss of
        # the laboratory's, not of a scanner's.
        self.run("target", "sysctl", "-qw", "net.ipv4.tcp_challenge_ack_limit=1000000",
                 "net.core.somaxconn=4096")

    def build_servers(self):
        """The servers' program, by the Go that is installed; None without one."""
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
        if not go:
            return None
        path = os.path.join(BUILD_DIR, "benchservers", "servers")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        caches = {name: os.path.join(os.path.dirname(path), name.lower())
                  for name in ("GOCACHE", "GOPATH")}
        subprocess.run([go, "build", "-trimpath", "-ldflags=-s", "-o", path, "."], check=True,
                       cwd=os.path.join(HERE, "servers"), stdin=subprocess.DEVNULL,
                       env={**environment(), **caches, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local",
                            "GOFLAGS": "-mod=mod", "GOPROXY": "off"})
        return path

    def serve(self, servers=None):
        """Starts these (all of them) in one process, and returns it; None: no Go to build it."""
        program = self.build_servers()
        if not program:
            return None
        file, listing = tempfile.mkstemp(dir=self.directory)
        with open(file, "w", encoding="ascii") as file:
            for (address, port), kind in (servers or self.servers).items():
                file.write(f"{kind} {address}:{port}\n")
        process = self.process("target", "sh", "-c", 'ulimit -n 20000; exec "$0" <"$1"', program,
                               listing)
        process.wait_line(r"^ready$", timeout=30)
        return process

    def of_kind(self, *kinds):
        return {place for place, kind in self.servers.items() if kind in kinds}

    def forget_connections(self):
        """Empties the table of tracked connections: each tool begins with an empty one."""
        delete_all = struct.pack("=IHHII", 20, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                                 NLM_F_REQUEST | NLM_F_ACK, 1, 0) + struct.pack("=BBH", 0, 0, 0)
        with self.inside("client"):
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        with netlink:
            netlink.send(delete_all)
            error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        if error:
            raise OSError(-error, "cannot forget the tracked connections")

    def tracked_file(self):
        """How many connections the scanner's namespace tracks, for whoever opens it here."""
        with self.inside("client"):
            return open("/proc/sys/net/netfilter/nf_conntrack_count", "rb",
                        buffering=0)

    def count_syns(self):
        """How many have arrived since the last time."""
        said = self.nft("-j", "reset", "counter", "ip", "lab", "syns").stdout
        return sum(item["counter"]["packets"] for item in json.loads(said)["nftables"]
                   if "counter" in item)

    @contextlib.contextmanager
    def loss(self, percent):
        """Packets get lost on the way to the target: by netem, or without it by nftables."""
        netem = self.run("client", "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "limit",
                         "1000000", "loss", f"{percent}%", check=False).returncode == 0
        if not netem:
            self.nft(f"add table ip loss; add chain ip loss in {{ type filter hook prerouting "
                     f"priority raw - 1; policy accept; }}; add rule ip loss in numgen random mod "
                     f"1000 < {round(percent * 10)} drop")
        try:
            yield "netem" if netem else "nftables"
        finally:
            if netem:
                self.run("client", "tc", "qdisc", "del", "dev", "eth0", "root")
            else:
                self.nft("delete table ip loss")


def main():
    with SweepLab() as lab:
        if not lab.serve():
            print("no Go here: no servers")
        print(f"scan from: ip netns exec {lab.name_of('client')} ...", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        pass
