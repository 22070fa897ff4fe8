# SPDX-License-Identifier: GPL-2.0-or-later
"""By which name and by which way `pprofwall scan` asks: virtual hosts, zones, sources, proxies."""
import base64
import contextlib
import json
import os
import pathlib
import socket
import threading
import unittest

import lab
from test_scan import NOT_FOUND, ScanTest, body_of, certificate, findings, free_port, recorded, scan

EXPOSED = "go1.26-std"


class Names(ScanTest):
    def only_for(self, name):
        """A server that shows profiles to one virtual host alone."""
        show = recorded(EXPOSED)

        def handler(connection, path):
            host = self.server.requests[-1].split("Host: ")[1].split("\r\n")[0]
            if host.rpartition(":")[0] == name:
                show(connection, path)
            else:
                connection.sendall(NOT_FOUND)
        self.server = self.serve(handler)
        return self.server

    def test_host_header(self):
        server = self.only_for("inner.example")
        row, = findings("--all", server.endpoint, status=0)
        self.assertEqual((row["verdict"], row["host"]), ("clear", None))
        row, = findings("--host-header", "inner.example", server.endpoint, status=1)
        self.assertEqual((row["verdict"], row["host"]), ("confirmed", "inner.example"))
        for bad in ("10.0.0.1", "a.example:80", "a b", "", "http://a.example/"):
            self.assertIn("--host-header: ", scan("--host-header", bad, "127.0.0.1",
                                                  status=2).stderr)

    def test_resolve(self):
        server = self.only_for("inner.example")
        row, = findings("--resolve", f"inner.example:{server.port}:127.0.0.1",
                        f"inner.example:{server.port}", status=1)
        self.assertEqual((row["endpoint"], row["host"]), (server.endpoint, "inner.example"))
        row, = findings("--resolve", f"INNER.example:{server.port}:127.0.0.1", "--ports",
                        str(server.port), "inner.example", status=1)
        self.assertEqual(row["verdict"], "confirmed")
        for bad in ("inner.example", "inner.example:80", "inner.example:80:name",
                    "inner.example:0:127.0.0.1", "inner.example:80:127.0.0.1:1"):
            self.assertIn("--resolve: ", scan("--resolve", bad, "127.0.0.1", status=2).stderr)

    def test_server_name_follows_the_name(self):
        names = []
        context = certificate(self.folder.name)
        context.sni_callback = lambda sock, name, ctx: names.append(name)
        server = self.serve(recorded(EXPOSED), tls=context)
        url = f"https://127.0.0.1:{server.port}/debug/pprof/"
        findings("--host-header", "inner.example", url, status=1)
        self.assertEqual(set(names), {"inner.example"})
        names.clear()
        findings(url, status=1)
        self.assertEqual(set(names), {None})

    def test_international_names(self):
        ascii_name = "xn--bcher-kva.example"
        server = self.only_for(ascii_name)
        for written in ("b\u00fccher.example", "B\u00dcCHER.example", "bu\u0308cher.example",
                        "b\u00fccher\u3002example", ascii_name):
            with self.subTest(written):
                row, = findings("--resolve", f"{written}:{server.port}:127.0.0.1",
                                f"http://{written}:{server.port}/debug/pprof/", status=1)
                # A name in Unicode may look like another one: it is not shown.
                self.assertEqual((row["host"], row["verdict"]), (ascii_name, "confirmed"))
        for bad in ("\u2028.example", "\u0627a.example", "a.-\u00fc.example"):
            with self.subTest(bad):
                self.assertIn("name", scan(f"{bad}:80", status=2).stderr)


class Proxy:
    """An HTTP proxy that takes CONNECT, refuses it with a status (`only` that of one endpoint), or
    says nothing."""

    def __init__(self, refuse=None, only="", hang=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.refuse, self.only, self.hang, self.heads = refuse, only, hang, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096) or b"\r\n\r\n"
            self.heads.append(head.decode())
            while self.hang and client.recv(4096):
                pass
            if self.refuse and self.only in self.heads[-1]:
                client.sendall(f"HTTP/1.1 {self.refuse}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()

    @staticmethod
    def _copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


class Proxies(ScanTest):
    def proxy(self, **kwargs):
        proxy = Proxy(**kwargs)
        self.addCleanup(proxy.close)
        return proxy

    def test_through_a_proxy(self):
        server, proxy = self.serve(recorded(EXPOSED)), self.proxy()
        row, = findings("--proxy", f"http://127.0.0.1:{proxy.port}", server.endpoint, status=1)
        self.assertEqual((row["verdict"], row["endpoint"]), ("confirmed", server.endpoint))
        self.assertTrue(proxy.heads)
        for head in proxy.heads:
            self.assertTrue(head.startswith(f"CONNECT {server.endpoint} HTTP/1.1\r\n"), head)
        # The server sees nothing of the proxy.
        for request in server.requests:
            self.assertNotIn("Proxy-", request)

    def test_what_a_proxy_refuses_is_not_known(self):
        for refuse in ("502 Bad Gateway", "403 Forbidden", "407 Proxy Authentication Required",
                       "200"):
            with self.subTest(refuse):
                proxy = self.proxy(refuse=None if refuse == "200" else refuse)
                row, = findings("--all", "--proxy", f"127.0.0.1:{proxy.port}",
                                f"127.0.0.1:{free_port()}", status=3)
                self.assertEqual(row["verdict"], "error", row)
                self.assertIn("proxy", row["error"])
        # A proxy that is not there says nothing of the endpoint either.
        row, = findings("--all", "--proxy", f"127.0.0.1:{free_port()}", "127.0.0.1:1", status=3)
        self.assertEqual(row["verdict"], "error", row)

    def through(self, proxy, *arguments, status):
        done = scan("--timeout", "500ms", "--proxy", f"127.0.0.1:{proxy.port}", *arguments,
                    status=status)
        return [line for line in done.stderr.splitlines() if "the proxy" in line]

    def test_a_proxy_that_is_of_no_use_is_no_result(self):
        servers = [self.serve(recorded(EXPOSED)).endpoint for _ in range(2)]
        for how in (self.proxy(refuse="403 Forbidden"), self.proxy(refuse="502 Bad Gateway"),
                    self.proxy(hang=True)):
            line, = self.through(how, *servers, status=3)
            self.assertIn("the proxy has connected to none of the endpoints", line)
        # What it does not let us look at outweighs what was found.
        picky = self.proxy(refuse="403 Forbidden", only=servers[1])
        line, = self.through(picky, *servers, status=3)
        self.assertIn("the proxy failed or refused for 1 of 2 endpoints", line)
        # A port behind it that is closed is as good as seen.
        gateway = self.proxy(refuse="502 Bad Gateway", only=servers[1])
        self.assertEqual(self.through(gateway, *servers, status=1), [])

    def test_credentials_come_from_a_file(self):
        server, proxy = self.serve(recorded(EXPOSED)), self.proxy()
        file = pathlib.Path(self.folder.name, "proxy")
        file.write_text(f"http://me:p%40ss@127.0.0.1:{proxy.port}\n", encoding="utf-8")
        findings("--proxy", f"@{file}", server.endpoint, status=1)
        wanted = base64.b64encode(b"me:p@ss").decode()
        self.assertIn(f"Proxy-Authorization: Basic {wanted}\r\n", proxy.heads[0])
        done = scan("--proxy", "http://me:secret@127.0.0.1:1", "127.0.0.1", status=2)
        self.assertNotIn("secret", done.stderr)

    def test_none_from_the_environment(self):
        server, proxy = self.serve(recorded(EXPOSED)), self.proxy()
        env = dict(lab.environment(), http_proxy=f"http://127.0.0.1:{proxy.port}",
                   ALL_PROXY=f"http://127.0.0.1:{proxy.port}")
        done = lab.subprocess.run([lab.program("pprofwall"), "scan", server.endpoint], env=env,
                                  stdout=lab.subprocess.DEVNULL,
                                  stderr=lab.subprocess.DEVNULL, timeout=30, check=False)
        self.assertEqual((done.returncode, proxy.heads), (1, []))

    def test_usage(self):
        for bad in ("socks5://127.0.0.1:1", "http://", "http://127.0.0.1:99999",
                    "@/nonexistent"):
            self.assertIn("--proxy: ", scan("--proxy", bad, "127.0.0.1:1", status=2).stderr)
        file = pathlib.Path(self.folder.name, "long")
        for length, message in ((999, "expected http://HOST:PORT"), (1000, "longer than 999")):
            url = "http://127.0.0.1:1".ljust(length, "1")
            file.write_text(url, encoding="ascii")
            self.assertIn(message, scan("--proxy", f"@{file}", "127.0.0.1:1", status=2).stderr)
            file.write_text("http://127.0.0.1:1".ljust(length), encoding="ascii")
            self.assertEqual(scan("--proxy", f"@{file}", "127.0.0.1:1").returncode,
                             3 if length < 1000 else 2)


@unittest.skipUnless(os.geteuid() == 0, "network namespaces need root")
class Ways(unittest.TestCase):
    """From which address and interface, in namespaces."""

    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.seen = []
        with cls.lab.inside("target"):
            cls.listener = socket.create_server(("::", 6060), family=socket.AF_INET6,
                                                dualstack_ipv6=True)
        cls.addClassCleanup(cls.listener.close)
        threading.Thread(target=cls.serve, daemon=True).start()

    @classmethod
    def serve(cls):
        body = body_of(EXPOSED)
        page = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
                b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)) + body
        with contextlib.suppress(OSError):
            while True:
                connection, peer = cls.listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    asked = connection.recv(4096)
                    cls.seen.append(peer[0].replace("::ffff:", ""))
                    connection.sendall(page if b"GET /debug/pprof/ " in asked else NOT_FOUND)

    def scan(self, *arguments, status=1):
        self.seen.clear()
        done = self.lab.run("client", lab.program("pprofwall"), "scan", "--format", "ndjson",
                            "--timeout", "2s", "--all", *arguments, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def test_source_address(self):
        for source, target in ((lab.Lab.STRANGER, lab.Lab.TARGET), (lab.Lab.ALLOWED, lab.Lab.TARGET),
                               (lab.Lab.STRANGER6, f"[{lab.Lab.TARGET6}]")):
            with self.subTest(source):
                (row,), _ = self.scan("--source-address", source, f"{target}:6060")
                self.assertEqual(row["vantage"], source)
                self.assertEqual(set(self.seen), {source})
        # The other family cannot be asked from there, and is not asked from elsewhere.
        rows, error = self.scan("--source-address", lab.Lab.STRANGER6, f"[{lab.Lab.TARGET6}]:6060",
                                f"{lab.Lab.TARGET}:6060", status=2)
        self.assertEqual((rows, self.seen), ([], []))
        self.assertIn(f"--source-address: IPv6, from there '{lab.Lab.TARGET}:6060' cannot be asked",
                      error)
        file = pathlib.Path(self.lab.directory, "targets")
        file.write_text(f"{lab.Lab.TARGET}:6060\n", encoding="ascii")
        (row,), error = self.scan("--source-address", lab.Lab.STRANGER6, f"@{file}", status=3)
        self.assertEqual((row["verdict"], self.seen), ("error", []))
        self.assertIn("--source-address is of another family than all of the targets\n", error)
        _, error = self.scan("--source-address", lab.Lab.STRANGER6, "--proxy", "127.0.0.1:1",
                             f"{lab.Lab.TARGET}:6060", status=2)
        self.assertIn("--source-address: IPv6, and the proxy has an address of IPv4", error)
        _, error = self.scan("--source-address", "192.0.2.1", f"{lab.Lab.TARGET}:6060", status=2)
        self.assertIn("--source-address: ", error)

    def test_filtered_is_not_fixed(self):
        history = pathlib.Path(self.lab.directory, "history.db")
        endpoint = f"{lab.Lab.TARGET}:6060"
        self.scan("--history", history, endpoint)
        self.lab.nft("add table inet away")
        self.lab.nft("add chain inet away input { type filter hook input priority 0; }")
        self.lab.nft("add rule inet away input tcp dport 6060 drop")
        self.addCleanup(self.lab.nft, "delete table inet away", check=False)
        (row,), _ = self.scan("--history", history, "--timeout", "300ms", endpoint, status=0)
        self.assertEqual(row["verdict"], "filtered")
        done = lab.run(lab.program("pprofwall"), "diff", "--history", history, "--format",
                       "ndjson")
        self.assertEqual(json.loads(done.stdout)["state"], "filtered")

    def test_interface(self):
        (row,), _ = self.scan("--interface", "eth0", f"{lab.Lab.TARGET}:6060")
        self.assertIn(row["verdict"], ("confirmed", "likely"))
        (row,), _ = self.scan("--interface", "lo", f"{lab.Lab.TARGET}:6060", status=0)
        self.assertNotIn(row["verdict"], ("confirmed", "likely", "clear"))
        self.assertEqual(self.seen, [])
        _, error = self.scan("--interface", "nosuch0", f"{lab.Lab.TARGET}:6060", status=2)
        self.assertIn("--interface: nosuch0: ", error)

    def test_zone(self):
        def link_local(namespace):
            for line in self.lab.run(namespace, "ip", "-o", "-6", "address", "show", "dev", "eth0",
                                     "scope", "link").stdout.splitlines():
                if "tentative" not in line:
                    return line.split()[3].partition("/")[0]
            return None
        address = lab.wait_until(lambda: link_local("target"), 10, "a link-local address")
        lab.wait_until(lambda: link_local("client"), 10, "one on the other side")
        with self.lab.inside("client"):
            index = socket.if_nametoindex("eth0")
        for zone in ("eth0", index):
            (row,), _ = self.scan(f"[{address}%{zone}]:6060")
            self.assertIn(row["verdict"], ("confirmed", "likely"))
            self.assertEqual(row["endpoint"], f"[{address}%{index}]:6060")


if __name__ == "__main__":
    unittest.main(verbosity=2)
