# SPDX-License-Identifier: GPL-2.0-or-later
"""What test_sender.py stands on: a driver that plays parent and agent, and receivers."""
import collections
import contextlib
import json
import os
import queue
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

import frames
from frames import text_of

BUILD_DIR = os.environ["PW_BUILD_DIR"]
PROGRAM = os.path.join(BUILD_DIR, "libexec", "pprofwall", "pprofwall-sender")
SECRET = "s3cr3t-t0ken"
UID, GID = 61511, 61512

SEND_RESULT = struct.Struct("=Ii64s128sI")
NAME = struct.Struct("=256s")
ADDRESSES = struct.Struct("=iIIHH")
ENDPOINT = struct.Struct("=HHI16s")
SEND_EVENT, RESOLVE_NAME, SEND_RESULT_TYPE, SEND_DONE, RESOLVE_RESULT = 96, 97, 98, 99, 100
OUTCOMES = ("delivered", "retry", "gave-up")

Result = collections.namedtuple("Result", "seq outcome status sink text circuit_open")


class Sender:
    """The program, started as the parent does it."""

    def __init__(self, files=None, run=None, credentials=None):
        """`files`: {path under /etc: content, or None for no such file} that the process sees in
        place of the machine's own, which need not be there. `run`: a folder that it sees as
        /run. `credentials`: {name: content}, as systemd has them: only for root."""
        self.parent, self.agent = frames.Parent(), frames.Peer()
        self._folder = tempfile.TemporaryDirectory(prefix="pprofwall-test-")
        argv = [PROGRAM, "--uid", str(UID), "--gid", str(GID)]
        env = self._environment()
        if credentials is not None:
            env["CREDENTIALS_DIRECTORY"] = self._make_credentials(credentials)
        if files:
            argv = self._with_files(files, argv)
        if run:
            argv = ["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /run; shift; exec "$@"',
                    "sh", run, *argv]
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
            env=env, **frames.handed_over(self.parent, self.agent))
        self.pid = self._process.pid
        self.parent.theirs.close()
        self.agent.theirs.close()

    @staticmethod
    def _environment():
        # The proxy must be ignored: nothing listens there.
        env = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:1",
               "https_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        return env

    def _make_credentials(self, contents):
        folder = os.path.join(self._folder.name, "credentials")
        os.mkdir(folder, mode=0o700)
        for name, content in contents.items():
            with open(os.path.join(folder, name), "wb") as file:
                os.fchmod(file.fileno(), 0o400)
                file.write(content)
        return folder

    def _with_files(self, files, argv):
        etc = os.path.join(self._folder.name, "etc")
        shutil.copytree("/etc", etc, symlinks=True)
        os.chmod(self._folder.name, 0o755)
        for path, content in files.items():
            ours = os.path.join(etc, os.path.relpath(path, "/etc"))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(ours)
            if content is None:
                continue
            os.makedirs(os.path.dirname(ours), exist_ok=True)
            with open(ours, "w", encoding="ascii") as file:
                file.write(content)
            os.chmod(ours, 0o644)
        return ["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /etc; shift; exec "$@"',
                "sh", etc, *argv]

    # the parent's side

    def configure(self, alerts):
        for answer in (self.parent.check(config(alerts).encode()), self.parent.commit()):
            assert answer == (0, ""), answer

    def start(self, alerts):
        self.configure(alerts)
        self.parent.expect_ready()
        return self

    # the agent's side

    def send(self, seq, event=None, **envelope):
        """`envelope`: sinks, queued_ms, best_effort, test. Returns the event as it is POSTed."""
        if event is None:
            event = {"id": f"event-{seq}", "n": seq}
        self.agent.send(SEND_EVENT, compact({**envelope, "event": event}), seq=seq)
        return compact(event)

    def results(self, timeout=10, until=None):
        """Results up to the SEND_DONE of `until` (any seq if None), which must be the end."""
        found = []
        deadline = time.monotonic() + timeout
        while True:
            frame = self.agent.receive(max(deadline - time.monotonic(), 0.001))
            assert frame, "the sender closed its socket"
            if frame.type == SEND_DONE:
                if until is None or frame.seq == until:
                    return found
                continue
            found.append(self.read_result(frame))

    @staticmethod
    def read_result(frame):
        assert frame.type == SEND_RESULT_TYPE, frame
        outcome, status, sink, text, circuit_open = SEND_RESULT.unpack(frame.body)
        return Result(frame.seq, OUTCOMES[outcome], status, text_of(sink), text_of(text),
                      bool(circuit_open))

    def ask(self, seq, name):
        self.agent.send(RESOLVE_NAME, NAME.pack(name.encode()), seq=seq)

    def addresses(self, timeout=10):
        """The next answer: (seq, error, [address]); `holds` is how long, and what is lacking."""
        frame = self.agent.receive(timeout)
        assert frame.type == RESOLVE_RESULT, frame
        error, count, *self.holds, zero = ADDRESSES.unpack_from(frame.body)
        assert zero == 0
        found = []
        for i in range(count):
            family, port, _, raw = ENDPOINT.unpack_from(frame.body,
                                                          ADDRESSES.size + i * ENDPOINT.size)
            assert port == 0
            size = 4 if family == socket.AF_INET else 16
            found.append(socket.inet_ntop(family, raw[:size]))
        return frame.seq, error, found

    # the process

    def status(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file)

    def wait(self, timeout=10):
        return self._process.wait(timeout)

    def close(self):
        """Ends it; returns what it wrote to stderr."""
        self.parent.close()
        self.agent.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._folder.cleanup()
        with self._errors as errors:
            errors.seek(0)
            return errors.read().decode("utf-8", "replace")


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def config(alerts):
    """alerts: [(name, url or None, {key: value})], for webhooks unless it has a type, values as
    they stand in YAML; or the text itself"""
    if isinstance(alerts, str):
        return alerts
    lines = ["alerts:" if alerts else "alerts: []"]
    for name, url, more in alerts:
        keys = {"type": "webhook", **({} if url is None else {"url": url}), **more}
        lines += [f"  - name: {name}", *(f"    {key}: {value}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


Request = collections.namedtuple("Request", "time head body")


class Receiver:
    """A webhook receiver on loopback. `answer(number, connection)` says what comes back: bytes,
    or None after having written to the connection itself."""

    def __init__(self, answer=b"HTTP/1.1 204 No Content\r\n\r\n", port=0, tls=None):
        self.answer = answer
        self.requests = queue.Queue()
        self._tls = tls
        self._number = 0
        self._open = True
        self._lock = threading.Lock()
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._spawn(self._accept)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook?token={SECRET}"

    def _spawn(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                connection.close()
                return
            with self._lock:
                self._connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection):
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(30)
            while self._serve_one(connection):
                pass
        except OSError:
            pass  # the client went away, or TLS was refused
        finally:
            connection.close()

    def _serve_one(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?im)^content-length: (\d+)", head).group(1))
        while len(body) < length:
            body += connection.recv(65536)
        with self._lock:
            self._number += 1
            number = self._number
        self.requests.put(Request(time.monotonic(), head.decode(), body))
        answer = self.answer(number, connection) if callable(self.answer) else self.answer
        if answer is None:
            return False
        connection.sendall(answer)
        return True

    def close(self):
        self._open = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(5)


class NameServer:
    """Answers A and AAAA questions from a table, which may change meanwhile.

    A name that is mapped to None gets no answer, one in `failing` SERVFAIL, or, as (name, 28), for
    AAAA only. `ttls` has seconds where 60 is not meant, `asked` what was asked.
    """

    def __init__(self, table, port=0):
        self._table = table
        self.ttls, self.failing, self.asked = {}, set(), []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", port))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            query, client = self._sock.recvfrom(4096)
            if query == b"stop":
                return
            answer = self._answer(query)
            if answer:
                self._sock.sendto(answer, client)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        kind, = struct.unpack_from(">H", query, at + 1)
        question = query[12:at + 5]
        name = ".".join(labels)
        if name in self._table and self._table[name] is None:
            return None
        records = []
        for text in self._table.get(name, ()):
            family = socket.AF_INET6 if ":" in text else socket.AF_INET
            if kind == (28 if family == socket.AF_INET6 else 1):
                records.append(socket.inet_pton(family, text))
        self.asked.append((name, kind))
        code = 0 if name in self._table else 3
        if name in self.failing or (name, kind) in self.failing:
            code, records = 2, []
        ttl = self.ttls.get(name, 60)
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        return head + question + b"".join(
            struct.pack(">HHHIH", 0xc00c, kind, 1, ttl, len(raw)) + raw for raw in records)

    def close(self):
        self._sock.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._sock.close()


def make_certificate(folder):
    """A self-signed certificate for localhost: (server's TLS context, PEM)."""
    key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with open(certificate, encoding="ascii") as file:
        return context, file.read()
