# SPDX-License-Identifier: GPL-2.0-or-later
"""The prober alone: what it answers, what it refuses, and what it may. We are parent and agent."""
import errno
import json
import os
import pathlib
import socket
import struct
import subprocess
import unittest

import frames
import lab
from frames import PING, PONG, pack

PROBE_START, PROBE_DONE, PROBE_ASK_SOCKET, PROBE_SOCKET = 64, 65, 66, 67
FROM_INSIDE = (0, 0, 0, 0, 1)
NOBODY = 65534


def probe(port=1, address="127.0.0.1", timeout_ms=2000, host=b"", prefix=b"", flags=(0, 0, 0, 0, 0),
          zero=bytes(3), tail=bytes(12), family=socket.AF_INET):
    return struct.pack("=HHI4s12sqBBBBB3s256s128s", family, port, 0, socket.inet_aton(address), tail,
                       timeout_ms, *flags, zero, host, prefix)


class Prober(frames.Program):
    def __init__(self):
        super().__init__()
        with open(os.path.join(lab.BUILD_DIR, "share/pprofwall/signatures.yaml"), "rb") as data:
            self.process = subprocess.Popen(
                [lab.program("pprofwall-prober"), "--uid", str(NOBODY), "--gid", str(NOBODY)],
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=lab.environment(),
                **frames.handed_over(self.parent, self.agent, data))
        self.parent.theirs.close()
        self.agent.theirs.close()

    def __enter__(self):
        self.parent.expect_ready()
        return self


@unittest.skipUnless(os.geteuid() == 0, "it changes its uid")
class ProberTest(unittest.TestCase):
    def test_conversation(self):
        with Prober() as prober:
            self.assertEqual(prober.parent.check(b""), (0, ""))
            self.assertEqual(prober.parent.commit(), (0, ""))
            for peer in (prober.parent, prober.agent):
                peer.send(PING, seq=9)
                self.assertEqual(peer.receive(), (PONG, 9, b""))
            prober.parent.stop()
            self.assertEqual(prober.end(), (0, ""))

    def test_finding(self):
        with socket.create_server(("127.0.0.1", 0)) as server, Prober() as prober:
            port = server.getsockname()[1]
            prober.agent.send(PROBE_START, probe(port, host=b"a.example", prefix=b"/x/pprof/"),
                              seq=11)
            connection, _ = server.accept()
            with connection:
                head = connection.recv(65536).decode()
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            self.assertTrue(head.startswith("GET /x/pprof/ HTTP/1.1\r\n"), head)
            self.assertIn(f"Host: a.example:{port}\r\n", head)
            kind, seq, body = prober.agent.receive()
            finding = json.loads(body)
            self.assertEqual((kind, seq), (PROBE_DONE, 11))
            self.assertEqual((finding["endpoint"], finding["verdict"], finding["host"]),
                             (f"127.0.0.1:{port}", "clear", "a.example"))

    def give_socket(self, prober, seq, error=0):
        """From the namespace that we are in, or none because of the error."""
        with socket.socket() as sock:
            prober.agent.send(PROBE_SOCKET, struct.pack("=iI", error, 0),
                              None if error else sock.fileno(), seq=seq)

    def test_each_request_from_inside_has_a_socket_of_its_own(self):
        """The server is where the prober cannot reach it, at an address that it has, too."""
        with lab.Lab() as place:
            place.serve_plain(9100, "127.0.0.1")
            with Prober() as prober:
                before = len(os.listdir(f"/proc/{prober.process.pid}/fd"))
                for seq in range(1, 201):
                    prober.agent.send(PROBE_START, probe(9100, flags=FROM_INSIDE), seq=seq)
                    asked = 0
                    while (frame := prober.agent.receive()).type == PROBE_ASK_SOCKET:
                        self.assertEqual((frame.seq, frame.body), (seq, b""))
                        with place.inside("target"):
                            self.give_socket(prober, seq)
                        asked += 1
                    self.assertEqual((frame.type, frame.seq), (PROBE_DONE, seq))
                    self.assertEqual(json.loads(frame.body)["verdict"], "clear")
                    self.assertGreaterEqual(asked, 1)
                    # One that nobody waits for any more is closed.
                    self.give_socket(prober, seq)
                prober.agent.send(PING)
                self.assertEqual(prober.agent.receive().type, PONG)
                self.assertLess(len(os.listdir(f"/proc/{prober.process.pid}/fd")), before + 4)

    def test_no_socket_from_inside(self):
        with Prober() as prober:
            prober.agent.send(PROBE_START, probe(9100, flags=FROM_INSIDE), seq=1)
            for _ in range(3):
                self.assertEqual(prober.agent.receive()[:2], (PROBE_ASK_SOCKET, 1))
                self.give_socket(prober, 1, -errno.EAGAIN)
            while (frame := prober.agent.receive()).type == PROBE_ASK_SOCKET:
                self.give_socket(prober, frame.seq, -errno.ENOENT)
            self.assertEqual(json.loads(frame.body)["verdict"], "error")

    def test_nobody_says_whether_there_is_a_socket(self):
        """It ends all the same, and keeps nobody waiting."""
        with Prober() as prober:
            prober.agent.send(PROBE_START, probe(9100, flags=FROM_INSIDE), seq=1)
            self.assertEqual(prober.agent.receive()[:2], (PROBE_ASK_SOCKET, 1))
            prober.agent.send(PROBE_START, probe(1), seq=2)
            self.assertEqual(prober.agent.receive()[:2], (PROBE_DONE, 2))
            frame = prober.agent.receive(30)
            self.assertEqual(frame[:2], (PROBE_DONE, 1))
            self.assertEqual(json.loads(frame.body)["verdict"], "error")

    def test_agent_that_does_not_read(self):
        """Nothing is lost, although the socket holds far less than this."""
        with Prober() as prober:
            for seq in range(3000):
                prober.agent.send(PROBE_START, probe(), seq=seq)
            prober.parent.send(PING)
            self.assertEqual(prober.parent.receive().type, PONG)
            seen = set()
            for _ in range(3000):
                kind, seq, body = prober.agent.receive()
                self.assertEqual((kind, json.loads(body)["verdict"]), (PROBE_DONE, "closed"))
                seen.add(seq)
            self.assertEqual(seen, set(range(3000)))

    def test_malformed(self):
        for what, message in (
                ("short", pack(PROBE_START, 1, b"x")),
                ("long", pack(PROBE_START, 1, probe() + b"x")),
                ("port 0", pack(PROBE_START, 1, probe(0))),
                ("family", pack(PROBE_START, 1, probe(family=socket.AF_UNIX))),
                ("address tail", pack(PROBE_START, 1, probe(tail=b"\1" + bytes(11)))),
                ("padding", pack(PROBE_START, 1, probe(zero=b"\1" + bytes(2)))),
                ("flag", pack(PROBE_START, 1, probe(flags=(2, 0, 0, 0, 0)))),
                ("last flag", pack(PROBE_START, 1, probe(flags=(0, 0, 0, 0, 2)))),
                ("both schemes", pack(PROBE_START, 1, probe(flags=(0, 1, 1, 0, 0)))),
                ("timeout", pack(PROBE_START, 1, probe(timeout_ms=-1))),
                ("long timeout", pack(PROBE_START, 1, probe(timeout_ms=1 << 40))),
                ("no NUL", pack(PROBE_START, 1, probe(host=b"a" * 256))),
                ("after the NUL", pack(PROBE_START, 1, probe(host=b"a\0b"))),
                ("host", pack(PROBE_START, 1, probe(host=b"a\r\nX: y"))),
                ("prefix", pack(PROBE_START, 1, probe(prefix=b"no/slash"))),
                ("type", pack(PROBE_DONE, 1)),
                ("no socket", pack(PROBE_SOCKET, 1, bytes(8))),
                ("short about a socket", pack(PROBE_SOCKET, 1, bytes(7))),
                ("an error of 2", pack(PROBE_SOCKET, 1, struct.pack("=iI", 2, 0))),
                ("no frame", b"garbage")):
            with self.subTest(what), Prober() as prober:
                prober.agent.sock.send(message)
                status, errors = prober.end()
                self.assertEqual(status, 1)
                self.assertRegex(errors, r"^pprofwall-prober: agent: [^\n]+\n$")

    def test_end_of_a_peer(self):
        for name in ("parent", "agent"):
            with self.subTest(name), Prober() as prober:
                getattr(prober, name).sock.shutdown(socket.SHUT_RDWR)
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
