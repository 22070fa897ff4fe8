# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks to the daemon's processes as their parent and their peer do (common/frame.h and
daemon/ipc.h): what test_prober.py, sender_driver.py and firewall_helper.py have in common."""
import collections
import fcntl
import os
import signal
import socket
import struct
import zlib

HEADER = struct.Struct("=IHHIIQ")
CONF = struct.Struct("=QIB3x")
RESULT = struct.Struct("=iI512s")
MAGIC, VERSION = 0x70777266, 1
PARENT_CONF, PARENT_COMMIT, PARENT_ABORT, PARENT_STOP = 1, 2, 3, 6
CHILD_READY, CHILD_CONF, CHILD_DEAF = 32, 33, 38
PING, PONG = 120, 121

Frame = collections.namedtuple("Frame", "type seq body")


def pack(kind, seq=0, body=b""):
    return HEADER.pack(MAGIC, VERSION, kind, len(body), 0, seq) + body


def text_of(field):
    return field.split(b"\0", 1)[0].decode()


class Peer:
    """Our end of one SEQPACKET socket; `theirs` is for the process under test."""

    def __init__(self):
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.setblocking(False)
        self._seq = 0

    def send(self, kind, body=b"", fd=None, seq=None):
        """Returns the seq, by default the next one."""
        if seq is None:
            self._seq += 1
            seq = self._seq
        socket.send_fds(self.sock, [pack(kind, seq, body)], [] if fd is None else [fd])
        return seq

    def receive(self, timeout=20):
        """The next frame, or None at the end of the connection."""
        self.sock.settimeout(timeout)
        try:
            packet = self.sock.recv(70000)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        magic, version, kind, length, zero, seq = HEADER.unpack_from(packet)
        body = packet[HEADER.size:]
        assert (magic, version, zero, length) == (MAGIC, VERSION, 0, len(body))
        return Frame(kind, seq, body)

    def close(self):
        self.sock.close()


class Parent(Peer):
    """The parent's end: hands out configurations."""

    def __init__(self):
        super().__init__()
        self.generation = self.crc = 0

    def check(self, data):
        """Sends a configuration; returns (error, text)."""
        self.generation += 1
        self.crc = zlib.crc32(data)
        fd = os.memfd_create("configuration", os.MFD_CLOEXEC)
        try:
            os.write(fd, data)
            return self._ask(PARENT_CONF, self.conf(), fd)
        finally:
            os.close(fd)

    def commit(self, generation=None, panic=False):
        """Puts in force what was checked; returns (error, text)."""
        return self._ask(PARENT_COMMIT, self.conf(generation, panic))

    def abort(self):
        self.send(PARENT_ABORT, self.conf())

    def stop(self):
        self.send(PARENT_STOP)

    def expect_ready(self):
        frame = self.receive()
        assert frame and frame.type == CHILD_READY and frame.body == b"", frame

    def conf(self, generation=None, panic=False):
        return CONF.pack(self.generation if generation is None else generation, self.crc, panic)

    def _ask(self, kind, body, fd=None):
        seq = self.send(kind, body, fd)
        frame = self.receive()
        if frame is None:
            raise ConnectionError("the process is gone")
        assert (frame.type, frame.seq) == (CHILD_CONF, seq), frame
        error, zero, text = RESULT.unpack(frame.body)
        assert zero == 0
        return error, text_of(text)


class Program:
    """One of the daemon's processes, `self.process`; `parent` and `agent` hold the other ends of its
    descriptors 3 and 4."""

    def __init__(self):
        self.parent, self.agent = Parent(), Peer()

    def end(self):
        """The exit status and what it said."""
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors.decode()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.parent.close()
        self.agent.close()


def handed_over(parent, peer, data=None):
    """Arguments for Popen(): the child finds their ends on descriptors 3 and 4, the file on 5."""
    def place():
        # Above all, so that the one does not take the other's place.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
                for fd in (parent.theirs.fileno(), peer.theirs.fileno(),
                           *([] if data is None else [data.fileno()]))]
        for target, fd in zip((3, 4, 5), high):
            os.dup2(fd, target)

    # Not pass_fds, which wants 3 and 4 to be open here. What Python opens is closed by exec.
    return {"preexec_fn": place, "close_fds": False}
