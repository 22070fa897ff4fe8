#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A fleet that finds the same exposure at once, through a real Alertmanager with the shipped
grouping: people get a handful of notifications, not one for each host.

What is posted is what the sender posts, word for word: it tells a receiver of ours first, one event
after the other as a thousand hosts would, and that is then sent to the Alertmanager, spread over
the time in which they find it. All durations of the shipped configuration, and that time, are cut
by SCALE: their proportions are what the number of notifications comes from. What is told began long
ago, for which the Alertmanager does not wait: group_wait does not help here.
"""
import concurrent.futures
import http.server
import json
import re
import threading
import time
import unittest
import urllib.request

import sender_driver as driver
from test_alertmanager import CLEAR, SHIPPED, Alertmanager, event, needs_alertmanager
from test_sender_http import HttpTest

AGENTS = 1000
SCALE = 20
WITHIN = 60 / SCALE
MOST = 5


def shipped(url):
    """The shipped configuration, SCALE times as fast, with this receiver."""
    with open(SHIPPED, encoding="utf-8") as file:
        text = file.read()
    seconds = {"s": 1, "m": 60, "h": 3600}

    def cut(match):
        return f"{match[1]}{int(match[2]) * seconds[match[3]] * 1000 // SCALE}ms"
    text, cuts = re.subn(r"((?:group_wait|group_interval|repeat_interval): )(\d+)([smh])\b", cut,
                         text)
    text, urls = re.subn(r'url: "[^"]*"', f'url: "{url}"', text)
    assert (cuts, urls) == (3, 1), text
    return text


class People:
    """Where the Alertmanager's notifications arrive."""

    def __init__(self):
        people = self
        self.notifications = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802, the library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                people.notifications.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hosts(self, status):
        return {alert["labels"]["instance"] for notification in self.notifications
                for alert in notification["alerts"] if alert["status"] == status}

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@needs_alertmanager
class Fleet(HttpTest):
    def setUp(self):
        super().setUp()
        self.people = People()
        self.addCleanup(self.people.close)
        self.manager = Alertmanager(self.folder, shipped(self.people.url))
        self.addCleanup(self.manager.close)

    def posts(self, sender, receiver, kind, **more):
        """What the sender of each host posts about its event."""
        bodies = []
        for n in range(AGENTS):
            seq = len(self.seen) + 1
            self.seen.append(seq)
            sender.send(seq, event(kind, seq, host=f"web-{n}",
                                   endpoint=f"10.1.{n // 250}.{n % 250 + 1}:9100", **more))
            self.assertEqual([r.outcome for r in sender.results(until=seq)], ["delivered"])
            request = receiver.requests.get(timeout=5)
            self.assertTrue(request.head.startswith("POST /api/v2/alerts "), request.head)
            bodies.append(request.body)
        return bodies

    def deliver(self, bodies):
        """To the Alertmanager, evenly within the time."""
        began = time.monotonic()

        def post(n):
            time.sleep(max(0, began + n * WITHIN / len(bodies) - time.monotonic()))
            request = urllib.request.Request(
                self.manager.url + "/api/v2/alerts", bodies[n],
                {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.assertEqual(set(pool.map(post, range(len(bodies)))), {200})

    def wait_hosts(self, status):
        """Until each host was in some notification."""
        self.manager.wait(lambda: len(self.people.hosts(status)) == AGENTS, 90)

    def test_a_thousand_hosts_are_a_few_notifications(self):
        self.seen = []
        receiver = driver.Receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.addCleanup(receiver.close)
        sender = self.sender([("am", f"http://127.0.0.1:{receiver.port}/",
                               {"type": "alertmanager", "refresh": "1h"})])
        opened = self.posts(sender, receiver, "opened")
        closed = self.posts(sender, receiver, "closed", finding=CLEAR)
        self.deliver(opened)
        self.wait_hosts("firing")
        told_open = len(self.people.notifications)
        self.deliver(closed)
        self.wait_hosts("resolved")
        told = [f"{n['status']}: {len(n['alerts'])} alerts, {n['groupLabels']}"
                for n in self.people.notifications]
        print(f"{AGENTS} hosts: {told_open} notifications when they open, {len(told)} in all",
              *told, sep="\n  ", flush=True)
        self.assertLessEqual(len(told), MOST, told)
        self.assertEqual({n["groupLabels"]["product"] for n in self.people.notifications},
                         {"node_exporter"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
