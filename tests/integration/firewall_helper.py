# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks to pprofwall-firewall as the parent and the agent do (daemon/ipc.h, firewall/wire.h)."""
import collections
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import threading

import filter_fake
import frames
from lab import Process, program

REQUEST = struct.Struct("=HHHBB16sIB3xQQ")
REPLY = struct.Struct("=HHHBB16sIiQQQIIBB2xI")

ALLOW = struct.Struct("=HHIQII")
PREFIX = struct.Struct("=BBxx16s")
PEER = struct.Struct("=HHB3x16s16sQQQ")
VERSION, AT_ONCE = 3, 512

FW_REQUEST, FW_REPLY, FW_EVENT, FW_ALLOW, FW_PEERS = range(160, 165)
(BLOCK, UNBLOCK, LIST, PANIC, RESUME, STATUS, LEDGER_ADD, LEDGER_REMOVE,
 LEDGER_LIST) = range(1, 10)
(OK, MALFORMED, STALE, BAD_RULE, BAD_ADDRESS, BAD_TIMEOUT, PROTECTED_PORT, TOO_MANY, TOO_FAST,
 PANICKED, NOT_FOUND, KERNEL, END) = range(13)
MANUAL, ORPHAN = 0, 0xFFFFFFFF

Reply = collections.namedtuple(
    "Reply", "version result port family fallback address rule error expires_ms packets bytes blocks "
             "reconciliations persist panicked recent")
Peer = collections.namedtuple("Peer", "connections idle_ms expires_ms")
UID, PROBER_UID = 64103, 64102


def pack_address(text):
    address = ipaddress.ip_address(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, address.packed.ljust(16, b"\0")


def unpack_address(family, raw):
    return str(ipaddress.ip_address(raw[:4] if family == socket.AF_INET else raw))


class Helper:
    """A running helper in a namespace of the Lab."""

    def __init__(self, lab, namespace="target"):
        self.parent, self.agent = frames.Parent(), frames.Peer()
        self.events = []
        self.replies = collections.deque()  # of the frame that was read last: (seq, reply)
        self.process = Process(
            ["ip", "netns", "exec", lab.name_of(namespace), program("pprofwall-firewall"),
             "--uid", UID, "--gid", UID, "--prober-uid", PROBER_UID,
             "--filter-uid", filter_fake.UID],
            **frames.handed_over(self.parent, self.agent))
        self.parent.theirs.close()
        self.agent.theirs.close()
        lab._stack.callback(self.kill)
        self.pid = self.process.pid

    def kill(self):
        """SIGKILL, as the OOM killer would."""
        if self.process.status is None:
            self.process._process.kill()
        status = self.process.wait()
        self.parent.close()
        self.agent.close()
        return status

    # The parent's side

    @property
    def generation(self):
        return self.parent.generation

    def check(self, config):
        """CONF: (error, text)."""
        return self.parent.check(json.dumps(config).encode())

    def commit(self, panic=False):
        return self.parent.commit(panic=panic)

    def start(self, config, panic=False):
        """CONF, COMMIT, READY."""
        for result in (self.check(config), self.commit(panic)):
            if result[0]:
                raise RuntimeError(f"{result}\n{self.process.output}")
        self.parent.expect_ready()
        return self

    def reload(self, config):
        for result in (self.check(config), self.commit()):
            if result[0]:
                raise RuntimeError(f"{result}")

    def stop(self, timeout=10):
        self.parent.stop()
        return self.process.wait(timeout)

    # The agent's side

    def ask(self, verb, address=None, port=0, rule=MANUAL, timeout_ms=0, generation=None,
            fallback=0, restored=0):
        """The reply; for LIST, all of them."""
        family, raw = pack_address(address) if address else (0, bytes(16))
        body = REQUEST.pack(VERSION, verb, port, family, fallback, raw, rule, restored,
                            self.generation if generation is None else generation, timeout_ms)
        seq = self.agent.send(FW_REQUEST, body)
        replies = [self._reply(seq)]
        while verb == LIST and replies[-1].result == OK:
            replies.append(self._reply(seq))
        return replies if verb == LIST else replies[0]

    def ping(self):
        """As the agent does twice a second; answered when all else is done."""
        seq = self.agent.send(frames.PING)
        while (got := self.agent.receive()) and got.type == FW_EVENT:
            self.events.append(Reply._make(REPLY.unpack(got.body)))
        assert got and (got.type, got.seq) == (frames.PONG, seq), got

    def _reply(self, seq):
        while not self.replies:
            got = self.agent.receive()
            if got is None:
                raise ConnectionError(f"the helper is gone:\n{self.process.output}")
            kind, answered, body = got
            replies = [Reply._make(fields) for fields in REPLY.iter_unpack(body)]
            if kind == FW_EVENT:
                self.events += replies
                continue
            assert kind == FW_REPLY, kind
            self.replies.extend((answered, reply) for reply in replies)
        answered, reply = self.replies.popleft()
        assert answered == seq, (answered, seq)
        return reply

    def ask_at_once(self, requests, in_a_frame=1):
        """BLOCKs that lie in the helper's socket together: (address, port, rule, timeout_ms)
        each. The replies, in the order of the requests."""
        bodies = self._pack_blocks(requests, in_a_frame)
        os.kill(self.pid, signal.SIGSTOP)
        try:
            seqs = [self.agent.send(FW_REQUEST, body) for body in bodies]
        finally:
            os.kill(self.pid, signal.SIGCONT)
        return [self._reply(seqs[i // in_a_frame]) for i in range(len(requests))]

    def block_many(self, requests, result=OK):
        """More than lie in a socket, many in a frame; all have the same result."""
        first = self.agent._seq + 1
        bodies = self._pack_blocks(requests, AT_ONCE)
        writer = threading.Thread(
            target=lambda: [self.agent.send(FW_REQUEST, body) for body in bodies])
        writer.start()
        for i in range(len(requests)):
            reply = self._reply(first + i // AT_ONCE)
            assert reply.result == result, reply
        writer.join()

    def _pack_blocks(self, requests, in_a_frame):
        packed = []
        for address, port, rule, timeout_ms in requests:
            family, raw = pack_address(address)
            packed.append(REQUEST.pack(VERSION, BLOCK, port, family, 0, raw, rule, 0,
                                       self.generation, timeout_ms))
        return [b"".join(packed[at:at + in_a_frame]) for at in range(0, len(packed), in_a_frame)]

    def wait_event(self, timeout=5):
        if self.events:
            return self.events.pop(0)
        if not select.select([self.agent.sock], [], [], timeout)[0]:
            raise TimeoutError("no event")
        kind, _, body = self.agent.receive()
        assert kind == FW_EVENT
        return Reply._make(REPLY.unpack(body))

    def filter(self, lab, *rules, namespace="target"):
        """A filter process for this helper, which has the listeners of these rules."""
        return filter_fake.Filter(lab, self, namespace).expect(*rules)

    def block(self, address, port, rule=1, timeout_ms=60_000, **kwargs):
        return self.ask(BLOCK, address, port, rule, timeout_ms, **kwargs)

    def unblock(self, address, port):
        return self.ask(UNBLOCK, address, port)

    def list(self):
        """{(address, port): reply}"""
        replies = self.ask(LIST)
        assert replies[-1].result == END, replies[-1]
        return {(unpack_address(r.family, r.address), r.port): r for r in replies[:-1]}

    def allow(self, rule, *prefixes, generation=None):
        """What the files and names in a rule's allow_from stand for."""
        body = ALLOW.pack(VERSION, 0, rule,
                          self.generation if generation is None else generation, len(prefixes), 0)
        for text in prefixes:
            network = ipaddress.ip_network(text)
            family, raw = pack_address(network.network_address)
            body += PREFIX.pack(family, network.prefixlen, raw)
        return self._reply(self.agent.send(FW_ALLOW, body))

    def ledger_add(self, address, port):
        return self.ask(LEDGER_ADD, address, port)

    def ledger_remove(self, address, port):
        return self.ask(LEDGER_REMOVE, address, port)

    def ledger(self, address=None, port=0):
        """{(address, port): {client: Peer}} of one endpoint, or of all."""
        family, raw = pack_address(address) if address else (0, bytes(16))
        seq = self.agent.send(FW_REQUEST, REQUEST.pack(
            VERSION, LEDGER_LIST, port, family, 0, raw, 0, 0, self.generation, 0))
        found = {}
        while True:
            kind, answered, body = self.agent.receive()
            if kind == FW_EVENT:
                self.events.append(Reply._make(REPLY.unpack(body)))
                continue
            assert answered == seq, (kind, answered, seq)
            if kind == FW_REPLY:
                end = Reply._make(REPLY.unpack(body))
                assert end.result == END, end
                return found
            assert kind == FW_PEERS, kind
            for version, at, its, where, peer, *counts in PEER.iter_unpack(body):
                assert version == VERSION
                endpoint = (unpack_address(its, where), at)
                found.setdefault(endpoint, {})[unpack_address(its, peer)] = Peer(*counts)
