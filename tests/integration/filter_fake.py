# SPDX-License-Identifier: GPL-2.0-or-later
"""A filter process that reads no HTTP: takes its listeners from the firewall (daemon/filter/wire.h)
and passes bytes on to the endpoint, from the endpoint's own address. Of what test_firewall.Echo
answers, each "e" becomes an "f"; b"?" is answered with the connection's own two addresses, b"!" ends it."""
import array
import os
import signal
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import frames  # noqa: E402

LISTENER, CLOSE = 192, 193
LISTENER_BODY = struct.Struct("=HB5x64s")
PEER = struct.Struct("=IIii")
PARENT_PEER, ROLE_FILTER = 4, 5
UID = 64108


class Filter:
    """Started in the namespace of a helper, which gets its other end as from the parent."""

    def __init__(self, lab, helper, namespace="target"):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper.parent.send(PARENT_PEER, PEER.pack(ROLE_FILTER, 0, 0, 0), theirs.fileno())
        theirs.close()
        with ours:
            self.process = lab.process(namespace, sys.executable, __file__, str(ours.fileno()),
                                       end=False, pass_fds=[ours.fileno()])
        lab._stack.callback(self.kill)
        self.pid = self.process.pid

    def expect(self, *rules):
        """Until it has both listeners of each of these rules."""
        for rule in rules:
            for family in (socket.AF_INET, socket.AF_INET6):
                self.process.wait_line(f"^{rule} {int(family)} listens")
        return self

    def ports(self, rule):
        """{family: port}, of the last listeners of this rule."""
        found = {}
        for line in self.process.lines:
            name, family, *does, port = line.split()
            if name == rule and does == ["listens"]:
                found[int(family)] = int(port)
        return found

    def kill(self):
        if self.process.status is None:
            self.process._process.kill()
        return self.process.wait()


def receive(sock):
    """(type, seq, body, descriptors); None at the end."""
    fds = array.array("i")
    try:
        packet, control, _, _ = sock.recvmsg(70000, socket.CMSG_SPACE(4))
    except ConnectionResetError:  # an answer of ours was not read
        return None
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[:len(data) - len(data) % 4])
    if not packet:
        return None
    magic, version, kind, length, _, seq = frames.HEADER.unpack_from(packet)
    body = packet[frames.HEADER.size:]
    assert (magic, version, length) == (frames.MAGIC, frames.VERSION, len(body))
    return kind, seq, body, list(fds)


def pass_on(client, listener):
    endpoint = client.getsockname()[:2]
    upstream = None
    try:
        while data := client.recv(4096):
            if data == b"!":
                return
            if data == b"?":
                client.sendall(f"{endpoint} {client.getpeername()[:2]}\n".encode())
                continue
            if endpoint == listener:
                return
            if not upstream:
                upstream = socket.socket(client.family)
                upstream.settimeout(5)
                upstream.bind((endpoint[0], 0))
                upstream.connect(endpoint)
            upstream.sendall(data)
            client.sendall(upstream.recv(4096).replace(b"e", b"f"))
    except OSError as err:
        print(f"{endpoint}: {err}", flush=True)
    finally:
        client.close()
        if upstream:
            upstream.close()


def listen(listener):
    name = listener.getsockname()[:2]
    listener.setblocking(True)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=pass_on, args=(client, name), daemon=True).start()


def main():
    firewall = socket.socket(fileno=int(sys.argv[1]))
    listeners = {}
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    while got := receive(firewall):
        kind, seq, body, fds = got
        if kind == frames.PING:
            firewall.send(frames.pack(frames.PONG, seq))
            continue
        assert kind in (LISTENER, CLOSE), kind
        version, family, rule = LISTENER_BODY.unpack(body)
        assert version == 1 and len(fds) == (kind == LISTENER)
        rule = frames.text_of(rule)
        old = listeners.pop((rule, family), None)
        if old:
            old.shutdown(socket.SHUT_RDWR)
            old.close()
        if kind == CLOSE:
            print(rule, family, "closed", flush=True)
            continue
        listener = listeners[rule, family] = socket.socket(fileno=fds[0])
        threading.Thread(target=listen, args=(listener,), daemon=True).start()
        print(rule, family, "listens", listener.getsockname()[1], flush=True)
    signal.pause()  # what it has goes on


if __name__ == "__main__":
    main()
