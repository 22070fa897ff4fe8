# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP client whose every packet a test makes itself: it has no kernel to keep it in order.

The kernel of its namespace, which knows nothing of the connection, must not reset it: RawTcp makes a
rule for that in a table of its own, in the lab's `client` namespace.
"""
import itertools
import random
import socket
import struct
import time

FIN, SYN, RST, PUSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
TCP = struct.Struct("!HHIIBBHHH")
IP = struct.Struct("!BBHHHBBH4s4s")
IP6 = struct.Struct("!IHBB16s16s")
FRAGMENT = struct.Struct("!BBHI")
MORE_FRAGMENTS = 0x2000


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class RawTcp:
    _ports = itertools.count(random.randrange(20000, 28000))  # no two have the same

    def __init__(self, place, address, port, source):
        self.place, self.port = place, port
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address = socket.inet_pton(self.family, address)
        self.source = socket.inet_pton(self.family, source)
        self.between = b""  # options of IP; for IPv6, whole headers
        self.protocol = socket.IPPROTO_TCP  # which is the first of those
        self.own_port = next(self._ports)
        self.next = random.randrange(1 << 31)  # of what we say
        self.expected = None                   # of what is said to us
        self.answers = b""
        self.ended = self.was_reset = False
        self._early = {}
        self._serial = random.randrange(1 << 15)
        rule = (f"add table inet raw-{self.own_port}\n"
                f"add chain inet raw-{self.own_port} out {{ type filter hook output priority 0; }}\n"
                f"add rule inet raw-{self.own_port} out tcp sport {self.own_port} "
                "tcp flags & rst == rst drop\n")
        # What we make ourselves does not pass there as TCP of a socket: it has no mark.
        place.run("client", "sh", "-c", f"printf '{rule}' | nft -f -")
        with place.inside("client"):
            self.sender = socket.socket(self.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self.receiver = socket.socket(self.family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.receiver.bind((source, 0))

    # What goes out

    def segment(self, flags, data=b"", offset=0, urgent=0, options=b""):
        """One segment, `offset` bytes behind what has been said before."""
        header = TCP.pack(self.own_port, self.port, (self.next + offset) & 0xFFFFFFFF,
                          self.expected or 0, (5 + len(options) // 4) << 4, flags, 65535, 0, urgent)
        whole = header + options + data
        pseudo = self.source + self.address + struct.pack("!HH", socket.IPPROTO_TCP, len(whole))
        return whole[:16] + struct.pack("!H", checksum(pseudo + whole)) + whole[18:]

    def fragment(self, payload, offset=0, more=False, serial=0):
        """One IP packet, or a part of one, from a byte of its payload on."""
        if self.family == socket.AF_INET:
            words = 5 + len(self.between) // 4
            header = IP.pack(0x40 | words, 0, words * 4 + len(payload), serial, offset // 8
                             | (MORE_FRAGMENTS if more else 0), 64, socket.IPPROTO_TCP, 0,
                             self.source, self.address) + self.between
        else:
            first, between = self.protocol, self.between
            if serial:
                between = FRAGMENT.pack(first, 0, offset | more, serial) + between
                first = socket.IPPROTO_FRAGMENT
            header = IP6.pack(6 << 28, len(between) + len(payload), first, 64, self.source,
                              self.address) + between
        self.sender.sendto(header + payload, (socket.inet_ntop(self.family, self.address), 0))

    def fragments(self, segment, size=8, order=None, twist=None):
        """The segment in fragments; `twist` makes what is sent as well of (offset, part, is last)."""
        self._serial += 1
        parts = [(at, segment[at:at + size]) for at in range(0, len(segment), size)]
        for index in order(range(len(parts))) if order else range(len(parts)):
            at, part = parts[index]
            more = at + size < len(segment)
            self.fragment(part, at, more, self._serial)
            for offset, other in twist(at, part) if twist else ():
                self.fragment(other, offset, more, self._serial)

    def send(self, data, offset=0, flags=PUSH | ACK, urgent=0):
        self.fragment(self.segment(flags, data, offset, urgent))

    def said(self, length):
        """So much was sent by now, in whatever order."""
        self.next = (self.next + length) & 0xFFFFFFFF

    def connect(self, flags=SYN, send=None):
        """True when the handshake is done; `send` sends the first segment another way."""
        (send or self.fragment)(self.segment(flags, options=b"\x02\x04\x05\xb4"))
        self.said(1)
        if not self.wait(lambda: self.expected is not None or self.was_reset) or self.was_reset:
            return False
        self.fragment(self.segment(ACK))
        return True

    # What comes in

    def wait(self, condition, timeout=5):
        """Takes packets until it holds; False when it does not in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.receiver.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                self._take(self.receiver.recv(65535))
            except TimeoutError:
                return condition()
        return True

    def _take(self, packet):
        if self.family == socket.AF_INET:  # of IPv6 the header is not seen
            packet = packet[(packet[0] & 15) * 4:]
        source, own, sequence, _, length, flags, *_ = TCP.unpack_from(packet)
        if (source, own) != (self.port, self.own_port):
            return
        if flags & RST:
            self.was_reset = self.ended = True
            return
        if flags & SYN:
            self.expected = (sequence + 1) & 0xFFFFFFFF
            return
        data = packet[(length >> 4) * 4:]
        if data or flags & FIN:
            self._early[sequence] = data, bool(flags & FIN)
            while self.expected in self._early:
                data, is_last = self._early.pop(self.expected)
                self.answers += data
                self.expected = (self.expected + len(data) + is_last) & 0xFFFFFFFF
                self.ended |= is_last
            self.fragment(self.segment(ACK))

    def close(self):
        if self.expected is not None:
            # The others' kernel is done with it, too; ours lets no RST out.
            self.place.run("client", "nft", "delete", "table", "inet", f"raw-{self.own_port}")
            self.fragment(self.segment(RST | ACK))
        self.sender.close()
        self.receiver.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
