# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of a TCP connection, byte by byte: a server whose answers a test writes, and a client."""
import contextlib
import queue
import re
import socket
import threading


class Ended(Exception):
    """The peer has sent all that it will."""


class Stream:
    """A connection that is read by lines and lengths."""

    def __init__(self, sock):
        self.sock = sock
        self._rest = b""

    def send(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Ended(self._rest)
        self._rest += data

    def read(self, length):
        while len(self._rest) < length:
            self._more()
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def read_until(self, end):
        while end not in self._rest:
            self._more()
        return self.read(self._rest.index(end) + len(end))

    def read_head(self):
        return self.read_until(b"\r\n\r\n")

    def read_chunks(self):
        """The content of a chunked body."""
        content = b""
        while size := int(self.read_until(b"\r\n").partition(b";")[0], 16):
            content += self.read(size)
            assert self.read(2) == b"\r\n"
        while self.read_until(b"\r\n") != b"\r\n":
            pass
        return content

    def read_message(self):
        """(head, content) of a request, or of an answer that has a length or chunks."""
        head = self.read_head()
        if re.search(rb"(?im)^transfer-encoding: *chunked\r$", head):
            return head, self.read_chunks()
        length = re.search(rb"(?im)^content-length: *(\d+)\r$", head)
        return head, self.read(int(length[1])) if length else b""

    def take_rest(self):
        """What has been received and not been read."""
        taken, self._rest = self._rest, b""
        return taken

    def read_rest(self):
        """Everything until the end."""
        with contextlib.suppress(Ended):
            while True:
                self._more()
        return self.take_rest()

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Server:
    """Listens in a namespace. Each connection is put into `connections`, or given to `serve`."""

    def __init__(self, place, port=9100, address=None, serve=None, namespace="target"):
        address = address or place.TARGET
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with place.inside(namespace):
            self._listener = socket.create_server((address, port), family=family, backlog=1024)
        self.connections = queue.Queue()
        self.accepted = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, peer = self._listener.accept()
                self.accepted += 1
                sock.settimeout(20)
                stream = Stream(sock)
                stream.peer = peer
                if self._serve:
                    threading.Thread(target=self._serve_one, args=(stream,), daemon=True).start()
                else:
                    self.connections.put(stream)

    def _serve_one(self, stream):
        with stream, contextlib.suppress(Ended, OSError):
            self._serve(stream)

    def accept(self, timeout=10):
        return self.connections.get(timeout=timeout)

    def close(self):
        with contextlib.suppress(OSError):  # a second time
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def echo(stream):
    """Answers each request with its head and its content, as the server has read them."""
    while True:
        head, content = stream.read_message()
        body = head + content
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
