# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter process alone: we are its parent, agent and firewall (daemon/filter/wire.h).

    with lab.Lab() as place, FilterProcess(place) as filtering:
        filtering.catch(9100)          # clients of 10.91.0.2:9100 meet the filter
"""
import collections
import json
import os
import signal
import socket
import struct
import subprocess

import frames
import lab

LISTENER, CLOSE, ASK_SOCKET, SOCKET, STATS, DENIED = 192, 193, 194, 195, 196, 197
PARENT_PEER, ROLE_FIREWALL = 4, 1
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
REASONS = ("path", "syntax", "opaque", "slow", "full", "direct")
USER = 64108

LISTENER_BODY = struct.Struct("=HB5x64s")
STATS_BODY = struct.Struct("=Q6Q6Q12QQII")
ENDPOINT = struct.Struct("=HHI16s")
DENIED_BODY = struct.Struct("=HB5x24s24sQ64s128s")

Stats = collections.namedtuple("Stats", "passed denied opaque_passed connections upstream_failures "
                               "request_bytes response_bytes untold latency latency_us open")
Denied = collections.namedtuple("Denied", "reason endpoint client count rule path")


def read_stats(body):
    n = STATS_BODY.unpack(body)
    return Stats(n[0], dict(zip(REASONS, n[1:7])), *n[7:13], n[13:25], n[25], n[26])


def read_endpoint(packed):
    family, port, _, address = ENDPOINT.unpack(packed)
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(family, address[:4])}:{port}"
    return f"[{socket.inet_ntop(family, address)}]:{port}"


def read_denied(body):
    version, reason, endpoint, client, count, rule, path = DENIED_BODY.unpack(body)
    assert version == 1
    return Denied(REASONS[reason], read_endpoint(endpoint), read_endpoint(client), count,
                  frames.text_of(rule), frames.text_of(path))


def transparent_socket(place, family=socket.AF_INET):
    with place.inside("target"):
        sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        sock.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    return sock


class FilterProcess(frames.Program):
    RULE = "exporters"

    def __init__(self, place, rules=None, ports=(9100,), descriptors=None):
        """`rules`: standing filters by name; by default one, which is for these ports."""
        super().__init__()
        self.place = place
        self.firewall = None
        self.stats = None
        self.denied = []
        limit = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}"]
        with open(os.path.join(lab.BUILD_DIR, "share/pprofwall/signatures.yaml"), "rb") as data, \
                place.inside("target"):
            self.process = subprocess.Popen(
                [*limit, lab.program("pprofwall-filter"), "--uid", str(USER), "--gid", str(USER)],
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=lab.environment(),
                **frames.handed_over(self.parent, self.agent, data))
        self.parent.theirs.close()
        self.agent.theirs.close()
        self.rules = rules or {self.RULE: {"match": {"ports": list(ports)}}}
        self.listeners = {}

    def __enter__(self):
        assert self.configure(self.rules) == (0, "")
        self.parent.expect_ready()
        self.join_firewall()
        return self

    def __exit__(self, *exc):
        for sock in self.listeners.values():
            sock.close()
        if self.firewall:
            self.firewall.close()
        super().__exit__(*exc)

    @property
    def pid(self):
        return self.process.pid

    def configure(self, rules):
        """(error, text), of the first step that fails."""
        self.rules = rules
        config = {"filters": [{"name": name, **rule} for name, rule in rules.items()]}
        found = self.parent.check(json.dumps(config).encode())
        return found if found[0] else self.parent.commit()

    def join_firewall(self):
        self.firewall = frames.Peer()
        self.parent.send(PARENT_PEER, struct.pack("=IIii", ROLE_FIREWALL, 0, os.getpid(), 0),
                         self.firewall.theirs.fileno())
        self.firewall.theirs.close()

    def listen(self, rule=RULE, address="127.0.0.1"):
        """As the firewall does: a listening socket for the filter. Returns its port."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = transparent_socket(self.place, family)
        sock.bind((address, 0))
        sock.listen(4096)
        self.listeners[rule, family] = sock
        self.firewall.send(LISTENER, LISTENER_BODY.pack(1, family, rule.encode()), sock.fileno())
        return sock.getsockname()[1]

    def catch(self, port, rule=RULE):
        """What others send to the target's port comes to the filter, over IPv4 and IPv6."""
        to4, to6 = self.listen(rule), self.listen(rule, "::1")
        table = "inet", f"catch-{port}"
        self.place.nft("add", "table", *table)
        self.place.nft("add", "chain", *table, "in",
                       "{ type filter hook prerouting priority -150; }")
        for family, to in (("ipv4", f"tproxy ip to 127.0.0.1:{to4}"),
                           ("ipv6", f"tproxy ip6 to [::1]:{to6}")):
            self.place.nft("add", "rule", *table, "in", "iif", "!=", "lo", "meta", "nfproto", family,
                           "tcp", "dport", str(port), *to.split(), "accept")
        self.sync()

    def sync(self):
        """What we said as the firewall has been taken note of."""
        seq = self.firewall.send(frames.PING)
        assert self.firewall.receive() == (frames.PONG, seq, b"")

    def read_agent(self, until, timeout=20):
        """Reads what it tells the agent until a condition holds."""
        def step():
            if until():
                return True
            frame = self.agent.receive(timeout)
            assert frame is not None, "the filter is gone"
            if frame.type == STATS:
                self.stats = read_stats(frame.body)
            else:
                assert frame.type == DENIED, frame
                self.denied.append(read_denied(frame.body))
            return until()
        lab.wait_until(step, timeout, "the filter tells the agent", 0)

    def wait_stats(self, condition, timeout=20):
        self.read_agent(lambda: self.stats is not None and condition(self.stats), timeout)
        return self.stats

    def wait_denied(self, timeout=20):
        self.read_agent(lambda: self.denied, timeout)
        return self.denied.pop(0)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
