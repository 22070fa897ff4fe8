#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""pprofwall-sender: many events in one message, rate limits, dead sinks, events that somebody waits
for."""
import contextlib
import json
import os
import queue
import time
import unittest

import frames
import sender_driver as driver
import test_sender
from sender_driver import Receiver
from test_sender import OK, status

HIGH = {"event": "opened", "finding": {"severity": "high"}}


def unpack(request):
    """The ids of the events of a request, in order."""
    body = json.loads(request.body)
    return [event["id"] for event in (body["events"] if "group" in body else [body])]


def ids(seqs):
    return [f"event-{seq}" for seq in seqs]


class GroupTest(test_sender.SenderTest):
    def next_ids(self, receiver, timeout=10):
        return unpack(receiver.requests.get(timeout=timeout))

    def assert_silent(self, receiver, seconds):
        with self.assertRaises(queue.Empty):
            receiver.requests.get(timeout=seconds)

    def send_all(self, sender, seqs):
        for seq in seqs:
            sender.send(seq)

    def read_results(self, sender, count):
        """So many results, which may be of several events."""
        found = []
        while len(found) < count:
            frame = sender.agent.receive()
            if frame.type != driver.SEND_DONE:
                found.append(sender.read_result(frame))
        return found

    def assert_delivered(self, sender, seqs, sink="ops"):
        seqs = list(seqs)
        results = self.read_results(sender, len(seqs))
        self.assertEqual([(r.seq, r.sink, r.outcome) for r in results],
                         [(seq, sink, "delivered") for seq in seqs])


class Envelopes(GroupTest):
    def test_only_the_sinks_that_it_is_for(self):
        one, two = self.receiver(), self.receiver()
        sender = self.sender([("one", one.url, {}), ("two", two.url, {})])
        sender.send(1, sinks=["two"])
        self.assert_results(sender.results(until=1), ("two", "delivered", 204))
        sender.send(2, sinks=["one", "two"])
        self.assertEqual({r.sink for r in sender.results(until=2)}, {"one", "two"})
        sender.send(3, sinks=[])
        self.assertEqual(sender.results(until=3), [])
        sender.send(4, sinks=["gone", "one"])
        results = sender.results(until=4)
        self.assert_results(results, ("gone", "gave-up", 0), ("one", "delivered", 204))
        self.assertEqual(results[0].text, "no longer configured")
        self.assertEqual(self.next_ids(one) + self.next_ids(one), ids([2, 4]))
        self.assertEqual(self.next_ids(two) + self.next_ids(two), ids([1, 2]))

    def test_time_counts_from_when_it_happened(self):
        failing = self.receiver(status(500))
        sender = self.sender([("ops", failing.url, {"give_up_after": "60s"})])
        sender.send(1, queued_ms=int(time.time() * 1000) - 61_000)
        self.assert_results(sender.results(until=1), ("ops", "gave-up", 500))
        self.assertEqual(failing.requests.qsize(), 1)

    def test_best_effort_is_tried_once(self):
        receiver = self.receiver(lambda number, _: status(500) if number == 1 else OK)
        sender = self.sender([("ops", receiver.url, {})])
        sender.send(1, best_effort=True)
        self.assert_results(sender.results(until=1), ("ops", "retry", 500))
        sender.send(2)
        self.assert_results(sender.results(until=2), ("ops", "delivered", 200))

    def test_best_effort_gives_way_to_the_next(self):
        receiver = self.receiver(lambda number, _: self.released.wait(60) and OK)
        sender = self.sender([("ops", receiver.url, {})])
        sender.send(1)
        receiver.requests.get(timeout=5)
        for seq, endpoint in ((2, "10.0.0.1:1"), (3, "10.0.0.2:1"), (4, "10.0.0.1:1")):
            sender.send(seq, {"id": f"event-{seq}", "event": "refresh", "endpoint": endpoint},
                        best_effort=True)
        self.assertEqual(sender.results(until=2), [])
        self.released.set()
        self.assertEqual([self.next_ids(receiver), self.next_ids(receiver)], [ids([3]), ids([4])])


    def test_results_that_nobody_reads_are_not_dropped(self):
        """It ends, loudly: whoever starts another one sends what is not done again."""
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "100ms"})])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_all(sender, range(1, 5001))
        self.assertEqual(sender.wait(30), 1)


class Groups(GroupTest):
    def test_a_hundred_at_once_are_one_message(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "700ms"})])
        began = time.monotonic()
        self.send_all(sender, range(1, 101))
        request = receiver.requests.get(timeout=5)
        self.assertGreater(request.time - began, 0.65)
        body = json.loads(request.body)
        self.assertEqual((body["schema"], body["group"]), (1, True))
        self.assertEqual(body["events"], [{"id": f"event-{n}", "n": n} for n in range(1, 101)])
        self.assert_delivered(sender, range(1, 101))
        # One alone is as it always was.
        sender.send(101)
        self.assertEqual(json.loads(receiver.requests.get(timeout=5).body),
                         {"id": "event-101", "n": 101})

    def test_people_get_one_message_unless_they_say_otherwise(self):
        receiver = self.receiver(OK)
        sender = self.sender([("chat", receiver.url, {"type": "slack"})])
        began = time.monotonic()
        for seq in range(1, 101):
            sender.send(seq, {"id": f"event-{seq}", "text": f"told of {seq}."})
        request = receiver.requests.get(timeout=20)
        self.assertGreater(request.time - began, 4.9)
        text = json.loads(request.body)["text"]
        self.assertEqual([text.count(f"told of {seq}.") for seq in range(1, 101)], [1] * 100)
        self.assert_delivered(sender, range(1, 101), "chat")
        self.assertEqual(receiver.requests.qsize(), 0)

    def test_as_many_as_fit(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "700ms"})])
        self.send_all(sender, range(1, 301))
        self.assert_delivered(sender, range(1, 301))
        self.assertEqual([len(self.next_ids(receiver)) for _ in range(2)], [256, 44])
        big = "x" * 50_000
        for seq in range(301, 313):
            sender.send(seq, {"id": f"event-{seq}", "text": big})
        self.assert_delivered(sender, range(301, 313))
        self.assertEqual([len(self.next_ids(receiver)) for _ in range(2)], [10, 2])

    def test_without_being_asked_nothing_is_grouped(self):
        receiver = self.receiver(lambda number, _: number > 1 and OK or
                                 self.released.wait(60) and OK)
        sender = self.sender([("ops", receiver.url, {})])
        self.send_all(sender, range(1, 6))
        receiver.requests.get(timeout=5)
        self.released.set()
        self.assertEqual([self.next_ids(receiver) for _ in range(4)],
                         [ids([seq]) for seq in range(2, 6)])

    def test_the_limit_holds_but_for_what_is_urgent(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"max_per_minute": 2})])
        for seq in (1, 2):
            sender.send(seq)
            self.assertEqual(self.next_ids(receiver), ids([seq]))
            self.assert_delivered(sender, [seq])
        self.send_all(sender, (3, 4))
        self.assert_silent(receiver, 1)
        # It does not wait for a token, and takes along what does.
        sender.send(5, {"id": "event-5", **HIGH})
        self.assertEqual(self.next_ids(receiver), ids([3, 4, 5]))
        self.assert_delivered(sender, (3, 4, 5))

    def test_what_waits_for_the_limit_goes_together(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"max_per_minute": 30})])
        for seq in range(1, 31):
            sender.send(seq)
            self.assertEqual(self.next_ids(receiver), ids([seq]))
            self.assert_delivered(sender, [seq])
        self.send_all(sender, range(31, 41))
        self.assert_delivered(sender, range(31, 41))
        self.assertEqual(self.next_ids(receiver), ids(range(31, 41)))

    def test_a_group_is_tried_again_and_has_grown(self):
        receiver = self.receiver(lambda number, _: status(503) if number == 1 else OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "300ms"})])
        self.send_all(sender, (1, 2))
        self.assertEqual(self.next_ids(receiver), ids([1, 2]))
        # For all of the group, one says that it is tried again.
        failed, = self.read_results(sender, 1)
        self.assertEqual((failed.seq, failed.outcome, failed.status), (1, "retry", 503))
        sender.send(3)
        first = self.next_ids(receiver)
        rest = self.next_ids(receiver) if len(first) == 2 else []
        self.assertEqual(first + rest, ids([1, 2, 3]))
        self.assert_delivered(sender, (1, 2, 3))

    def refusing(self, code, is_bad):
        """Refuses each request of whose events is_bad(ids); (receiver, sender)"""
        def answer(_, connection):
            found = unpack(made.requests.queue[-1])
            connection.sendall(status(code) if is_bad(found) else OK)
            return b""
        made = self.receiver(answer)
        return made, self.sender([("ops", made.url, {"group_wait": "500ms"})])

    def final(self, sender, count):
        """{seq: outcome}, and how many messages failed on the way."""
        found, failed = {}, 0
        while len(found) < count:
            for result in self.read_results(sender, 1):
                if result.outcome == "retry":
                    failed += 1
                else:
                    self.assertNotIn(result.seq, found)
                    found[result.seq] = result.outcome
        return found, failed

    def test_one_that_spoils_a_group_is_refused_alone(self):
        receiver, sender = self.refusing(400, lambda found: "event-17" in found)
        self.send_all(sender, range(1, 41))
        found, _ = self.final(sender, 40)
        self.assertEqual({seq for seq, outcome in found.items() if outcome == "gave-up"}, {17})
        self.assertEqual(list(found), list(range(1, 41)))
        self.assertLess(receiver.requests.qsize(), 20)

    def test_what_is_too_large_goes_in_parts(self):
        receiver, sender = self.refusing(413, lambda found: len(found) > 10)
        self.send_all(sender, range(1, 41))
        found, _ = self.final(sender, 40)
        self.assertEqual(found, dict.fromkeys(range(1, 41), "delivered"))
        self.assertLess(receiver.requests.qsize(), 20)

    def test_a_refusal_of_all_is_final(self):
        receiver, sender = self.refusing(401, lambda found: True)
        self.send_all(sender, range(1, 41))
        found, failed = self.final(sender, 40)
        self.assertEqual(found, dict.fromkeys(range(1, 41), "gave-up"))
        self.assertEqual((failed, receiver.requests.qsize()), (0, 1))

    def test_a_reload_puts_other_limits_in_force(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "10m"})])
        self.send_all(sender, (1, 2))
        self.assert_silent(receiver, 0.5)
        sender.configure([("ops", receiver.url, {"group_wait": "off"})])
        self.assertEqual(self.next_ids(receiver) + self.next_ids(receiver), ids([1, 2]))

    def test_a_stop_waits_for_no_group(self):
        receiver = self.receiver(OK)
        sender = self.sender([("ops", receiver.url, {"group_wait": "10m", "max_per_minute": 1})])
        self.send_all(sender, (1, 2))
        sender.agent.send(frames.PING)
        self.assertEqual(sender.agent.receive().type, frames.PONG)  # so it has them
        sender.parent.stop()
        self.assertEqual(self.next_ids(receiver), ids([1, 2]))
        self.assertEqual(sender.wait(), 0)


class Circuit(GroupTest):
    def dead(self, **more):
        """A sink that fails until self.alive; the circuit is open when this returns."""
        self.alive = False
        receiver = self.receiver(lambda *_: OK if self.alive else status(500))
        sender = self.sender([("ops", receiver.url, more)])
        self.send_all(sender, range(1, 51))
        results = self.read_results(sender, 5)
        self.assertEqual([(r.seq, r.outcome, r.circuit_open) for r in results],
                         [(1, "retry", False)] * 4 + [(1, "retry", True)])
        for _ in range(5):
            receiver.requests.get(timeout=5)
        return receiver, sender

    def test_a_dead_sink_is_left_alone_and_then_asked_with_one_event(self):
        receiver, sender = self.dead(group_wait="100ms")
        self.assert_silent(receiver, 10)
        self.alive = True
        began = time.monotonic()
        self.assertEqual(self.next_ids(receiver, 25), ids([1]))
        # The rest follows at once, as one message.
        self.assertEqual(self.next_ids(receiver), ids(range(2, 51)))
        self.assertLess(time.monotonic() - began, 30)
        self.assertFalse(any(r.circuit_open for r in self.read_results(sender, 50)))

    def test_a_test_asks_at_once_and_closes_it(self):
        receiver, sender = self.dead()
        sender.send(100, test=True)
        result, = self.read_results(sender, 1)
        self.assertEqual((result.seq, result.outcome, result.text, result.circuit_open),
                         (100, "gave-up", "HTTP 500", True))
        self.assertEqual(self.next_ids(receiver), ids([100]))
        self.alive = True
        sender.send(101, test=True)
        result, = self.read_results(sender, 1)
        self.assertEqual((result.seq, result.outcome, result.circuit_open),
                         (101, "delivered", False))
        self.assertRegex(result.text, r"^HTTP 200 in \d+ ms$")
        self.assertEqual(self.next_ids(receiver), ids([101]))
        self.assertEqual([self.next_ids(receiver) for _ in range(50)],
                         [ids([seq]) for seq in range(1, 51)])

    def test_a_new_place_is_tried_at_once(self):
        _, sender = self.dead()
        fresh = self.receiver(OK)
        sender.configure([("ops", fresh.url, {})])
        self.assert_delivered(sender, range(1, 51))

    def test_events_whose_time_is_over_cost_nothing(self):
        receiver, sender = self.dead(give_up_after="60s")
        old = int(time.time() * 1000) - 61_000
        for seq in range(51, 251):
            sender.send(seq, queued_ms=old)
        # The first to fail speaks for all of them: that of the next test.
        sender.configure([("ops", receiver.url + "&moved", {"give_up_after": "60s"})])
        found = {}
        while len(found) < 200:
            result, = self.read_results(sender, 1)
            if result.outcome == "gave-up":
                found[result.seq] = result.text
        self.assertEqual(found, dict.fromkeys(range(51, 251), "HTTP 500"))
        self.assertLessEqual(receiver.requests.qsize(), 10)

    def test_a_refusal_is_an_answer(self):
        receiver, sender = self.dead()
        receiver.answer = status(404)
        sender.send(100, test=True)
        results = self.read_results(sender, 51)
        self.assertEqual({(r.outcome, r.status, r.circuit_open) for r in results},
                         {("gave-up", 404, False)})
        self.assertEqual(receiver.requests.qsize(), 51)

    def test_it_is_nobody_elses_affair(self):
        gone = Receiver()
        gone.close()
        good = self.receiver(OK)
        sender = self.sender([("bad", gone.url, {}), ("good", good.url, {})])
        sender.send(1)
        opened = False
        while not opened:
            result, = self.read_results(sender, 1)
            self.assertFalse(result.sink == "good" and result.circuit_open)
            opened = result.circuit_open
        sender.send(2)
        self.assertEqual(self.next_ids(good) + self.next_ids(good), ids([1, 2]))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("test_sender_groups.py needs root, to start the sender as the daemon's parent does")
        raise SystemExit(1)
    unittest.main(verbosity=2)
