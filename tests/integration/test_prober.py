# SPDX-License-Identifier: GPL-2.0-or-later
"""The prober alone: what it answers, what it refuses, and what it may. We are parent and agent."""
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import unittest

import lab

MAGIC, VERSION = 0x70777266, 1
PARENT_CONF, PARENT_COMMIT, PARENT_STOP = 1, 2, 6
CHILD_READY, CHILD_CONF = 32, 33
PROBE_START, PROBE_DONE = 64, 65
PING, PONG = 120, 121
NOBODY = 65534


def frame(kind, seq, body=b""):
    return struct.pack("=IHHIIQ", MAGIC, VERSION, kind, len(body), 0, seq) + body


def receive(sock):
    data = sock.recv(70000)
    magic, version, kind, length, zero, seq = struct.unpack("=IHHIIQ", data[:24])
    assert (magic, version, zero, length) == (MAGIC, VERSION, 0, len(data) - 24)
    return kind, seq, data[24:]


def probe(port=1, address="127.0.0.1", timeout_ms=2000, host=b"", prefix=b"", flags=(0, 0, 0),
          zero=bytes(5), tail=bytes(12), family=socket.AF_INET):
    return struct.pack("=HHI4s12sqBBB5s256s128s", family, port, 0, socket.inet_aton(address), tail,
                       timeout_ms, *flags, zero, host, prefix)


class Prober:
    """Descriptors 3 and 4 of the child are the other ends of `parent` and `agent`."""

    def __init__(self):
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        (self.parent, child_parent), (self.agent, child_agent) = pairs

        def place():
            copies = [os.dup(child_parent.fileno()), os.dup(child_agent.fileno())]
            # Above both targets, so that the one does not overwrite the other's source.
            copies = [os.dup(copy) if copy < 5 else copy for copy in copies]
            for target, copy in zip((3, 4), copies):
                os.dup2(copy, target)

        self.process = subprocess.Popen(
            [lab.program("pprofwall-prober"), "--uid", str(NOBODY), "--gid", str(NOBODY)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=place, close_fds=False,
            env=lab.environment())
        child_parent.close()
        child_agent.close()
        for sock in (self.parent, self.agent):
            sock.settimeout(20)

    def __enter__(self):
        kind, _, body = receive(self.parent)
        assert (kind, body) == (CHILD_READY, b"")
        return self

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


@unittest.skipUnless(os.geteuid() == 0, "it changes its uid")
class ProberTest(unittest.TestCase):
    def test_conversation(self):
        with Prober() as prober:
            for kind in (PARENT_CONF, PARENT_COMMIT):
                prober.parent.send(frame(kind, 7, struct.pack("=QIB3x", 7, 0, 0)))
                kind, seq, body = receive(prober.parent)
                self.assertEqual((kind, seq, body[:4]), (CHILD_CONF, 7, bytes(4)))
            for sock in (prober.parent, prober.agent):
                sock.send(frame(PING, 9))
                self.assertEqual(receive(sock), (PONG, 9, b""))
            prober.parent.send(frame(PARENT_STOP, 1))
            self.assertEqual(prober.end(), (0, ""))

    def test_finding(self):
        with socket.create_server(("127.0.0.1", 0)) as server, Prober() as prober:
            port = server.getsockname()[1]
            prober.agent.send(frame(PROBE_START, 11, probe(port, host=b"a.example",
                                                           prefix=b"/x/pprof/")))
            connection, _ = server.accept()
            with connection:
                head = connection.recv(65536).decode()
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            self.assertTrue(head.startswith("GET /x/pprof/ HTTP/1.1\r\n"), head)
            self.assertIn(f"Host: a.example:{port}\r\n", head)
            kind, seq, body = receive(prober.agent)
            finding = json.loads(body)
            self.assertEqual((kind, seq), (PROBE_DONE, 11))
            self.assertEqual((finding["endpoint"], finding["verdict"], finding["host"]),
                             (f"127.0.0.1:{port}", "clear", "a.example"))

    def test_agent_that_does_not_read(self):
        """Nothing is lost, although the socket holds far less than this."""
        with Prober() as prober:
            for seq in range(3000):
                prober.agent.send(frame(PROBE_START, seq, probe()))
            prober.parent.send(frame(PING, 1))
            self.assertEqual(receive(prober.parent)[0], PONG)
            seen = set()
            for _ in range(3000):
                kind, seq, body = receive(prober.agent)
                self.assertEqual((kind, json.loads(body)["verdict"]), (PROBE_DONE, "closed"))
                seen.add(seq)
            self.assertEqual(seen, set(range(3000)))

    def test_malformed(self):
        for what, message in (
                ("short", frame(PROBE_START, 1, b"x")),
                ("long", frame(PROBE_START, 1, probe() + b"x")),
                ("port 0", frame(PROBE_START, 1, probe(0))),
                ("family", frame(PROBE_START, 1, probe(family=socket.AF_UNIX))),
                ("address tail", frame(PROBE_START, 1, probe(tail=b"\1" + bytes(11)))),
                ("padding", frame(PROBE_START, 1, probe(zero=b"\1" + bytes(4)))),
                ("flag", frame(PROBE_START, 1, probe(flags=(2, 0, 0)))),
                ("both schemes", frame(PROBE_START, 1, probe(flags=(0, 1, 1)))),
                ("timeout", frame(PROBE_START, 1, probe(timeout_ms=-1))),
                ("long timeout", frame(PROBE_START, 1, probe(timeout_ms=1 << 40))),
                ("no NUL", frame(PROBE_START, 1, probe(host=b"a" * 256))),
                ("after the NUL", frame(PROBE_START, 1, probe(host=b"a\0b"))),
                ("host", frame(PROBE_START, 1, probe(host=b"a\r\nX: y"))),
                ("prefix", frame(PROBE_START, 1, probe(prefix=b"no/slash"))),
                ("type", frame(PROBE_DONE, 1)),
                ("no frame", b"garbage")):
            with self.subTest(what), Prober() as prober:
                prober.agent.send(message)
                status, errors = prober.end()
                self.assertEqual(status, 1)
                self.assertRegex(errors, r"^pprofwall-prober: agent: [^\n]+\n$")

    def test_end_of_a_peer(self):
        for name in ("parent", "agent"):
            with self.subTest(name), Prober() as prober:
                getattr(prober, name).shutdown(socket.SHUT_RDWR)
                self.assertEqual(prober.end(), (0, ""))

    def test_privileges(self):
        with Prober() as prober:
            text = pathlib.Path(f"/proc/{prober.process.pid}/status").read_text()
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        self.assertEqual(set(status["Uid"].split()), {str(NOBODY)})
        self.assertEqual(set(status["Gid"].split()), {str(NOBODY)})
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        if not lab.IS_ASAN:
            self.assertEqual(status["Seccomp"].strip(), "2")

    def test_started_by_hand(self):
        for arguments in ((), ("--uid", "0", "--gid", "0"), ("--uid", "nobody", "--gid", "1")):
            done = lab.run(lab.program("pprofwall-prober"), *arguments, check=False)
            self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
