#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon and sinks that fail, each in its own way: what it says of them, and that one which is
dead concerns no other, nor a block."""
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

from lab import IS_ASAN, Lab, wait_until
from sender_driver import NameServer, Receiver
from test_sender import OK, status

SLOW = 3 if IS_ASAN else 1


def block_address(i):
    return f"{Lab.TARGET}:{20000 + i}"


class FailureTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.released = threading.Event()
        self.with_names({"mute.example": None})
        self.sinks = []

    def with_names(self, table):
        """The daemon resolves from this table."""
        with self.lab.inside("target"):
            server = NameServer(table)
        folder = f"/etc/netns/{self.lab.name_of('target')}"
        os.makedirs(folder)
        self.addCleanup(shutil.rmtree, folder)
        for file, text in (("resolv.conf", f"nameserver 127.0.0.1:{server.port}\n"),
                           ("hosts", "127.0.0.1 localhost\n")):
            with open(os.path.join(folder, file), "w", encoding="ascii") as out:
                out.write(text)

        def close():
            with self.lab.inside("target"):
                server.close()
        self.addCleanup(close)

    def listener(self, **kwargs):
        with self.lab.inside("target"):
            return socket.create_server(("127.0.0.1", 0), **kwargs)

    def receiver(self, *args, **kwargs):
        with self.lab.inside("target"):
            made = Receiver(*args, **kwargs)
        self.addCleanup(made.close)
        self.addCleanup(self.released.set)  # runs before the close
        return made

    def hangs(self, *_):
        self.released.wait(120)

    def sink(self, name, url, **more):
        self.sinks.append({"name": name, "type": "webhook", "url": url, **more})

    def start(self, **changes):
        self.daemon = self.lab.daemon(self.lab.config(scan={"targets": []}, alerts=self.sinks,
                                                      **changes))
        return self.daemon.start(timeout=20 * SLOW)

    def block(self, i):
        """Blocks by hand, which is an event; returns the seconds it took."""
        began = time.monotonic()
        self.daemon.ctl("block", block_address(i), "--reason", "a test")
        return time.monotonic() - began

    def events(self, receiver, count, timeout=10):
        """The endpoints of so many events, as they came."""
        return [json.loads(receiver.requests.get(timeout=timeout * SLOW).body)["endpoint"]
                for _ in range(count)]

    def total(self, sink, result):
        return self.daemon.metric("pprofwall_alerts_total", sink=sink, result=result)

    def status_of(self, sink):
        sinks = self.daemon.ctl_json("status")["alerts"]["sinks"]
        return next(s for s in sinks if s["name"] == sink)

    def full(self):
        """The port of a server that accepts nobody: connections to it are never answered."""
        listener = self.listener(backlog=0)
        self.addCleanup(listener.close)
        with self.lab.inside("target"):
            for _ in range(4):
                client = socket.socket()
                self.addCleanup(client.close)
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(listener.getsockname())
        return listener.getsockname()[1]

    def closed(self):
        """A port at which nobody listens."""
        with self.listener() as listener:
            return listener.getsockname()[1]

    def certificate(self, days):
        """(TLS context of a server on localhost, file of its authority)"""
        folder = os.path.join(self.lab.directory, "tls")
        os.mkdir(folder)
        names = {n: os.path.join(folder, n) for n in ("ca.key", "ca", "key", "request", "cert")}

        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, capture_output=True)
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *new, "-keyout", names["ca.key"], "-out", names["ca"], "-days",
                "2", "-subj", "/CN=authority")
        openssl("req", *new, "-keyout", names["key"], "-out", names["request"], "-subj",
                "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        openssl("x509", "-req", "-in", names["request"], "-copy_extensions", "copy", "-CA",
                names["ca"], "-CAkey", names["ca.key"], "-days", str(days), "-out",
                names["cert"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(names["cert"], names["key"])
        return context, names["ca"]


def drip(released, head, line):
    """An answer that never comes to its end."""
    def answer(_, connection):
        connection.sendall(head)
        while not released.wait(0.2):
            connection.sendall(line)
    return answer


def half_close(released):
    """Says that nothing will come, and stays connected."""
    def answer(_, connection):
        connection.shutdown(socket.SHUT_WR)
        released.wait(120)
    return answer


class Kinds(FailureTest):
    def test_each_failure_is_named_in_status_and_counted(self):
        context, authority = self.certificate(-1)
        expired = self.receiver(OK, tls=context)
        elsewhere = self.receiver()
        garbage = os.urandom(3000)
        answers = {
            "hang": self.hangs,
            "half": half_close(self.released),
            "nonsense": lambda _, c: c.sendall(b"\x16\x03\x01\x00\x00SSH-2.0-x\r\n\r\n"),
            "redirect": status(302, f"Location: {elsewhere.url}"),
            "garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + garbage,
            "busy": lambda n, _: status(503, "Retry-After: 2") if n == 1 else OK,
        }
        made = {name: self.receiver(answer) for name, answer in answers.items()}
        for name, receiver in made.items():
            self.sink(name, receiver.url, timeout="700ms" if name == "hang" else "20s")
        self.sink("no-name", "http://nowhere.example/")
        self.sink("no-dns", "http://mute.example/", timeout="700ms")
        self.sink("refused", f"http://127.0.0.1:{self.closed()}/")
        self.sink("full", f"http://127.0.0.1:{self.full()}/", timeout="700ms")
        self.sink("expired", f"https://localhost:{expired.port}/", ca_file=authority)
        self.start()
        self.block(1)
        retried = {
            "hang": "Timeout was reached",
            "half": "Server returned nothing",
            "nonsense": "",
            "no-name": "the receiver's name does not exist",
            "no-dns": "the receiver's name was not resolved in time",
            "refused": "Couldn't connect to server",
            "full": "Timeout was reached",
            "expired": "certificate has expired",
        }
        for name, text in retried.items():
            with self.subTest(name):
                wait_until(lambda n=name: self.total(n, "retry"), 10 * SLOW, f"{name} failed")
                self.assertEqual((self.total(name, "delivered"), self.total(name, "gave_up")),
                                 (0, 0))
                self.assertTrue(self.status_of(name)["last_error"])
                self.assertIn(text, self.status_of(name)["last_error"])
        with self.subTest("redirect"):
            self.daemon.wait_metric("pprofwall_alerts_total", 1, 10 * SLOW, sink="redirect",
                                    result="gave_up")
            self.assertEqual(self.status_of("redirect")["last_error"],
                             "HTTP 302: redirects are refused")
            self.assertEqual(elsewhere.requests.qsize(), 0)
        for name in ("garbage", "busy"):
            with self.subTest(name):
                self.daemon.wait_metric("pprofwall_alerts_total", 1, 10 * SLOW, sink=name,
                                        result="delivered")
                self.assertEqual(self.total(name, "retry"), 1 if name == "busy" else 0)
                self.assertIsNone(self.status_of(name)["last_error"])
        first, second = (made["busy"].requests.get(timeout=5).time for _ in range(2))
        self.assertGreaterEqual(second - first, 1.9)
        self.assertEqual(expired.requests.qsize(), 0)
        self.assertNotIn("s3cr3t", self.daemon.output + self.daemon.ctl("status").stdout)


class DeadSink(FailureTest):
    def kill_sink(self):
        """A sink that fails until self.alive is set, and is left alone; three events wait."""
        self.alive = threading.Event()
        self.dead = self.receiver(lambda *_: OK if self.alive.is_set() else status(500))
        self.sink("dead", self.dead.url)
        self.start()
        for i in range(3):
            self.block(i)
        # Five attempts, within 15 s at most.
        self.daemon.wait_metric("pprofwall_alert_circuit_open", 1, 30 * SLOW, sink="dead")
        self.assertEqual(self.total("dead", "retry"), 5)
        shown = self.status_of("dead")
        self.assertEqual((shown["circuit"], shown["queued"], shown["last_error"]),
                         ("open", 3, "HTTP 500"))
        self.assertIn("FAILING, tried about once a minute: HTTP 500",
                      self.daemon.ctl("status").stdout)

    def assert_back(self, timeout):
        self.daemon.wait_metric("pprofwall_alert_circuit_open", 0, timeout * SLOW, sink="dead")
        wait_until(lambda: self.status_of("dead")["queued"] == 0, 10 * SLOW, "all is delivered")
        told = [json.loads(request.body) for request in list(self.dead.requests.queue)][-3:]
        self.assertEqual([e["endpoint"] for e in told], [block_address(i) for i in range(3)])
        self.assertEqual((self.status_of("dead")["circuit"], self.status_of("dead")["last_error"]),
                         ("closed", None))

    def test_it_is_shown_until_it_answers_again(self):
        self.kill_sink()
        self.alive.set()
        self.assert_back(40)

    def test_a_test_brings_it_back_at_once(self):
        self.kill_sink()
        done = self.daemon.ctl("test-alert", "dead", check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("HTTP 500", done.stdout)
        self.alive.set()
        self.assertRegex(self.daemon.ctl("test-alert", "dead").stdout,
                         r"dead: delivered, HTTP 200 in \d+ ms")
        self.assert_back(5)


class Independence(FailureTest):
    COUNT = 20

    def start_hanging(self):
        """Seven that hang, each somewhere else; returns the eighth."""
        good = self.receiver(OK)
        answers = {"silent": self.hangs,
                   "head": drip(self.released, b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
                   "interim": drip(self.released, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
                   "busy": status(503, "Retry-After: 300")}
        for name, answer in answers.items():
            self.sink(name, self.receiver(answer).url, timeout="5m")
        tls = self.receiver(self.hangs)
        self.sink("tls", f"https://127.0.0.1:{tls.port}/", timeout="5m")
        self.sink("connect", f"http://127.0.0.1:{self.full()}/", timeout="5m")
        self.sink("dns", "http://mute.example/", timeout="5m")
        self.sink("good", good.url)
        self.start()
        return good

    def test_seven_that_hang_delay_neither_the_eighth_nor_a_block(self):
        good = self.start_hanging()
        for i in range(self.COUNT):
            with self.subTest(i):
                self.assertLess(self.block(i), 2 * SLOW)
                self.assertEqual(self.events(good, 1, timeout=2), [block_address(i)])
        self.assertEqual(self.total("good", "delivered"), self.COUNT)
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), self.COUNT)
        for sink in self.sinks[:-1]:
            self.assertEqual(self.total(sink["name"], "delivered"), 0)
        # Nor does a stop wait for them.
        began = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - began, 8 * SLOW)


class Together(FailureTest):
    COUNT = 100

    def test_a_hundred_blocks_at_once_are_one_message(self):
        hook, plain = self.receiver(OK), self.receiver(OK)
        self.sink("hook", hook.url, group_wait="5s")
        self.sink("plain", plain.url)
        self.start(firewall={"max_blocks_per_minute": 1000, "verify": False})
        endpoints = [block_address(i) for i in range(self.COUNT)]
        self.daemon.ctl("block", *endpoints, "--reason", "a test", timeout=60)
        group = json.loads(hook.requests.get(timeout=30 * SLOW).body)
        self.assertEqual([e["endpoint"] for e in group["events"]], endpoints)
        self.assertEqual(self.events(plain, self.COUNT), endpoints)
        # Each is counted, and over.
        for name in ("hook", "plain"):
            self.daemon.wait_metric("pprofwall_alerts_total", self.COUNT, 10 * SLOW, sink=name,
                                    result="delivered")
        wait_until(lambda: self.daemon.ctl_json("status")["alerts"]["queued"] == 0, 10 * SLOW,
                   "nothing is queued")
        self.assertEqual(hook.requests.qsize(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
