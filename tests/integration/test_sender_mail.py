#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails: what the sender says to a server line by line, and what Exim makes of it."""
import base64
import contextlib
import email
import email.policy
import json
import os
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
EXIM = os.path.join(SERVERS, "usr", "sbin", "exim4")
EXIM_UID = 64110
PASSWORD = driver.SECRET
EVENT = {
    "schema": 1, "id": "5f0c6a9b", "event": "opened", "time": "2026-11-22T21:00:04Z",
    "host": "web-3", "endpoint": "10.0.0.7:9100", "mode": "enforce", "action": "drop",
    "reason": None, "text": "pprofwall: opened: 10.0.0.7:9100 (naïve <b>), \r\n.\r\nRCPT TO:<x@y>",
    "breaker": {"name": "default", "state": "open"},
    "finding": {"severity": "high", "verdict": "confirmed"},
}


class Server:
    """Speaks SMTP, and keeps what it heard. `replies`: {verb: reply or callable(connection)},
    "." for the end of a mail; `tls`: a context, for STARTTLS, or from the start (`wrapped`)."""

    def __init__(self, replies=None, tls=None, wrapped=False):
        self.replies = replies or {}
        self.tls, self.wrapped = tls, wrapped
        self.lines, self.mails, self.quits = [], [], threading.Event()
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self._converse(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _say(self, connection, verb, usual):
        reply = self.replies.get(verb, usual)
        if callable(reply):
            reply = reply(connection)
        if reply is not None:
            connection.sendall(reply.encode() + b"\r\n")
        return reply or ""

    def _converse(self, connection):
        secure = self.wrapped
        if secure:
            connection = self.tls.wrap_socket(connection, server_side=True)
        self._say(connection, "greeting", "220 mail.test ESMTP")
        reader = connection.makefile("rb")
        while raw := reader.readline():
            line = raw.decode("latin-1").rstrip("\r\n")
            self.lines.append(line)
            verb = line.partition(" ")[0].upper()
            if verb == "EHLO":
                more = ["250-STARTTLS"] if self.tls and not secure else []
                more += ["250-AUTH PLAIN"] if secure else []
                self._say(connection, verb, "\r\n".join(["250-mail.test", *more, "250 8BITMIME"]))
            elif verb == "STARTTLS":
                self._say(connection, verb, "220 go")
                connection = self.tls.wrap_socket(connection, server_side=True)
                reader = connection.makefile("rb")
                secure = True
            elif not self._answer(connection, reader, verb):
                break
        connection.close()

    def _answer(self, connection, reader, verb):
        if verb == "DATA":
            if not self._say(connection, verb, "354 go").startswith("354"):
                return True
            body = b""
            while not body.endswith(b"\r\n.\r\n"):
                body += reader.readline()
            self.mails.append(body[:-3].replace(b"\r\n..", b"\r\n."))
            self._say(connection, ".", "250 queued")
        elif verb == "AUTH":
            if len(self.lines[-1].split()) == 2:
                connection.sendall(b"334 \r\n")
                self.lines[-1] += " " + reader.readline().decode("ascii").strip()
            self._say(connection, verb, "235 ok")
        elif verb == "QUIT":
            self.quits.set()
            self._say(connection, verb, "221 bye")
            return False
        else:
            self._say(connection, verb, "250 ok")
        return True


def config(port, scheme="smtp", starttls="off", host="127.0.0.1", **more):
    sink = {"name": "mail", "type": "smtp", "url": f"{scheme}://{host}:{port}", "group_wait": "off",
            "from": "pprofwall@web-3.test", "to": ["ops@test", "sec@test"], "starttls": starttls,
            "timeout": "10s", **more}
    return json.dumps({"alerts": [sink]}, ensure_ascii=False) + "\n"


class MailTest(test_sender.SenderTest):
    def server(self, *args, **kwargs):
        made = Server(*args, **kwargs)
        self.addCleanup(made.close)
        return made

    def result(self, configuration, event=None, **kwargs):
        """Of the first attempt."""
        sender = self.sender(configuration, **kwargs)
        sender.send(1, event or EVENT)
        result = sender.read_result(sender.agent.receive())
        self.assertNotIn(PASSWORD, result.text)
        return result

    def certificate(self):
        folder = tempfile.mkdtemp(prefix="pprofwall-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        context, pem = driver.make_certificate(folder)
        path = os.path.join(folder, "ca.pem")
        with open(path, "w", encoding="ascii") as file:
            file.write(pem)
        os.chmod(path, 0o644)
        return context, path


class Protocol(MailTest):
    def test_what_is_said(self):
        server = self.server()
        result = self.result(config(server.port))
        self.assertEqual((result.outcome, result.status), ("delivered", 0))
        self.assertTrue(server.quits.wait(10))
        self.assertRegex(server.lines[0], r"^EHLO \S+$")
        self.assertEqual([line.partition(" SIZE=")[0] for line in server.lines[1:]],
                         ["MAIL FROM:<pprofwall@web-3.test>", "RCPT TO:<ops@test>",
                          "RCPT TO:<sec@test>", "DATA", "QUIT"])

    def test_the_mail(self):
        server = self.server()
        self.result(config(server.port))
        raw = server.mails[0]
        self.assertLess(max(map(len, raw.split(b"\r\n"))), 999)
        self.assertNotIn(b"\n", raw.replace(b"\r\n", b""))
        self.assertTrue(raw.isascii())
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(mail.defects, [])
        self.assertEqual(mail["From"], "pprofwall <pprofwall@web-3.test>")
        self.assertEqual(mail["To"], "ops@test, sec@test")
        self.assertIn("10.0.0.7:9100", mail["Subject"])
        self.assertEqual(mail["Message-ID"], "<5f0c6a9b@web-3.pprofwall>")
        self.assertEqual(mail["References"], "<endpoint.10.0.0.7-9100@web-3.pprofwall>")
        self.assertEqual(mail["X-Pprofwall-Event-Id"], "5f0c6a9b")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertLess(abs(mail["Date"].datetime.timestamp() - time.time()), 3600)
        self.assertEqual(mail["MIME-Version"], "1.0")
        self.assertEqual(mail.get_content_type(), "multipart/alternative")
        plain, html = mail.iter_parts()
        self.assertEqual([p.get_content_type() for p in (plain, html)],
                         ["text/plain", "text/html"])
        self.assertIn("(naïve <b>),", plain.get_content())
        self.assertIn("RCPT TO:<x@y>", plain.get_content())
        self.assertIn("(naïve &lt;b&gt;),", html.get_content())
        self.assertNotIn("<b>", html.get_content())
        # And nothing that the event says became a part of the conversation.
        self.assertEqual(len([line for line in server.lines if line.startswith("RCPT")]), 2)

    def test_a_subject_of_other_characters(self):
        server = self.server()
        self.result(config(server.port, subject="Größe " + "żółć🦀 " * 12 + "{reason|=?x?=} {who}"),
                    {**EVENT, "who": "a\r\nBcc: evil@test"})
        mail = email.message_from_bytes(server.mails[0], policy=email.policy.default)
        self.assertEqual(mail["Subject"], "Größe " + "żółć🦀 " * 12 + "=?x?= a  Bcc: evil@test")
        self.assertIsNone(mail["Bcc"])
        head = server.mails[0].partition(b"\r\n\r\n")[0]
        subject = re.search(rb"(?m)^Subject:.*\r\n(?: .*\r\n)*", head)[0]
        self.assertLessEqual(max(map(len, subject.split(b"\r\n"))), 76)

    def test_hostile_ids_and_hosts_stay_within_their_header(self):
        server = self.server()
        self.result(config(server.port), {**EVENT, "id": "x>\r\nBcc: e@f", "host": "a..b\r\n<c>@\u20ac",
                                          "endpoint": "[::1]:6060"})
        mail = email.message_from_bytes(server.mails[0], policy=email.policy.default)
        self.assertEqual(mail["Message-ID"], "<unknown@a.b-c.pprofwall>")
        self.assertEqual(mail["References"], "<endpoint.1-6060@a.b-c.pprofwall>")
        self.assertIsNone(mail["X-Pprofwall-Event-Id"])
        self.assertIsNone(mail["Bcc"])

    def test_several_events_are_one_mail(self):
        server = self.server()
        sender = self.sender(config(server.port, group_wait="1s"))
        for seq in range(1, 4):
            sender.send(seq, {**EVENT, "id": f"id-{seq}", "endpoint": f"10.0.0.{seq}:1"})
        for seq in range(1, 4):
            self.assertEqual(sender.results(until=seq)[-1].outcome, "delivered")
        self.assertEqual(len(server.mails), 1)
        mail = email.message_from_bytes(server.mails[0], policy=email.policy.default)
        self.assertEqual(mail["Message-ID"], "<id-1.3@web-3.pprofwall>")
        self.assertIsNone(mail["References"])
        self.assertIn("3 events", mail.get_body(("plain",)).get_content())


class Failures(MailTest):
    def test_what_the_server_says_decides(self):
        for replies, outcome, status in (
                ({"RCPT": "451 later"}, "retry", 451), ({"RCPT": "550 no"}, "gave-up", 550),
                ({"MAIL": "452 full"}, "retry", 452), ({"MAIL": "553 no"}, "gave-up", 553),
                ({"DATA": "554 no"}, "gave-up", 554), ({".": "451 later"}, "retry", 451),
                ({".": "554 spam"}, "gave-up", 554), ({"greeting": "421 busy"}, "retry", 421),
                ({"greeting": "554 go away"}, "gave-up", 554),
                ({"EHLO": "550 no", "HELO": "550 no"}, "gave-up", 550)):
            with self.subTest(replies):
                result = self.result(config(self.server(replies).port))
                self.assertEqual((result.outcome, result.status, result.text),
                                 (outcome, 0, f"SMTP {status}"))

    def test_a_server_that_knows_only_helo(self):
        server = self.server({"EHLO": "502 what?"})
        for _ in range(10):  # it once depended on how soon the answer to HELO came
            self.assertEqual(self.result(config(server.port)).outcome, "delivered")
        self.assertEqual(len(server.mails), 10)

    def test_a_server_that_hangs_is_left_in_time(self):
        for verb in ("greeting", "EHLO", "MAIL", "."):
            with self.subTest(verb):
                server = self.server({verb: lambda _: self.released.wait(60) and None})
                began = time.monotonic()
                result = self.result(config(server.port, timeout="700ms"))
                self.assertEqual((result.outcome, result.status), ("retry", 0))
                self.assertIn("Timeout", result.text)
                self.assertLess(time.monotonic() - began, 5)

    def test_who_does_not_say_goodbye_holds_nobody_up(self):
        """libcurl would wait for the answer to QUIT, and the whole sender with it."""
        for last in ("250 queued", "451 later", "554 no"):
            with self.subTest(last):
                server = self.server({".": last, "QUIT": lambda _: self.released.wait(60) and None})
                sender = self.sender(config(server.port))
                sender.send(1, EVENT)
                sender.agent.receive()
                self.assertTrue(server.quits.wait(10), "QUIT is said all the same")
                began = time.monotonic()
                sender.agent.send(test_sender.frames.PING, seq=5)
                while sender.agent.receive().seq != 5:
                    pass
                self.assertLess(time.monotonic() - began, 0.5)

    def test_nonsense_holds_the_sender_up_for_a_second_at_most(self):
        """Replies that end the conversation without saying no: QUIT, and then nothing."""
        def hang(_):
            self.released.wait(60)
        for replies in ({"MAIL": "299 what"}, {"DATA": "250 ok"}, {"RCPT": "300 hm"}):
            with self.subTest(replies):
                server = self.server({**replies, "QUIT": hang})
                began = time.monotonic()
                result = self.result(config(server.port, give_up_after="1s"))
                self.assertIn(result.outcome, ("retry", "gave-up", "delivered"))
                self.assertLess(time.monotonic() - began, 5)

    def test_a_server_that_floods(self):
        def flood(connection):
            for _ in range(2000):
                connection.sendall(b"250-" + b"x" * 500 + b"\r\n")
            return "250 ok"
        result = self.result(config(self.server({"EHLO": flood}).port))
        self.assertEqual((result.outcome, result.status), ("retry", 0))

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        result = self.result(config(port))
        self.assertEqual((result.outcome, result.text), ("retry", "Couldn't connect to server"))


class Tls(MailTest):
    def test_starttls_and_a_password(self):
        context, ca = self.certificate()
        server = self.server(tls=context)
        result = self.result(config(server.port, host="localhost", starttls="require", ca_file=ca,
                                    user="alice", secret=PASSWORD))
        self.assertEqual((result.outcome, result.status), ("delivered", 0))
        login = base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode()
        said = "\n".join(server.lines)
        self.assertIn(f"AUTH PLAIN {login}", said)
        self.assertLess(said.index("STARTTLS"), said.index("AUTH"))

    def test_a_password_from_a_file(self):
        context, ca = self.certificate()
        server = self.server(tls=context)
        path = os.path.join(os.path.dirname(ca), "password")
        with open(path, "w", encoding="ascii") as file:
            file.write(PASSWORD + "\n")
        os.chown(path, driver.UID, driver.GID)
        os.chmod(path, 0o400)
        result = self.result(config(server.port, host="localhost", starttls="require", ca_file=ca,
                                    user="alice", secret_file=path))
        self.assertEqual((result.outcome, result.status), ("delivered", 0))
        login = base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode()
        self.assertIn(f"AUTH PLAIN {login}", server.lines)

    def test_tls_from_the_start(self):
        context, ca = self.certificate()
        server = self.server(tls=context, wrapped=True)
        result = self.result(config(server.port, scheme="smtps", host="localhost",
                                    starttls="require", ca_file=ca))
        self.assertEqual((result.outcome, result.status), ("delivered", 0))

    def test_a_wrong_password(self):
        context, ca = self.certificate()
        server = self.server({"AUTH": "535 no"}, tls=context)
        result = self.result(config(server.port, host="localhost", starttls="require", ca_file=ca,
                                    user="alice", secret=PASSWORD))
        self.assertEqual((result.outcome, result.status, result.text),
                         ("gave-up", 0, "SMTP 535: user or secret is wrong"))

    def test_nothing_is_said_without_tls(self):
        """Neither where the server does not offer it, nor where its certificate is another's."""
        server = self.server()
        result = self.result(config(server.port, starttls="require"))
        self.assertEqual((result.outcome, result.status), ("retry", 0))
        self.assertEqual([line for line in server.lines if not line.startswith(("EHLO", "QUIT"))],
                         [])
        context, _ = self.certificate()
        for scheme in ("smtp", "smtps"):
            server = self.server(tls=context, wrapped=scheme == "smtps")
            result = self.result(config(server.port, scheme=scheme, host="localhost",
                                        starttls="require"))
            self.assertEqual((result.outcome, result.status), ("retry", 0))
            self.assertIn("certificate", result.text)
            self.assertFalse([line for line in server.lines if "MAIL" in line or "AUTH" in line])


@unittest.skipUnless(os.path.exists(EXIM), "no exim4 in PW_SERVERS")
class Exim(MailTest):
    """Debian's own mail server, unpacked: in namespaces of its own for users, not for the network,
    since the sender is on this side."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="pprofwall-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        os.mkdir(self.path("spool"))
        context, self.ca = self.certificate()
        del context
        for name in ("key", "certificate"):
            shutil.copy(os.path.join(os.path.dirname(self.ca), name), self.folder)
        for name, line in (("passwd", "Debian-exim:x:{0}:{0}::/nonexistent:/bin/false"),
                           ("group", "Debian-exim:x:{0}:")):
            with open(f"/etc/{name}", encoding="utf-8") as file:
                users = [entry for entry in file.read().splitlines()
                         if not entry.startswith("Debian-exim:")]
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write("\n".join([*users, line.format(EXIM_UID)]) + "\n")
        for name in ("", "spool", "key"):
            os.chown(self.path(name), EXIM_UID, EXIM_UID)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(self.configuration())
        self.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def configuration(self):
        return f"""exim_user = {EXIM_UID}
exim_group = {EXIM_UID}
keep_environment =
spool_directory = {self.path("spool")}
log_file_path = {self.path("log-%slog")}
pid_file_path = {self.path("pid")}
primary_hostname = mail.test
queue_only = true
daemon_smtp_ports = {self.port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = {self.path("certificate")}
tls_privatekey = {self.path("key")}
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = check_rcpt
begin acl
check_rcpt:
  deny !authenticated = *
  accept domains = test
  deny
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{alice}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""

    def start(self):
        libraries = os.path.join(SERVERS, "usr/lib/x86_64-linux-gnu")
        exim = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec",
             'mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/group" /etc/group\n'
             'exec "$2" -C "$1/conf" -bdf', "sh", self.folder, EXIM],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries})
        self.addCleanup(exim.wait, 10)
        self.addCleanup(exim.kill)

        def answers():
            with socket.create_connection(("127.0.0.1", self.port), 5):
                return True

        def listening():
            try:
                return answers()
            except OSError:
                return False
        wait_until(listening, 20, "exim listens")

    def log(self):
        found = ""
        for name in ("log-mainlog", "log-rejectlog", "log-paniclog"):
            if os.path.exists(self.path(name)):
                with open(self.path(name), encoding="utf-8") as file:
                    found += file.read()
        return found

    def queued(self):
        """The mails that it has taken on, as a receiver would get them."""
        mails = []
        for name in {name[:-2] for name in os.listdir(self.path("spool/input"))}:
            head = self.spooled(name + "-H").split(b"\n\n", 1)[1]
            body = self.spooled(name + "-D").split(b"\n", 1)[1]
            # Each header has its length and a letter before it.
            mails.append(re.sub(rb"(?m)^\d{3}[ A-Z] ", b"", head) + b"\n" + body)
        return mails

    def spooled(self, name):
        with open(self.path(os.path.join("spool/input", name)), "rb") as file:
            return file.read()

    def mail_config(self, secret):
        return config(self.port, host="localhost", starttls="require", ca_file=self.ca,
                      user="alice", secret=secret)

    def test_a_mail_arrives(self):
        result = self.result(self.mail_config(PASSWORD))
        self.assertEqual((result.outcome, result.status), ("delivered", 0), self.log())
        queued = self.queued()
        self.assertEqual(len(queued), 1, self.log())
        mail = email.message_from_bytes(queued[0], policy=email.policy.default)
        self.assertEqual(mail["Message-ID"], "<5f0c6a9b@web-3.pprofwall>")
        self.assertIn("naïve <b>", mail.get_body(("plain",)).get_content())
        self.assertIn("naïve &lt;b&gt;", mail.get_body(("html",)).get_content())
        self.assertIn(" P=esmtpsa ", self.log())
        self.assertNotIn("lost connection", self.log())
        self.assertNotIn("unexpected disconnection", self.log())

    def test_a_wrong_password_is_refused(self):
        result = self.result(self.mail_config("another"))
        self.assertEqual((result.outcome, result.status), ("gave-up", 0), self.log())


if __name__ == "__main__":
    unittest.main()
