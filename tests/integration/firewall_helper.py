# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks to pprofwall-firewall as the parent and the agent do (daemon/ipc.h, firewall/wire.h)."""
import array
import collections
import ipaddress
import json
import os
import select
import socket
import struct
import zlib

from lab import Process, program

HEADER = struct.Struct("=IHHIIQ")
REQUEST = struct.Struct("=HHHBB16sIIQQ")
REPLY = struct.Struct("=HHHBB16sIiQQQIIBB6x")
CONF = struct.Struct("=QIB3x")
RESULT = struct.Struct("=iI512s")

MAGIC, VERSION = 0x70777266, 1
PARENT_CONF, PARENT_COMMIT, PARENT_ABORT, PARENT_STOP = 1, 2, 3, 6
CHILD_READY, CHILD_CONF = 32, 33
PING, PONG = 120, 121
FW_REQUEST, FW_REPLY, FW_EVENT = 160, 161, 162
BLOCK, UNBLOCK, LIST, PANIC, RESUME, STATUS = range(1, 7)
(OK, MALFORMED, STALE, BAD_RULE, BAD_ADDRESS, BAD_TIMEOUT, PROTECTED_PORT, TOO_MANY, TOO_FAST,
 PANICKED, NOT_FOUND, KERNEL, END) = range(13)
MANUAL = 0

Reply = collections.namedtuple(
    "Reply", "version result port family zero address rule error expires_ms packets bytes blocks "
             "reconciliations persist panicked")
UID, PROBER_UID = 64103, 64102


def pack_address(text):
    address = ipaddress.ip_address(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, address.packed.ljust(16, b"\0")


def unpack_address(family, raw):
    return str(ipaddress.ip_address(raw[:4] if family == socket.AF_INET else raw))


class Connection:
    """One end of a SEQPACKET pair that carries frames."""

    def __init__(self):
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.seq = 0

    def send(self, kind, body=b"", fd=None, seq=None):
        self.seq += 1
        seq = self.seq if seq is None else seq
        frame = HEADER.pack(MAGIC, VERSION, kind, len(body), 0, seq) + body
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                         array.array("i", [fd]))]
        self.sock.sendmsg([frame], rights)
        return seq

    def receive(self):
        """(type, seq, body), or None at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        magic, version, kind, length, zero, seq = HEADER.unpack_from(data)
        body = data[HEADER.size:]
        assert (magic, version, zero, length) == (MAGIC, VERSION, 0, len(body))
        return kind, seq, body

    def close(self):
        self.sock.close()


class Helper:
    """A running helper in a namespace of the Lab."""

    def __init__(self, lab, namespace="target"):
        self.parent, self.agent = Connection(), Connection()
        self.events = []
        theirs = [self.parent.theirs.fileno(), self.agent.theirs.fileno()]

        def place():  # in the child: descriptors 3 and 4
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(theirs)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
            os.closerange(5, 256)

        self.process = Process(
            ["ip", "netns", "exec", lab.name_of(namespace), program("pprofwall-firewall"),
             "--uid", UID, "--gid", UID, "--prober-uid", PROBER_UID],
            preexec_fn=place, close_fds=False)
        self.parent.theirs.close()
        self.agent.theirs.close()
        lab._stack.callback(self.kill)
        self.generation = 0
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

    def check(self, config):
        """CONF: (error, text)."""
        text = json.dumps(config).encode()
        self.generation += 1
        self.crc = zlib.crc32(text)
        fd = os.memfd_create("configuration")
        try:
            os.write(fd, text)
            seq = self.parent.send(PARENT_CONF, self._conf(False), fd=fd)
        finally:
            os.close(fd)
        return self._conf_result(seq)

    def commit(self, panic=False):
        return self._conf_result(self.parent.send(PARENT_COMMIT, self._conf(panic)))

    def _conf(self, panic):
        return CONF.pack(self.generation, self.crc, panic)

    def _conf_result(self, seq):
        got = self.parent.receive()
        if got is None:
            raise ConnectionError(f"the helper is gone:\n{self.process.output}")
        kind, answered, body = got
        assert (kind, answered) == (CHILD_CONF, seq), (kind, answered)
        error, zero, text = RESULT.unpack(body)
        assert zero == 0
        return error, text.rstrip(b"\0").decode()

    def start(self, config, panic=False):
        """CONF, COMMIT, READY."""
        for result in (self.check(config), self.commit(panic)):
            if result[0]:
                raise RuntimeError(f"{result}\n{self.process.output}")
        kind, _, _ = self.parent.receive()
        assert kind == CHILD_READY
        return self

    def reload(self, config):
        for result in (self.check(config), self.commit()):
            if result[0]:
                raise RuntimeError(f"{result}")

    def stop(self, timeout=10):
        self.parent.send(PARENT_STOP)
        return self.process.wait(timeout)

    # The agent's side

    def ask(self, verb, address=None, port=0, rule=MANUAL, timeout_ms=0, generation=None):
        """The reply; for LIST, all of them."""
        family, raw = pack_address(address) if address else (0, bytes(16))
        body = REQUEST.pack(1, verb, port, family, 0, raw, rule, 0,
                            self.generation if generation is None else generation, timeout_ms)
        seq = self.agent.send(FW_REQUEST, body)
        replies = [self._reply(seq)]
        while verb == LIST and replies[-1].result == OK:
            replies.append(self._reply(seq))
        return replies if verb == LIST else replies[0]

    def _reply(self, seq):
        while True:
            got = self.agent.receive()
            if got is None:
                raise ConnectionError(f"the helper is gone:\n{self.process.output}")
            kind, answered, body = got
            reply = Reply._make(REPLY.unpack(body))
            if kind == FW_EVENT:
                self.events.append(reply)
                continue
            assert (kind, answered) == (FW_REPLY, seq), (kind, answered, seq)
            return reply

    def wait_event(self, timeout=5):
        if self.events:
            return self.events.pop(0)
        if not select.select([self.agent.sock], [], [], timeout)[0]:
            raise TimeoutError("no event")
        kind, _, body = self.agent.receive()
        assert kind == FW_EVENT
        return Reply._make(REPLY.unpack(body))

    def block(self, address, port, rule=1, timeout_ms=60_000, **kwargs):
        return self.ask(BLOCK, address, port, rule, timeout_ms, **kwargs)

    def unblock(self, address, port):
        return self.ask(UNBLOCK, address, port)

    def list(self):
        """{(address, port): reply}"""
        replies = self.ask(LIST)
        assert replies[-1].result == END, replies[-1]
        return {(unpack_address(r.family, r.address), r.port): r for r in replies[:-1]}
