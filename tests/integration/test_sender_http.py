#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the sender does for each kind of HTTP receiver: signatures, headers, TLS of one's own, and
secrets that do not stand in the configuration."""
import errno
import hashlib
import hmac
import json
import os
import re
import tempfile
import time
import unittest

import sender_driver as driver
from certificates import Authority, openssl
from test_sender import OK, SenderTest, fail_first, status

KEY = f"key-{driver.SECRET}"


class HttpTest(SenderTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="pprofwall-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.chmod(self.folder, 0o755)

    def file(self, name, content, mode=0o400, uid=driver.UID):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        os.chown(path, uid, -1)
        return path

    def deliver(self, sender, seq=1, event=None):
        sender.send(seq, event)
        return [r for r in sender.results(until=seq) if r.outcome != "retry"]

    def assert_refused(self, alerts, wanted, sender=None):
        """Such a configuration is; `wanted`: "LINE:COLUMN: text" of the one line of error."""
        sender = sender or self.sender()
        error, text = sender.parent.check(driver.config(alerts).encode())
        self.assertEqual(error, -errno.EINVAL, text)
        self.assertIn(f"pprofwall.yaml:{wanted}", text)
        self.assertIn("expected", text)
        self.assertNotIn(driver.SECRET, text)
        self.assertNotIn("\n", text)


def header(request, name):
    found = re.findall(rf"(?im)^{name}: (.*?)\r?$", request.head)
    assert len(found) <= 1, found
    return found[0] if found else None


def is_genuine(request, key, now=None, window=300):
    """As docs/alerts.md tells receivers."""
    match = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", header(request, "X-Pprofwall-Signature"))
    wanted = hmac.new(key.encode(), match[1].encode() + b"." + request.body, hashlib.sha256)
    is_fresh = abs((time.time() if now is None else now) - int(match[1])) <= window
    return is_fresh and hmac.compare_digest(wanted.hexdigest(), match[2])


class Webhook(HttpTest):
    def test_is_signed_at_each_attempt(self):
        receiver = self.receiver(fail_first(1, status(503)))
        sender = self.sender([("ops", receiver.url, {"secret": KEY})])
        self.deliver(sender, event={"id": "x", "text": "gr\u00fc\u00dfe \"\\"})
        requests = [receiver.requests.get(timeout=5) for _ in range(2)]
        for request in requests:
            self.assertTrue(is_genuine(request, KEY))
            self.assertFalse(is_genuine(request, KEY + "x"))
            self.assertFalse(is_genuine(request._replace(body=request.body + b" "), KEY))
            self.assertFalse(is_genuine(request, KEY, now=time.time() + 301))

    def test_is_not_signed_without_a_secret(self):
        receiver = self.receiver()
        self.deliver(self.sender([("ops", receiver.url, {})]))
        self.assertIsNone(header(receiver.requests.get(timeout=5), "X-Pprofwall-Signature"))

    def test_headers_of_ones_own(self):
        receiver = self.receiver()
        lines = [f"Authorization: Bearer {driver.SECRET}", "X-Team:  infra, eu ",
                 "User-Agent: ours/1"]
        in_file = self.file("headers", "\r\n".join(lines) + "\r\n\n")
        sender = self.sender(credentials={"head": "\n".join(lines).encode()})
        sender.start([("a", receiver.url, {"headers": json.dumps(lines)}),
                      ("b", receiver.url, {"headers_file": in_file}),
                      ("c", receiver.url, {"headers_credential": "head"})])
        self.assertEqual({r.outcome for r in self.deliver(sender)}, {"delivered"})
        for _ in range(3):
            request = receiver.requests.get(timeout=5)
            self.assertEqual(header(request, "Authorization"), f"Bearer {driver.SECRET}")
            self.assertEqual(header(request, "X-Team").strip(), "infra, eu")
            self.assertEqual(header(request, "User-Agent"), "ours/1")
            self.assertEqual(header(request, "Content-Type"), "application/json")


class Secrets(HttpTest):
    def test_from_files_and_credentials(self):
        receiver = self.receiver()
        sender = self.sender(credentials={"where": f"{receiver.url}&c\n".encode(),
                                          "key": KEY.encode() + b"\n"})
        sender.start([("a", None, {"url_file": self.file("url", f"{receiver.url}&f\r\n"),
                                   "secret_file": self.file("key", KEY)}),
                      ("b", None, {"url_credential": "where", "secret_credential": "key"})])
        self.assertEqual({r.outcome for r in self.deliver(sender)}, {"delivered"})
        requests = [receiver.requests.get(timeout=5) for _ in range(2)]
        self.assertEqual({r.head.split()[1][-2:] for r in requests}, {"&f", "&c"})
        for request in requests:
            self.assertTrue(is_genuine(request, KEY))

    def test_a_file_is_read_again_at_a_reload(self):
        first, second = self.receiver(), self.receiver()
        path = self.file("url", first.url)
        sender = self.sender([("ops", None, {"url_file": path})])
        self.deliver(sender, 1)
        self.file("url", second.url)
        self.deliver(sender, 2)
        self.assertEqual((first.requests.qsize(), second.requests.qsize()), (2, 0))
        sender.configure([("ops", None, {"url_file": path})])
        self.deliver(sender, 3)
        self.assertEqual((first.requests.qsize(), second.requests.qsize()), (2, 1))

    def test_what_cannot_be_had_is_an_error_of_the_configuration(self):
        sender = self.sender(credentials={"bad": b"ftp://h/" + driver.SECRET.encode()})
        url = "http://127.0.0.1:1/"
        at = "4:15"
        for key, path, what in (
                ("url_file", "/nonexistent", f"{at}: alerts[].url_file: No such file"),
                ("url_file", self.folder + "/", None),
                ("url_file", os.path.join(self.folder, "d"), "is no regular file"),
                ("url_file", self.file("root", url, uid=0), "Permission denied"),
                ("url_file", self.file("empty", ""), "is empty"),
                ("url_file", self.file("line", "\n"), "nothing but a line's end"),
                ("url_file", self.file("long", "x" * 70000), "is too long"),
                ("url_file", self.file("longer", url + "x" * 2048), "more in it than"),
                ("url_file", self.file("two", f"{url}\n{driver.SECRET}\n"), "more than one line"),
                ("url_file", self.file("nul", f"{url}\0"), "more than one line"),
                ("url_file", self.file("scheme", f"{driver.SECRET}://x/"), "of another scheme"),
                ("url_credential", "where", "no such credential"),
                ("url_credential", "bad", "of another scheme")):
            os.makedirs(os.path.join(self.folder, "d"), exist_ok=True)
            with self.subTest(key=key, what=what):
                column = len(f"    {key}: ") + 1
                self.assert_refused([("ops", None, {key: path})], f"4:{column}: alerts[].", sender)
                if what:
                    error, text = sender.parent.check(
                        driver.config([("ops", None, {key: path})]).encode())
                    self.assertIn(what, text)
        for content, what in (("nonsense\n", "header 1 has no name"),
                              ("A: b\nHost: x\n", "header 2 names a header that the sender"),
                              ("\n\n", "no header in it"),
                              ("A: \x01\n", "header 1 has control characters"),
                              ("A: b\nC: d\nA: e\n", "header 3 is there twice")):
            self.assert_refused(
                [("ops", url, {"headers_file": self.file("headers", content)})],
                f"5:19: alerts[].headers_file: {what}", sender)

    def test_credentials_without_end_are_not_read(self):
        """64 of them, of 64 KiB; what is more is left out, and the service starts."""
        receiver = self.receiver()
        many = {f"c{i:03}": receiver.url.encode() for i in range(70)}
        sender = self.sender(credentials={"long": b"x" * 65537, **many})
        refused = 0
        for name in many:
            refused += sender.parent.check(driver.config(
                [("ops", None, {"url_credential": name})]).encode())[0] != 0
        self.assertEqual(refused, 6)
        self.assert_refused([("ops", None, {"url_credential": "long"})],
                            "4:21: alerts[].url_credential: no such credential", sender)


class Tls(HttpTest):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder)

    def serve(self, **kwargs):
        receiver = self.receiver(OK, tls=self.authority.server(**kwargs))
        return receiver, f"https://localhost:{receiver.port}/{driver.SECRET}"

    def client(self, authority=None):
        certificate, key = (authority or self.authority).issue("agent")
        os.chown(key, driver.UID, -1)
        return {"cert_file": certificate, "key_file": key}

    def test_a_private_authority(self):
        receiver, url = self.serve()
        more = {"give_up_after": "1s"}
        sender = self.sender([("private", url, {"ca_file": self.authority.certificate, **more}),
                              ("system", url, more)])
        results = {r.sink: r for r in self.deliver(sender)}
        self.assertEqual(results["private"].outcome, "delivered")
        self.assertEqual(results["system"].outcome, "gave-up")
        self.assertIn("certificate", results["system"].text)
        self.assertEqual(receiver.requests.qsize(), 1)

    def test_an_authority_that_changes(self):
        """Who certifies receivers is read again for each connection, without a reload."""
        receiver, url = self.serve()
        other = os.path.join(self.folder, "other")
        os.mkdir(other, 0o755)
        trusted = self.file("trusted", b"", 0o644)
        with open(Authority(other).certificate, "rb") as file:
            self.file("trusted", file.read(), 0o644)
        sender = self.sender([("ops", url, {"ca_file": trusted})])
        sender.send(1)
        self.await_retries(sender, {"ops"})
        with open(self.authority.certificate, "rb") as file:
            self.file("trusted", file.read(), 0o644)
        self.assertEqual(sender.results(until=1)[-1].outcome, "delivered")
        self.assertEqual(receiver.requests.qsize(), 1)

    def test_a_receiver_that_asks_who_we_are(self):
        receiver, url = self.serve(asks_client=True)
        more = {"ca_file": self.authority.certificate, "give_up_after": "1s"}
        stranger = os.path.join(self.folder, "stranger")
        os.mkdir(stranger, 0o755)
        sender = self.sender([("known", url, {**more, **self.client()}),
                              ("nobody", url, more),
                              ("stranger", url, {**more, **self.client(Authority(stranger))})])
        results = self.deliver(sender)
        self.assertEqual({r.sink: r.outcome for r in results},
                         {"known": "delivered", "nobody": "gave-up", "stranger": "gave-up"})
        for result in results:
            self.assertNotIn(self.folder, result.text)
        self.assertEqual(receiver.requests.qsize(), 1)

    def test_files_that_are_no_good(self):
        sender = self.sender()
        url = "https://127.0.0.1:1/"
        good = self.client()
        encrypted = os.path.join(self.folder, "encrypted")
        openssl("pkey", "-in", good["key_file"], "-aes128", "-passout", f"pass:{driver.SECRET}",
                "-out", encrypted)
        os.chmod(encrypted, 0o644)
        nonsense = self.file("nonsense", f"{driver.SECRET}\n")
        broken = self.file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                     "-----END CERTIFICATE-----\n")
        for more, what in (
                ({"ca_file": "/nonexistent"}, "5:14: alerts[].ca_file: No such file"),
                ({"ca_file": nonsense}, "5:14: alerts[].ca_file: no certificate in it"),
                ({"ca_file": broken}, "5:14: alerts[].ca_file: a certificate in it is broken"),
                ({"cert_file": nonsense, "key_file": good["key_file"]},
                 "5:16: alerts[].cert_file: no certificate in it"),
                ({**good, "key_file": nonsense}, "6:15: alerts[].key_file: no key in it"),
                ({**good, "key_file": encrypted},
                 "6:15: alerts[].key_file: the key in it is encrypted"),
                ({**good, "key_file": self.client()["key_file"]},
                 "6:15: alerts[].key_file: the key in it is not the certificate's"),
                ({**good, "key_file": self.file("root", "x", uid=0)},
                 "6:15: alerts[].key_file: Permission denied")):
            with self.subTest(what=what):
                self.assert_refused([("ops", url, more)], what, sender)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("test_sender_http.py needs root, to start the sender as the daemon's parent does")
        raise SystemExit(1)
    unittest.main(verbosity=2)
