# SPDX-License-Identifier: GPL-2.0-or-later
"""Every event arrives, in order for its endpoint, whoever is killed and whatever the receiver does.

PW_KILLS=200 kills that often, PW_SEED=N chooses what happens, as far as that can be chosen.
"""
import collections
import contextlib
import json
import os
import random
import signal
import sqlite3
import threading
import time
import unittest

from lab import IS_ASAN, Lab, wait_until
from test_kills import BY_HAND, COMES_AND_GOES, SLOW, StateTest

KILLS = int(os.environ.get("PW_KILLS", "6" if IS_ASAN else "16"))
# Of a whole run: past outbox.max_events the oldest that wait are given up, as it says.
MOST_EVENTS = 9000


class Story:
    """What one receiver has learnt of each endpoint, repeats left out."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ids = set()
        self.repeats = 0
        self.told = collections.defaultdict(list)

    def learn(self, event):
        with self.lock:
            if event["id"] in self.ids:
                self.repeats += 1
                return
            self.ids.add(event["id"])
            self.told[event["endpoint"]].append(event)

    def of(self, port, *kinds):
        with self.lock:
            return [e for e in self.told[f"{Lab.TARGET}:{port}"] if e["event"] in kinds]


class Flaky:
    """Half of all requests fail: refused for now, cut off, or left hanging. Some of these have been
    heard all the same."""

    def __init__(self, lab, seed, port=9998):
        self.story, self.random = Story(), random.Random(seed)
        self.reliable = threading.Event()
        self.asked = self.failed = 0
        self.hook = lab.webhook(port)
        self.hook.serve = self.serve

    def serve(self, request, event):
        with self.story.lock:
            fate = "ok"
            if not self.reliable.is_set():
                self.asked += 1
                if self.random.random() < 0.5:
                    self.failed += 1
                    fate = self.random.choice(("503", "close", "heard, close", "heard, hang"))
        if fate == "ok" or fate.startswith("heard"):
            for one in event["events"] if "group" in event else [event]:
                self.story.learn(one)
        if fate.endswith("hang"):
            self.hook.release.wait(1.5)
        if fate.endswith(("close", "hang")):
            request.close_connection = True
            return
        request.send_response(200 if fate == "ok" else 503)
        request.send_header("Content-Length", "0")
        request.end_headers()


class OutboxTest(StateTest):
    def stored(self):
        """What the state has of undelivered events: [(sink, event's row), ...]."""
        path = os.path.join(self.lab.directory, "state", "state.db")
        with contextlib.closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT sink, json FROM events JOIN deliveries USING (seq) "
                              "ORDER BY seq").fetchall()

    def sink(self, name):
        return next(s for s in self.daemon.ctl_json("status")["alerts"]["sinks"]
                    if s["name"] == name)

    def wait_drained(self, timeout=60):
        wait_until(lambda: self.daemon.ctl_json("status")["alerts"]["queued"] == 0,
                   timeout * SLOW, "everything is delivered", interval=0.1)


class Kills(OutboxTest):
    """Model: a command that was acknowledged has an event, one that was not may have one."""

    def act(self):
        port, verb = self.random.choice(BY_HAND), self.random.choice(("block", "unblock"))
        number = self.number = self.number + 1
        done = self.daemon.ctl(verb, f"{Lab.TARGET}:{port}", "--for", "300s", "--reason",
                               str(number), check=False)
        if done.returncode == 0:
            self.acknowledged[port].append((number, f"manual_{verb}"))

    def keep_acting(self, stop):
        most = self.number + MOST_EVENTS // KILLS
        while not stop.is_set() and self.number < most:
            self.act()

    def kill(self):
        """The sender is started anew; without another process the service ends."""
        role = self.random.choice(("agent", "sender", "parent", "all"))
        self.killed[role] += 1
        if role == "sender":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.daemon.child("sender"), signal.SIGKILL)
            return
        if role == "all":
            self.daemon.kill_everything()
            return
        pids = list(self.daemon.children().values())
        os.kill(self.daemon.pid if role == "parent" else self.daemon.child("agent"),
                signal.SIGKILL)
        self.daemon.process.wait(20 * SLOW)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 20 * SLOW,
                   "all processes are gone")

    def round(self):
        stop = threading.Event()
        actor = threading.Thread(target=self.keep_acting, args=(stop,))
        actor.start()
        try:
            self.come_or_go()
            time.sleep(self.random.random() * self.random.choice((0.3, 1.0)) * SLOW)
            self.kill()
        finally:
            stop.set()
            actor.join()
        if self.daemon.process.status is not None:
            self.daemon.start(timeout=40 * SLOW)

    def come_or_go(self):
        """An opening counts when the kernel has its block, an end when it has lifted it."""
        if self.exporter is None:
            self.exporter = self.lab.serve_node_exporter(COMES_AND_GOES)
            self.wait_blocked(COMES_AND_GOES)
            self.expected.append("opened")
        else:
            self.exporter.end()
            self.exporter = None
            wait_until(lambda: COMES_AND_GOES not in self.blocked(), 20 * SLOW, "it is let go")
            self.expected.append("gone")

    def check(self, name, story):
        numbers = []
        for port in BY_HAND:
            told = [(int(e["reason"]), e["event"])
                    for e in story.of(port, "manual_block", "manual_unblock")]
            numbers += told
            self.assertEqual(told, sorted(set(told)), f"{name}: out of order, or twice: {port}")
            self.assertEqual(set(self.acknowledged[port]) - set(told), set(),
                             f"{name}: never arrived: {port}")
        breaker = [e["event"] for e in story.of(COMES_AND_GOES, "opened", "gone", "closed")]
        self.assertEqual(["gone" if e == "closed" else e for e in breaker], self.expected,
                         f"{name}: the breaker's story")
        return len(numbers) + len(breaker)

    def test_kills_at_random(self):
        seed = int(os.environ.get("PW_SEED", random.randrange(1 << 32)))
        print(f"{KILLS} kills, PW_SEED={seed}", flush=True)
        self.random = random.Random(seed)
        self.acknowledged = collections.defaultdict(list)
        self.killed = collections.Counter()
        self.number, self.exporter, self.expected = 0, None, []
        flaky = Flaky(self.lab, seed)
        steady = Flaky(self.lab, seed, port=9997)
        steady.reliable.set()
        grouped = Flaky(self.lab, seed, port=9996)
        self.start((COMES_AND_GOES,), alerts=[
            {"name": name, "type": "webhook", "timeout": "1s", "give_up_after": "1d",
             "url": f"http://127.0.0.1:{port}/", **more}
            for name, port, more in (("flaky", 9998, {}), ("steady", 9997, {}),
                                     ("grouped", 9996, {"group_wait": "300ms"}))])
        for _ in range(KILLS):
            self.round()
        flaky.reliable.set()
        grouped.reliable.set()
        self.daemon.stop()
        self.daemon.start(timeout=40 * SLOW)
        self.wait_drained()
        told = [self.check("flaky", flaky.story), self.check("steady", steady.story),
                self.check("grouped", grouped.story)]
        acknowledged = sum(map(len, self.acknowledged.values())) + len(self.expected)
        self.assertGreater(acknowledged, 0)
        self.assertEqual(self.stored_after_the_end(), [])
        print(f"{dict(self.killed)} killed; {acknowledged} events acknowledged, {told} told, "
              f"{flaky.failed} of {flaky.asked} requests failed, "
              f"{[s.story.repeats for s in (flaky, steady, grouped)]} repeats", flush=True)

    def stored_after_the_end(self):
        self.daemon.stop()
        return self.stored()


class Limits(OutboxTest):
    """What is given up is counted, and told to the sink that missed it."""

    def decide(self, count):
        for i in range(count):
            self.daemon.ctl("block" if i % 2 == 0 else "unblock", f"{Lab.TARGET}:9200",
                            "--for", "300s", "--reason", str(i))

    def start_with(self, **outbox):
        self.hook.answer = 503
        self.start((), outbox=outbox)

    def test_too_many_are_told_when_it_is_back(self):
        self.start_with(max_events=100)
        self.decide(103)
        wait_until(lambda: self.sink("hook")["lost"] == 3, 20 * SLOW, "three are given up")
        self.assertEqual((self.sink("hook")["queued"], self.sink("hook")["untold"]), (100, 3))
        self.assertIn(" 3 lost (3 not told of yet); 100 queued", self.daemon.ctl("status").stdout)
        self.assertGreater(self.daemon.metric("pprofwall_alert_oldest_age_seconds", sink="hook"),
                           0)
        self.assertEqual(self.daemon.metric("pprofwall_alert_queue_length", sink="hook"), 100)
        self.assertEqual(self.daemon.metric("pprofwall_alerts_lost_total", sink="hook",
                                            reason="too_many"), 3)
        self.daemon.kill_everything()  # it is remembered
        self.hook.answer = 200
        self.daemon.start()
        event = self.hook.wait_event("alerts_lost", 30 * SLOW)
        self.assertEqual((event["lost"]["sink"], event["lost"]["count"]), ("hook", 3))
        self.wait_drained()
        self.assertEqual(self.sink("hook")["untold"], 0)
        told = [e["reason"] for s, _, e in self.hook.requests
                if s == 200 and e["event"] != "alerts_lost"]
        self.assertEqual(len(told), 100)
        self.assertEqual(told, sorted(told, key=int))

    def test_a_stop_in_order_repeats_nothing(self):
        self.start(())
        self.hook.answer = lambda: time.sleep(0.05) or 200
        self.decide(30)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        self.wait_drained()
        self.assertEqual([e["reason"] for _, _, e in self.hook.requests],
                         [str(i) for i in range(30)])

    def test_a_sink_that_is_gone_is_owed_nothing(self):
        self.start_with()
        other = self.lab.webhook(9997)
        self.decide(2)
        self.assertEqual(self.sink("hook")["queued"], 2)
        config = self.daemon.config
        config["alerts"] = [{"name": "other", "type": "webhook",
                             "url": "http://127.0.0.1:9997/"}]
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        wait_until(lambda: self.daemon.ctl_json("status")["alerts"]["queued"] == 0, 20 * SLOW,
                   "nothing is owed")
        self.assertEqual(self.daemon.metric("pprofwall_alerts_removed_total"), 2)
        self.decide(1)
        event = other.wait_event("manual_block", 20 * SLOW)
        self.assertEqual(event["reason"], "0")
        self.assertEqual(len(other.requests), 1)


class TestAlert(OutboxTest):
    def ask(self, *argv):
        done = self.daemon.ctl("test-alert", *argv, check=False, timeout=70)
        return done.returncode, done.stdout, done.stderr

    def start_two(self):
        self.broken = self.lab.webhook(9997)
        self.broken.answer = 500
        self.start((), alerts=[
            {"name": name, "type": "webhook", "url": f"http://127.0.0.1:{port}/"}
            for name, port in (("ops", 9999), ("broken", 9997))])

    def test_says_what_came_of_it(self):
        self.start_two()
        status, out, _ = self.ask("ops")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"\Aops: delivered, HTTP 200 in \d+ ms\n\Z")
        event = self.hook.wait_event("test")
        self.assertIs(event["test"], True)
        self.assertIn("root", event["who"])
        self.assertIsNone(event["endpoint"])
        status, out, _ = self.ask()
        self.assertEqual(status, 1)
        self.assertRegex(out, r"\Aops: delivered, HTTP 200 in \d+ ms\n"
                              r"broken: failed after \d+ ms: HTTP 500.*\n\Z")
        self.assertEqual(len(self.broken.requests), 1)  # it is not tried again
        self.assertEqual(self.stored_now(), 0)

    def test_who_is_not_there(self):
        self.start_two()
        status, out, err = self.ask("nobody")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("no alert is called nobody", err)
        status, _, err = self.ask("ops", "broken")
        self.assertEqual((status, err),
                         (2, "pprofwall test-alert: takes one NAME at most, not: broken\n"))
        self.assertEqual(self.ask("--json", "broken")[0], 1)
        self.daemon.stop()
        self.assertEqual(self.ask("ops")[0], 3)

    def test_waits_for_nothing_else(self):
        """Of a sink that refuses to take anything else, and of one that never answers."""
        self.start_two()
        for i in range(3):
            self.daemon.ctl("block", f"{Lab.TARGET}:9200", "--reason", str(i))
        wait_until(lambda: self.sink("broken")["retries"], 10 * SLOW, "it fails")
        self.broken.answer = 200
        self.assertEqual(self.ask("broken")[0], 0)
        self.wait_drained(10)
        self.hook.answer = self.hook.hang
        config = self.daemon.config
        config["alerts"][0]["timeout"] = "300ms"
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        status, out, _ = self.ask("ops")
        self.assertEqual(status, 1)
        self.assertIn("ops: failed after ", out)

    def stored_now(self):
        return self.daemon.ctl_json("status")["alerts"]["queued"]


if __name__ == "__main__":
    unittest.main()
