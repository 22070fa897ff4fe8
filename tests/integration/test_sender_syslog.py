#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Syslog over all that it goes over, to receivers that look at every byte, and to rsyslog."""
import contextlib
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import sender_driver as driver
import test_sender
from lab import wait_until

SERVERS = os.environ.get("PW_SERVERS", "")
RSYSLOGD = os.path.join(SERVERS, "usr", "sbin", "rsyslogd")
LIBRARIES = os.path.join(SERVERS, "usr", "lib", "x86_64-linux-gnu")
EVENT = {
    "schema": 1, "id": "5f0c6a9b", "event": "opened", "time": "2026-11-22T21:00:04Z",
    "host": "web-3", "endpoint": "10.0.0.7:9100", "action": "drop", "reason": 'a "b" ]c',
    "text": "pprofwall: opened: 10.0.0.7:9100 (naïve)\nand more", "breaker": {"name": "default"},
    "finding": {"severity": "high", "verdict": "confirmed"},
}
WANTED = ('<26>1 2026-11-22T21:00:04Z web-3 pprofwalld - opened [pprofwall@32473 id="5f0c6a9b" '
          'event="opened" endpoint="10.0.0.7:9100" severity="high" verdict="confirmed" '
          'action="drop" rule="default" reason="a \\"b\\" \\]c"] '
          "\ufeffpprofwall: opened: 10.0.0.7:9100 (naïve) and more")


class Stream:
    """Takes octet-counted messages from any number of connections."""

    def __init__(self, tls=None, port=0):
        self.messages, self.errors = queue.Queue(), []
        self.tls = tls
        self.connections = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.connections.append(connection)
            reader = connection.makefile("rb")
            while True:
                count = b""
                while not count.endswith(b" "):
                    byte = reader.read(1)
                    if not byte:
                        return
                    count += byte
                self.messages.put(reader.read(int(count)).decode())
        except (OSError, ValueError) as err:
            self.errors.append(err)

    def hang_up(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()


def config(url, **more):
    return json.dumps({"alerts": [{"name": "log", "type": "syslog", "url": url, "timeout": "5s",
                                   **more}]}) + "\n"


class SyslogTest(test_sender.SenderTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="pprofwall-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)

    def path(self, name):
        return os.path.join(self.folder, name)

    def stream(self, *args, **kwargs):
        made = Stream(*args, **kwargs)
        self.addCleanup(made.close)
        return made

    def certificate(self):
        context, pem = driver.make_certificate(self.folder)
        with open(self.path("ca.pem"), "w", encoding="ascii") as file:
            file.write(pem)
        os.chmod(self.path("ca.pem"), 0o644)
        return context

    def deliver(self, sender, seq=1, event=None):
        sender.send(seq, event or EVENT)
        self.assert_results(sender.results(until=seq), ("log", "delivered", 0))

    def unix(self):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(self.path("log"))
        os.chmod(self.path("log"), 0o666)
        listener.settimeout(10)
        return listener


class Datagrams(SyslogTest):
    def test_a_unix_socket(self):
        listener = self.unix()
        self.deliver(self.sender(config("unix://" + self.path("log"))))
        self.assertEqual(listener.recv(65536).decode(), WANTED)

    def test_udp(self):
        for family, address, host in ((socket.AF_INET, "127.0.0.1", "127.0.0.1"),
                                      (socket.AF_INET, "127.0.0.1", "localhost"),
                                      (socket.AF_INET6, "::1", "[::1]")):
            with self.subTest(host), socket.socket(family, socket.SOCK_DGRAM) as listener:
                listener.bind((address, 0))
                listener.settimeout(10)
                url = f"udp://{host}:{listener.getsockname()[1]}"
                files = {"/etc/hosts": "127.0.0.1 localhost\n"}
                self.deliver(self.sender(config(url, facility="local7"), files=files))
                self.assertEqual(listener.recv(65536).decode(), WANTED.replace("<26>", "<186>"))

    def test_a_long_text_is_cut(self):
        listener = self.unix()
        self.deliver(self.sender(config("unix://" + self.path("log"), text="{text}é" * 400)))
        datagram = listener.recv(65536)
        self.assertIn(len(datagram), (2047, 2048))
        datagram.decode()

    def test_a_socket_that_is_not_there_yet(self):
        sender = self.sender(config("unix://" + self.path("log")))
        sender.send(1, EVENT)
        result = sender.read_result(sender.agent.receive())
        self.assertEqual((result.outcome, result.text), ("retry", "its socket: No such file or directory"))
        listener = self.unix()
        self.assertEqual(sender.results(until=1)[-1].outcome, "delivered")
        self.assertEqual(listener.recv(65536).decode(), WANTED)


class Streams(SyslogTest):
    def test_one_connection_for_all(self):
        receiver = self.stream()
        sender = self.sender(config(f"tcp://127.0.0.1:{receiver.port}"))
        for seq in range(1, 6):
            self.deliver(sender, seq)
            self.assertEqual(receiver.messages.get(timeout=10), WANTED)
        self.assertEqual(len(receiver.connections), 1)
        self.assertEqual(receiver.errors, [])

    def test_a_connection_outlives_the_time_of_an_attempt(self):
        receiver = self.stream()
        sender = self.sender(config(f"tcp://127.0.0.1:{receiver.port}", timeout="300ms"))
        self.deliver(sender)
        time.sleep(0.6)  # twice as long; nothing is to happen
        self.deliver(sender, 2)
        self.assertEqual([receiver.messages.get(timeout=10) for _ in range(2)], [WANTED] * 2)
        self.assertEqual(len(receiver.connections), 1)

    def test_a_receiver_that_talks(self):
        """It has nothing to say: it is not listened to for long, and what is sent goes on."""
        receiver = self.stream()
        sender = self.sender(config(f"tcp://127.0.0.1:{receiver.port}"))
        self.deliver(sender)
        receiver.messages.get(timeout=10)
        with contextlib.suppress(OSError):
            for _ in range(4096):
                receiver.connections[0].sendall(b"x" * 4096)
            self.fail("all of it was read")
        self.deliver(sender, 2)
        self.assertEqual(receiver.messages.get(timeout=10), WANTED)

    def test_tls(self):
        receiver = self.stream(self.certificate())
        sender = self.sender(config(f"tls://localhost:{receiver.port}", ca_file=self.path("ca.pem")))
        for seq in (1, 2):
            self.deliver(sender, seq)
            self.assertEqual(receiver.messages.get(timeout=10), WANTED)
        self.assertEqual(len(receiver.connections), 1)

    def test_tls_of_somebody_else(self):
        receiver = self.stream(self.certificate())
        for url in (f"tls://localhost:{receiver.port}", f"tls://127.0.0.1:{receiver.port}"):
            more = {"ca_file": self.path("ca.pem")} if "127" in url else {}
            sender = self.sender(config(url, **more))
            sender.send(1, EVENT)
            result = sender.read_result(sender.agent.receive())
            self.assertEqual(result.outcome, "retry")
            self.assertRegex(result.text, "certificate|peer")
        self.assertTrue(receiver.messages.empty())

    def test_a_receiver_that_was_started_again(self):
        for tls in (None, self.certificate()):
            with self.subTest(tls=bool(tls)):
                receiver = self.stream(tls)
                scheme, more = ("tls", {"ca_file": self.path("ca.pem")}) if tls else ("tcp", {})
                sender = self.sender(config(f"{scheme}://localhost:{receiver.port}", **more))
                self.deliver(sender)
                receiver.messages.get(timeout=10)
                receiver.hang_up()
                self.deliver(sender, 2)
                self.assertEqual(receiver.messages.get(timeout=10), WANTED)

    def test_a_receiver_that_does_not_read_is_left_in_time(self):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            other = self.receiver()
            sender = self.sender(
                f"alerts:\n- {{name: log, type: syslog, url: '{url}', timeout: 500ms, "
                f"give_up_after: 1s, text: '{'x' * 4000}'}}\n"
                f"- {{name: ops, type: webhook, url: '{other.url}'}}\n")
            seq, stuck = 0, False
            while not stuck and seq < 3000:
                seq += 1
                sender.send(seq, EVENT)
                results = sender.results(until=seq)
                self.assertIn(("ops", "delivered"), [(r.sink, r.outcome) for r in results])
                stuck = any("Timeout" in r.text for r in results)
            self.assertTrue(stuck)

    def test_a_new_url_is_a_new_connection(self):
        first, second = self.stream(), self.stream()
        sender = self.sender(config(f"tcp://127.0.0.1:{first.port}"))
        self.deliver(sender)
        sender.configure(config(f"tcp://127.0.0.1:{second.port}"))
        self.deliver(sender, 2)
        self.assertEqual(second.messages.get(timeout=10), WANTED)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        sender = self.sender(config(f"tcp://127.0.0.1:{port}"))
        sender.send(1, EVENT)
        result = sender.read_result(sender.agent.receive())
        self.assertEqual((result.outcome, result.text), ("retry", "Couldn't connect to server"))
        back = self.stream(port=port)
        self.assertEqual(sender.results(until=1)[-1].outcome, "delivered")
        self.assertEqual(back.messages.get(timeout=10), WANTED)


@unittest.skipUnless(os.path.exists(RSYSLOGD), "no rsyslogd in PW_SERVERS")
class Rsyslog(SyslogTest):
    """Debian's own, unpacked: what it understands of each."""

    FIELDS = ("pri", "hostname", "app-name", "procid", "msgid", "structured-data", "msg")

    def start(self, inputs, more=""):
        template = "|".join(f"%{name}%" for name in self.FIELDS)
        with open(self.path("rsyslog.conf"), "w", encoding="ascii") as file:
            file.write(f'{more}\n{inputs}\n'
                       f'template(name="all" type="string" string="{template}\\n")\n'
                       f'action(type="omfile" file="{self.path("out")}" template="all")\n')
        rsyslog = subprocess.Popen(
            [RSYSLOGD, "-n", "-f", self.path("rsyslog.conf"), "-i", self.path("pid"),
             "-M", os.path.join(LIBRARIES, "rsyslog")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": LIBRARIES})
        self.addCleanup(rsyslog.wait, 10)
        self.addCleanup(rsyslog.kill)

    def wait_message(self):
        def told():
            with contextlib.suppress(FileNotFoundError), \
                    open(self.path("out"), encoding="utf-8") as file:
                return next((line for line in file if "pprofwall@32473" in line), None)
        return wait_until(told, 20, "rsyslog has written it").rstrip("\n")

    def assert_understood(self, url, **more):
        sender = self.sender(config(url, **more))
        sender.send(1, EVENT)
        self.assertEqual(sender.results(until=1, timeout=30)[-1].outcome, "delivered")
        pri, host, app, process, kind, data, text = self.wait_message().split("|")
        self.assertEqual((pri, host, app, process, kind),
                         ("26", "web-3", "pprofwalld", "-", "opened"))
        self.assertEqual(data, re.search(r"\[pprofwall@.*\\\]c\"\]", WANTED)[0])
        self.assertEqual(text.strip("\ufeff "), "pprofwall: opened: 10.0.0.7:9100 (naïve) and more")

    def free_port(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            return free.getsockname()[1]

    def test_tcp(self):
        port = self.free_port()
        self.start(f'input(type="imtcp" port="{port}" address="127.0.0.1")',
                   'module(load="imtcp")')
        self.assert_understood(f"tcp://127.0.0.1:{port}")

    def test_tls(self):
        self.certificate()
        port = self.free_port()
        self.start(f'input(type="imtcp" port="{port}" address="127.0.0.1")',
                   f'global(defaultNetstreamDriver="ossl" '
                   f'defaultNetstreamDriverCAFile="{self.path("ca.pem")}" '
                   f'defaultNetstreamDriverCertFile="{self.path("certificate")}" '
                   f'defaultNetstreamDriverKeyFile="{self.path("key")}")\n'
                   'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" '
                   'streamDriver.authMode="anon")')
        self.assert_understood(f"tls://localhost:{port}", ca_file=self.path("ca.pem"))

    def test_a_unix_socket(self):
        self.start(f'input(type="imuxsock" socket="{self.path("log")}" useSpecialParser="off")',
                   'module(load="imuxsock" sysSock.use="off")')
        self.assert_understood("unix://" + self.path("log"))


if __name__ == "__main__":
    unittest.main()
