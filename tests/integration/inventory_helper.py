# SPDX-License-Identifier: GPL-2.0-or-later
"""pprofwall-inventory alone, with us as its parent and its agent (daemon/inventory/wire.h)."""
import collections
import os
import socket
import struct
import subprocess
import time

import frames
import lab
from frames import PING, PONG, text_of

UID = 64106
SLOW = 4 if lab.IS_ASAN else 1
VERSION = 1
REQUEST, NAMESPACE, LISTENER, SYNCED, PEER, ANSWER = range(192, 198)
WATCH, UNWATCH, PEERS, CONNECT, SOCKET, LOGINS = range(1, 7)
(OK, REFUSED, SILENT, CONNECTED, NO_ROUTE, UNSUPPORTED, MALFORMED, NOT_FOUND, BUSY,
 KERNEL, CUT) = range(11)
ADDED, CHANGED, GONE = 1, 2, 3
LOOPBACK, LINK_LOCAL, SERVICE = 1, 2, 4
BY_POLL, BY_EVENTS = 0, 1
MAX_PEERS = 16 * 1024

REQUEST_BODY = struct.Struct("=HHHBB16sQII")
ANSWER_BODY = struct.Struct("=HHi")
NAMESPACE_HEAD = struct.Struct("=HBBIQB7x")
ADDRESS = struct.Struct("=BB2x16s")
LISTENER_BODY = struct.Struct("=HBBHBB16sQqIIiI16s256s256s128s72s16s")
PEER_BODY = struct.Struct("=HHB3x16s")
STATUS = struct.Struct("=HBBIIIQQQq128s")

Listener = collections.namedtuple(
    "Listener", "netns address port change v6only seen_ns sockets uid pid command executable "
                "cgroup unit container runtime")
Status = collections.namedtuple(
    "Status", "mode namespaces listeners skipped polls events lost poll_cpu_ns "
              "why_no_events")


def address_text(family, raw):
    if family == socket.AF_INET:
        assert raw[4:] == bytes(12), raw
        return socket.inet_ntop(family, raw[:4])
    return socket.inet_ntop(family, raw)


def address_bytes(text):
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return family, socket.inet_pton(family, text).ljust(16, b"\0")


def request(verb, address=None, port=0, netns=0, poll_ms=0, timeout_ms=0, family=0,
            version=VERSION, zero=0):
    raw = bytes(16)
    if address:
        family, raw = address_bytes(address)
    return REQUEST_BODY.pack(version, verb, port, family, zero, raw, netns, poll_ms, timeout_ms)


class Inventory(frames.Program):
    """The process, and what it has told so far: `namespaces` and `listeners`, by their keys."""

    def __init__(self, namespace=None, verify=False, events=True, data=None, uid=UID):
        super().__init__()
        self.namespaces, self.listeners = {}, {}
        self.told, self.statuses = [], []
        argv = ["ip", "netns", "exec", namespace] if namespace else []
        argv += [lab.program("pprofwall-inventory"), "--uid", str(uid), "--gid", str(uid)]
        argv += ["--verify"] if verify else []
        argv += [] if events else ["--no-events"]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=lab.environment(),
            **frames.handed_over(self.parent, self.agent, data))
        self.parent.theirs.close()
        self.agent.theirs.close()
        self.vantage = None

    def __enter__(self):
        try:
            self.parent.sock.settimeout(30)
            packet, fds, _, _ = socket.recv_fds(self.parent.sock, 4096, 1)
            if not packet:
                raise RuntimeError(f"it ended: {self.end()}")
            assert frames.HEADER.unpack_from(packet)[2] == frames.CHILD_READY
            self.vantage = fds[0] if fds else None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        super().__exit__()
        if self.vantage is not None:
            os.close(self.vantage)

    # What it tells

    def _take(self, frame):
        if frame.type == NAMESPACE:
            version, change, host, count, netns, truncated = NAMESPACE_HEAD.unpack_from(frame.body)
            assert version == VERSION
            assert len(frame.body) == NAMESPACE_HEAD.size + count * ADDRESS.size
            addresses = {}
            for i in range(count):
                family, flags, raw = ADDRESS.unpack_from(
                    frame.body, NAMESPACE_HEAD.size + i * ADDRESS.size)
                addresses[address_text(family, raw)] = flags
            assert (change == ADDED) == (netns not in self.namespaces), (change, netns)
            if change == GONE:
                assert not [key for key in self.listeners if key[0] == netns]
                del self.namespaces[netns]
            else:
                self.namespaces[netns] = {"host": bool(host), "addresses": addresses,
                                          "truncated": bool(truncated)}
        elif frame.type == LISTENER:
            (version, change, v6only, port, family, zero, raw, netns, seen_ns, sockets, uid, pid,
             zero2, *texts) = LISTENER_BODY.unpack(frame.body)
            assert (version, zero, zero2) == (VERSION, 0, 0)
            listener = Listener(netns, address_text(family, raw), port, change, bool(v6only),
                                seen_ns, sockets, uid, pid, *map(text_of, texts))
            key = (netns, listener.address, port)
            assert netns in self.namespaces, "a namespace before its listeners"
            assert (change == ADDED) == (key not in self.listeners), listener
            if change == GONE:
                del self.listeners[key]
            else:
                self.listeners[key] = listener
            self.told.append(listener)
        elif frame.type == SYNCED:
            version, mode, zero, *fields, why = STATUS.unpack(frame.body)
            assert (version, zero) == (VERSION, 0)
            self.statuses.append(Status(mode, *fields, text_of(why)))
        else:
            raise AssertionError(frame)

    def pump(self, timeout):
        """Takes one frame; returns it, or None at the time's end."""
        try:
            frame = self.agent.receive(max(0.001, timeout))
        except (TimeoutError, BlockingIOError):
            return None
        if frame is None:
            raise ConnectionError(f"it ended: {self.end()}")
        return frame

    def wait(self, condition, timeout=10, what=""):
        """Takes frames until `condition()`; returns its value."""
        deadline = time.monotonic() + timeout * SLOW
        while True:
            value = condition()
            if value:
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{what}: {sorted(self.listeners)} {self.statuses[-1:]}")
            frame = self.pump(left)
            if frame:
                self._take(frame)

    def ask(self, body, timeout=20):
        """A request and its answer: (result, error, peers, fd)."""
        seq = self.agent.send(REQUEST, body)
        deadline = time.monotonic() + timeout * SLOW
        peers = []
        while True:
            self.agent.sock.settimeout(max(0.001, deadline - time.monotonic()))
            packet, fds, _, _ = socket.recv_fds(self.agent.sock, 70000, 1)
            if not packet:
                raise ConnectionError(f"it ended: {self.end()}")
            _, _, kind, _, _, got = frames.HEADER.unpack_from(packet)
            frame = frames.Frame(kind, got, packet[frames.HEADER.size:])
            if kind == PEER and got == seq:
                _, port, family, raw = PEER_BODY.unpack(frame.body)
                peers.append((address_text(family, raw), port))
            elif kind == ANSWER and got == seq:
                version, result, error = ANSWER_BODY.unpack(frame.body)
                assert version == VERSION
                return result, error, peers, fds[0] if fds else None
            else:
                self._take(frame)

    def watch(self, poll_ms=1000):
        """Begins, and waits until everything that there is was told."""
        before = len(self.statuses)
        result = self.ask(request(WATCH, poll_ms=poll_ms))[0]
        assert result == OK, result
        return self.wait_synced(before)

    def wait_synced(self, before=None):
        """The status after a full poll that ends from now on."""
        if before is None:
            before = len(self.statuses)
        self.wait(lambda: len(self.statuses) > before, 20, "synced")
        return self.statuses[-1]

    def wait_listener(self, netns, address, port, timeout=30, **fields):
        def there():
            found = self.listeners.get((netns, address, port))
            if found and all(getattr(found, k) == v for k, v in fields.items()):
                return found
            return None
        return self.wait(there, timeout, f"{address}:{port} {fields}")

    def wait_gone(self, netns, address, port, timeout=30):
        self.wait(lambda: (netns, address, port) not in self.listeners, timeout,
                  f"{address}:{port} is gone")

    def ping(self):
        self.agent.send(PING, seq=77)
        while True:
            frame = self.pump(20)
            if frame and frame.type == PONG:
                return
            if frame:
                self._take(frame)
