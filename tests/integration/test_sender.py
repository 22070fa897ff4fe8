#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""pprofwall-sender against receivers that behave, fail, hang, lie and move."""
import errno
import os
import socket
import tempfile
import threading
import time
import unittest

import frames
import sender_driver as driver
from sender_driver import NameServer, Receiver, Sender

IS_SANITIZED = os.environ.get("PW_SANITIZED", "") not in ("", "0")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def status(code, *headers):
    lines = [f"HTTP/1.1 {code} X", "Content-Length: 0", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def fail_first(count, answer):
    """`answer` for so many requests, then OK."""
    return lambda number, _: answer if number <= count else OK


class SenderTest(unittest.TestCase):
    def setUp(self):
        # So that the descriptors 3 and 4 of the child are not in use between fork and exec.
        self._low = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(16)]
        self.addCleanup(lambda: [os.close(fd) for fd in self._low])
        self.released = threading.Event()

    def receiver(self, *args, **kwargs):
        made = Receiver(*args, **kwargs)
        self.addCleanup(made.close)
        self.addCleanup(self.released.set)  # runs before the close
        return made

    def hanging(self):
        return self.receiver(lambda *_: self.released.wait(60) and None)

    def sender(self, alerts=None, **kwargs):
        made = Sender(**kwargs)
        self.addCleanup(self.finish, made)
        return made if alerts is None else made.start(alerts)

    def finish(self, sender):
        self.check_errors(sender.close())

    def check_errors(self, errors):
        """What it wrote to its log."""
        self.assertNotIn(driver.SECRET, errors)
        self.assertNotIn("http://", errors)
        self.assertNotIn("Sanitizer", errors)
        self.assertNotIn("runtime error", errors)

    def assert_results(self, results, *wanted):
        self.assertEqual([(r.sink, r.outcome, r.status) for r in results], list(wanted), results)
        for r in results:
            self.assertNotIn(driver.SECRET, r.text)
            self.assertNotIn("127.0.0.1", r.text)

    def await_retries(self, sender, names):
        """Until each of these sinks has failed once."""
        missing = set(names)
        while missing:
            result = sender.read_result(sender.agent.receive())
            self.assertEqual(result.outcome, "retry")
            missing.discard(result.sink)


class Delivery(SenderTest):
    def test_delivers_in_order_and_as_it_came(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {})])
        bodies = [sender.send(seq) for seq in (7, 8, 9)]
        for seq, body in zip((7, 8, 9), bodies):
            self.assert_results(sender.results(until=seq), ("ops", "delivered", 200))
            request = receiver.requests.get(timeout=5)
            self.assertEqual(request.body, body)
            head = request.head.lower()
            self.assertTrue(head.startswith(f"post /hook?token={driver.SECRET} http/1.1"))
            self.assertIn("content-type: application/json", head)
            self.assertIn("user-agent: pprofwall-sender/", head)
            self.assertIn(f"x-pprofwall-event-id: event-{seq}", head)

    def test_an_id_that_cannot_be_a_header_is_left_out(self):
        receiver = self.receiver()
        sender = self.sender([("ops", receiver.url, {})])
        for seq, bad in enumerate(("a b", "x\r\nEvil: 1", "", "é", "y" * 129, 5), 1):
            sender.send(seq, {"id": bad})
            sender.results(until=seq)
            head = receiver.requests.get(timeout=5).head.lower()
            self.assertNotIn("event-id", head)
            self.assertNotIn("evil", head)

    def test_what_is_no_object_is_dropped(self):
        receiver = self.receiver()
        sender = self.sender([("ops", receiver.url, {})])
        sender.agent.send(driver.SEND_EVENT, b"[1,2]", seq=1)
        self.assertEqual(sender.results(until=1), [])
        sender.agent.send(driver.SEND_EVENT, b"{broken", seq=2)
        self.assertEqual(sender.results(until=2), [])
        sender.send(3)
        sender.results(until=3)
        self.assertIn(b"event-3", receiver.requests.get(timeout=5).body)

    def test_without_sinks_an_event_is_done(self):
        sender = self.sender([])
        sender.send(1)
        self.assertEqual(sender.results(until=1), [])

    def test_an_event_waits_for_the_configuration(self):
        receiver = self.receiver()
        sender = self.sender()
        sender.send(1)
        sender.start([("ops", receiver.url, {})])
        self.assert_results(sender.results(until=1), ("ops", "delivered", 204))

    def test_ping(self):
        sender = self.sender([])
        for peer in (sender.parent, sender.agent):
            peer.send(frames.PING, seq=77)
            self.assertEqual(peer.receive(), (frames.PONG, 77, b""))


class Failures(SenderTest):
    def test_retries_and_keeps_the_order(self):
        receiver = self.receiver(fail_first(2, status(500)))
        sender = self.sender([("ops", receiver.url, {})])
        sender.send(1)
        sender.send(2)
        self.assert_results(sender.results(until=1), ("ops", "retry", 500), ("ops", "retry", 500),
                            ("ops", "delivered", 200))
        self.assert_results(sender.results(until=2), ("ops", "delivered", 200))
        order = [receiver.requests.get(timeout=5).body for _ in range(4)]
        self.assertEqual([b"event-1" in body for body in order], [True, True, True, False])

    def test_a_sink_that_hangs_delays_no_other(self):
        hanging, good = self.hanging(), self.receiver()
        sender = self.sender([("bad", hanging.url, {"timeout": "400ms", "give_up_after": "1s"}),
                              ("good", good.url, {})])
        began = time.monotonic()
        sender.send(1)
        good.requests.get(timeout=5)
        self.assertLess(time.monotonic() - began, 0.4)
        results = sender.results(until=1)
        self.assertEqual([r.outcome for r in results if r.sink == "good"], ["delivered"])
        last = results[-1]
        self.assertEqual((last.sink, last.outcome, last.status), ("bad", "gave-up", 0))
        self.assertIn("Timeout", last.text)
        self.assertLess(time.monotonic() - began, 3)

    def test_retry_after_is_honoured(self):
        receiver = self.receiver(fail_first(1, status(429, "Retry-After: 2")))
        sender = self.sender([("ops", receiver.url, {})])
        sender.send(1)
        self.assert_results(sender.results(until=1), ("ops", "retry", 429),
                            ("ops", "delivered", 200))
        first, second = (receiver.requests.get(timeout=5).time for _ in range(2))
        self.assertGreaterEqual(second - first, 1.9)

    def test_retry_after_beyond_the_end_gives_up(self):
        receiver = self.receiver(status(503, "Retry-After: 90000000000"))
        sender = self.sender([("ops", receiver.url, {"give_up_after": "60s"})])
        sender.send(1)
        self.assert_results(sender.results(until=1), ("ops", "gave-up", 503))

    def test_redirects_and_refusals_are_final(self):
        elsewhere = self.receiver()
        for code in (301, 302, 307, 400, 401, 404, 410):
            receiver = self.receiver(status(code, f"Location: {elsewhere.url}"))
            sender = self.sender([("ops", receiver.url, {})])
            sender.send(1)
            self.assert_results(sender.results(until=1), ("ops", "gave-up", code))
        self.assertTrue(elsewhere.requests.empty())

    def test_a_receiver_that_comes_back(self):
        gone = Receiver()
        gone.close()
        sender = self.sender([("ops", gone.url, {})])
        sender.send(1)
        first = sender.read_result(sender.agent.receive())
        self.assertEqual((first.outcome, first.status), ("retry", 0))
        back = self.receiver(port=gone.port)
        results = sender.results(until=1)
        self.assertEqual(results[-1].outcome, "delivered")
        self.assertEqual(back.requests.qsize(), 1)

    def test_receivers_that_send_nonsense(self):
        def flood(prefix, chunk):
            def answer(_, connection):
                connection.sendall(prefix)
                for _ in range(200):
                    connection.sendall(chunk)
                self.released.wait(60)
            return answer

        def drip(_, connection):
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
                connection.sendall(bytes([byte]))
                if self.released.wait(0.05):
                    return

        more = {"timeout": "600ms", "give_up_after": "1s"}
        bad = {
            "garbage": lambda _, c: c.sendall(b"\x16\x03\x01\x00\x00SSH-2.0-x\r\n\r\n"),
            "closes": lambda *_: None,
            "header": flood(b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"x" * 1000 + b"\r\n"),
            "drip": drip,
        }
        sinks = [(name, self.receiver(answer).url, more) for name, answer in bad.items()]
        # What follows a whole 2xx head does not matter.
        body = flood(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * 10000)
        sinks.append(("body", self.receiver(body).url, more))
        sender = self.sender(sinks)
        sender.send(1)
        final = {r.sink: r for r in sender.results(until=1) if r.outcome != "retry"}
        self.assertEqual({name: r.outcome for name, r in final.items()},
                         {**dict.fromkeys(bad, "gave-up"), "body": "delivered"})
        self.assertIn("too long", final["header"].text)
        self.assertIn("Timeout", final["drip"].text)

    def test_a_full_queue_gives_up_the_oldest(self):
        hanging = self.hanging()
        sender = self.sender([("ops", hanging.url, {"timeout": "60s"})])
        sender.send(1)
        hanging.requests.get(timeout=5)
        for seq in range(2, 1003):
            sender.send(seq)
        results = sender.results(until=2)
        self.assert_results(results, ("ops", "gave-up", 0))
        self.assertEqual((results[0].seq, results[0].text), (2, "queue full"))


class Reload(SenderTest):
    def test_the_queue_goes_on_to_the_new_url(self):
        gone = Receiver()
        gone.close()
        fresh = self.receiver()
        sender = self.sender([("ops", gone.url, {}), ("left", gone.url, {})])
        sender.send(1)
        sender.send(2)
        self.await_retries(sender, {"ops", "left"})
        sender.configure([("ops", fresh.url, {})])
        results = []
        for seq in (1, 2):
            results += sender.results(until=seq)
        final = {(r.seq, r.sink): (r.outcome, r.text) for r in results if r.outcome != "retry"}
        self.assertEqual(final, {(1, "ops"): ("delivered", ""), (2, "ops"): ("delivered", ""),
                                 (1, "left"): ("gave-up", "no longer configured"),
                                 (2, "left"): ("gave-up", "no longer configured")})

    def test_a_bad_configuration_changes_nothing(self):
        receiver = self.receiver()
        sender = self.sender([("ops", receiver.url, {})])
        error, text = sender.parent.check(b"alerts: [{name: x, type: pigeon}]\n")
        self.assertEqual(error, -errno.EINVAL)
        self.assertIn(":1:", text)
        self.assertEqual(sender.parent.commit()[0], -errno.ESTALE)
        self.assertEqual(sender.parent.check(driver.config([]).encode())[0], 0)
        self.assertEqual(sender.parent.commit(sender.parent.generation + 5)[0], -errno.ESTALE)
        sender.parent.abort()
        self.assertEqual(sender.parent.commit()[0], -errno.ESTALE)
        sender.send(1)
        self.assert_results(sender.results(until=1), ("ops", "delivered", 204))


class Process(SenderTest):
    def test_has_no_privileges(self):
        sender = self.sender([])
        fields = sender.status()
        self.assertEqual(fields["Uid"].split(), [str(driver.UID)] * 4)
        self.assertEqual(fields["Gid"].split(), [str(driver.GID)] * 4)
        self.assertEqual(fields["Groups"].strip(), "")
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(fields[name], 16), 0, name)
        self.assertEqual(fields["NoNewPrivs"], "1")
        self.assertEqual(fields["Seccomp"], "0" if IS_SANITIZED else "2")

    def test_stop_flushes(self):
        def slow(*_):
            self.released.wait(0.5)
            return OK
        receiver = self.receiver(slow)
        sender = self.sender([("ops", receiver.url, {})])
        for seq in (1, 2):
            sender.send(seq)
        receiver.requests.get(timeout=5)
        sender.parent.stop()
        self.assertEqual(sender.wait(), 0)
        results = sender.results(until=1) + sender.results(until=2)
        self.assertEqual([r.outcome for r in results], ["delivered"] * 2)
        self.assertIsNone(sender.agent.receive())

    def test_stop_tries_once_more_and_does_not_claim(self):
        receiver = self.receiver(fail_first(1, status(503, "Retry-After: 50")))
        failing = self.receiver(status(500))
        sender = self.sender([("ops", receiver.url, {}), ("bad", failing.url, {})])
        sender.send(1)
        self.await_retries(sender, {"ops", "bad"})
        began = time.monotonic()
        sender.parent.stop()
        self.assertEqual(sender.wait(), 0)
        self.assertLess(time.monotonic() - began, 1.5)
        outcomes = []
        while (frame := sender.agent.receive()):
            self.assertNotEqual(frame.type, driver.SEND_DONE)
            outcomes.append(sender.read_result(frame))
        self.assertIn(("ops", "delivered"), [(r.sink, r.outcome) for r in outcomes])
        self.assertNotIn(("bad", "gave-up"), [(r.sink, r.outcome) for r in outcomes])

    def test_stop_does_not_wait_for_ever(self):
        hanging = self.hanging()
        sender = self.sender([("ops", hanging.url, {"timeout": "60s"})])
        sender.send(1)
        hanging.requests.get(timeout=5)
        began = time.monotonic()
        sender.parent.stop()
        self.assertEqual(sender.wait(), 0)
        self.assertTrue(1.5 < time.monotonic() - began < 4)
        self.assertIsNone(sender.agent.receive())

    def test_ends_with_its_peers(self):
        for end in ("parent", "agent"):
            sender = self.sender([])
            getattr(sender, end).close()
            self.assertEqual(sender.wait(), 0)

    def test_a_broken_frame_ends_it(self):
        sender = self.sender([])
        sender.parent.sock.send(b"nonsense")
        sender.wait()


class Names(SenderTest):
    TABLE = {"one.example": ["192.0.2.1"],
             "both.example": ["192.0.2.2", "2001:db8::2"],
             "hook.example": ["127.0.0.1"],
             "empty.example": [],
             "mute.example": None}

    def named(self, alerts):
        server = NameServer(self.TABLE)
        self.addCleanup(server.close)
        return self.sender(alerts, files={
            "/etc/resolv.conf": f"nameserver 127.0.0.1:{server.port}\n",
            "/etc/hosts": "127.0.0.1 localhost\n192.0.2.9 fixed.example\n"})

    def test_answers_the_agent(self):
        sender = self.named([])
        wanted = {"one.example": (0, {"192.0.2.1"}),
                  "both.example": (0, {"192.0.2.2", "2001:db8::2"}),
                  "fixed.example": (0, {"192.0.2.9"}),
                  "192.0.2.77": (0, {"192.0.2.77"}),
                  "::1": (0, {"::1"}),
                  "empty.example": (-errno.ENODATA, set()),
                  "nowhere.example": (-errno.ENOENT, set())}
        names = list(wanted)
        for seq, name in enumerate(names):
            sender.ask(seq, name)
        for _ in names:
            seq, error, found = sender.addresses()
            self.assertEqual((error, set(found)), wanted[names[seq]], names[seq])
        sender.agent.send(driver.RESOLVE_NAME, b"short", seq=99)
        self.assertEqual(sender.addresses(), (99, -errno.EINVAL, []))
        sender.agent.send(driver.RESOLVE_NAME, b"x" * 256, seq=98)
        self.assertEqual(sender.addresses(), (98, -errno.EINVAL, []))

    def test_how_long_an_answer_holds(self):
        """The least TTL, from 5 s to an hour; and what half of an answer lacks is said."""
        server = NameServer({**self.TABLE, "long.example": ["192.0.2.3"],
                             "short.example": ["192.0.2.4"]})
        self.addCleanup(server.close)
        server.ttls = {"one.example": 77, "long.example": 86400, "short.example": 0}
        server.failing = {("both.example", 28)}
        sender = self.sender([], files={
            "/etc/resolv.conf": f"nameserver 127.0.0.1:{server.port}\n",
            "/etc/hosts": "192.0.2.9 fixed.example\n"})
        for seq, (name, ttl_s, lacks, addresses) in enumerate([
                ("one.example", 77, 0, ["192.0.2.1"]),
                ("long.example", 3600, 0, ["192.0.2.3"]),
                ("short.example", 5, 0, ["192.0.2.4"]),
                ("both.example", 60, socket.AF_INET6, ["192.0.2.2"]),
                ("fixed.example", 0, 0, ["192.0.2.9"])]):
            sender.ask(seq, name)
            self.assertEqual(sender.addresses(), (seq, 0, addresses), name)
            self.assertEqual(sender.holds, [ttl_s, lacks], name)
        self.assertNotIn("fixed.example", [name for name, _ in server.asked])

    def test_without_the_files_that_say_where_names_are(self):
        """A minimal installation has neither; an address needs them as little as localhost."""
        good = self.receiver()
        sender = self.sender([("name", good.url.replace("127.0.0.1", "localhost"), {}),
                              ("address", good.url, {})],
                             files={"/etc/hosts": None, "/etc/resolv.conf": None})
        sender.send(1)
        self.assertEqual({r.outcome for r in sender.results(until=1)}, {"delivered"})
        sender.ask(2, "192.0.2.77")
        self.assertEqual(sender.addresses(), (2, 0, ["192.0.2.77"]))
        sender.ask(3, "nowhere.example")  # of 127.0.0.1, as resolv.conf(5) has it
        self.assertNotEqual(sender.addresses()[1], 0)

    def test_names_survive_a_reload(self):
        sender = self.named([])
        sender.ask(1, "mute.example")
        for seq in (2, 3):
            sender.ask(seq, "both.example")
            self.assertEqual(sender.addresses()[:2], (seq, 0))
            sender.configure([])
        self.assertEqual(sender.addresses(), (1, -errno.ETIMEDOUT, []))
        sender.ask(4, "fixed.example")
        self.assertEqual(sender.addresses(), (4, 0, ["192.0.2.9"]))

    def test_a_resolver_that_hangs_blocks_nothing(self):
        good = self.receiver()
        sender = self.named([
            ("mute", "http://mute.example/", {"timeout": "500ms", "give_up_after": "1s"}),
            ("good", good.url.replace("127.0.0.1", "hook.example"), {})])
        began = time.monotonic()
        sender.send(1)
        good.requests.get(timeout=5)
        for seq in range(100, 400):
            sender.ask(seq, "mute.example")
        sender.ask(400, "192.0.2.77")
        outcomes = {}
        sends = []
        while len(outcomes) < 301:
            frame = sender.agent.receive()
            if frame.type == driver.RESOLVE_RESULT:
                outcomes[frame.seq] = int.from_bytes(frame.body[:4], "little", signed=True)
            elif frame.type == driver.SEND_RESULT_TYPE:
                sends.append(sender.read_result(frame))
        self.assertLess(time.monotonic() - began, 8)
        refused = [seq for seq, error in outcomes.items() if error == -errno.EAGAIN]
        timed_out = [seq for seq, error in outcomes.items() if error == -errno.ETIMEDOUT]
        self.assertLessEqual(len(timed_out), 256)
        self.assertGreater(len(timed_out), 250)
        self.assertEqual(len(refused) + len(timed_out), 301)
        self.assertIn(400, refused)
        final = {r.sink: r for r in sends if r.outcome != "retry"}
        self.assertEqual(final["good"].outcome, "delivered")
        self.assertEqual(final["mute"].outcome, "gave-up")
        self.assertIn("name", final["mute"].text)
        # And it is usable again afterwards.
        sender.ask(500, "one.example")
        self.assertEqual(sender.addresses(), (500, 0, ["192.0.2.1"]))


class Tls(SenderTest):
    def test_certificates_are_verified(self):
        with tempfile.TemporaryDirectory() as folder:
            context, pem = driver.make_certificate(folder)
        receiver = self.receiver(OK, tls=context)
        url = f"https://localhost:{receiver.port}/{driver.SECRET}"
        by_address = f"https://127.0.0.1:{receiver.port}/{driver.SECRET}"
        more = {"give_up_after": "1s"}
        trusting = self.sender([("name", url, more), ("address", by_address, more)],
                               files={"/etc/ssl/certs/ca-certificates.crt": pem})
        trusting.send(1)
        results = [r for r in trusting.results(until=1) if r.outcome != "retry"]
        self.assertEqual({r.sink: r.outcome for r in results},
                         {"name": "delivered", "address": "gave-up"})
        strict = self.sender([("name", url, more)])
        strict.send(1)
        last = strict.results(until=1)[-1]
        self.assertEqual((last.outcome, last.status), ("gave-up", 0))
        self.assertIn("certificate", last.text)
        self.assertEqual(receiver.requests.qsize(), 1)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("test_sender.py needs root, to start the sender as the daemon's parent does")
        raise SystemExit(1)
    unittest.main(verbosity=2)
