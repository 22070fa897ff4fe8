#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Alerts of type alertmanager against a real prometheus-alertmanager, asked by its own API."""
import json
import os
import socket
import subprocess
import time
import unittest
import urllib.request

import sender_driver as driver
from lab import Lab, wait_until
from test_daemon import SLOW, DaemonTest
from test_sender import status
from test_sender_http import HttpTest

SERVERS = os.environ.get("PW_SERVERS", "")
SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = os.path.join(SOURCE_DIR, "deploy", "alertmanager", "pprofwall.yml")
ENDPOINT = "10.0.0.7:9100"


def program(name):
    return os.path.join(SERVERS, "usr", "bin", name)


needs_alertmanager = unittest.skipUnless(os.path.exists(program("prometheus-alertmanager")),
                                         "no prometheus-alertmanager here")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def event(kind, number, **more):
    made = {"schema": 1, "id": f"event-{number}", "event": kind, "host": "web-3",
            "time": "2026-11-22T21:00:04Z", "endpoint": ENDPOINT, "mode": "enforce",
            "action": "drop", "reason": None, "who": None,
            "text": f"pprofwall: {kind}: {ENDPOINT} (node_exporter)",
            "breaker": {"name": "default", "state": "open"},
            "listener": {"process": "node_exporter", "unit": "node_exporter.service"},
            "finding": {"severity": "high", "risk": "HIGH_RISK", "verdict": "confirmed",
                        "program": "node_exporter", "path": "/debug/pprof/",
                        "evidence": ["index", "goroutine-debug2"], "profiles": ["heap"]}}
    made.update(more)
    return made


ONE_RECEIVER = "route: {receiver: a}\nreceivers: [{name: a}]\n"
CLEAR = {"severity": None, "risk": None, "verdict": "clear", "program": None, "path": "/"}


def command(folder, port, text=ONE_RECEIVER):
    """A real one on loopback, under a path of its own: (arguments, URL)."""
    url = f"http://127.0.0.1:{port}/am"
    config = os.path.join(folder, "am.yml")
    with open(config, "w", encoding="ascii") as file:
        file.write(text)
    # It looks for its templates where its package would have installed them.
    return ["unshare", "--mount", "sh", "-ec", 'mount --bind "$1" /usr/share; shift; exec "$@"',
            "sh", os.path.join(SERVERS, "usr", "share"), program("prometheus-alertmanager"),
            f"--config.file={config}", f"--storage.path={folder}/data",
            "--cluster.listen-address=", "--web.route-prefix=/am", f"--web.external-url={url}",
            f"--web.listen-address=127.0.0.1:{port}"], url


class Alertmanager:
    def __init__(self, folder, text=ONE_RECEIVER):
        argv, self.url = command(folder, free_port(), text)
        self._log = open(os.path.join(folder, "am.log"), "wb")
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._log,
                                         stderr=self._log)
        self.wait(lambda: self._get("/-/ready") is not None)

    def _get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    def wait(self, condition, timeout=20):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            assert self._process.poll() is None, "the Alertmanager ended"
            time.sleep(0.05)

    def firing(self, name="PprofExposed"):
        """As it says itself; what is resolved it no longer lists."""
        return [alert for alert in json.loads(self._get("/api/v2/alerts"))
                if alert["labels"]["alertname"] == name]

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@needs_alertmanager
class Real(HttpTest):
    def setUp(self):
        super().setUp()
        os.makedirs(os.path.join(self.folder, "am"))
        self.manager = Alertmanager(os.path.join(self.folder, "am"))
        self.addCleanup(self.manager.close)
        self.seq = 0

    def start(self, **more):
        return self.sender([("am", self.manager.url + "/", {"type": "alertmanager", **more})])

    def tell(self, sender, kind, **more):
        self.seq += 1
        sender.send(self.seq, event(kind, self.seq, **more))
        results = sender.results(until=self.seq)
        self.assertEqual([r.outcome for r in results], ["delivered"], results)
        return results[-1]

    def test_fires_while_it_is_open_and_is_resolved_when_it_closes(self):
        sender = self.start()
        self.assertEqual(self.tell(sender, "opened").status, 200)
        alert, = self.manager.firing()
        self.assertEqual(alert["labels"], {
            "alertname": "PprofExposed", "severity": "high", "product": "node_exporter",
            "rule": "default", "instance": "web-3", "endpoint": ENDPOINT})
        self.assertEqual(alert["status"]["state"], "active")
        self.assertEqual(alert["annotations"]["summary"],
                         f"pprofwall: opened: {ENDPOINT} (node_exporter)")
        self.assertIn("HIGH_RISK; action: drop", alert["annotations"]["description"])
        self.assertEqual(alert["annotations"]["evidence"],
                         "index, goroutine-debug2; profiles: heap")
        # The last probe found nothing; the labels are those that fired, all the same.
        self.tell(sender, "closed", finding=CLEAR)
        self.assertEqual(self.manager.firing(), [])

    def test_gone_resolves_it_too(self):
        sender = self.start()
        self.tell(sender, "high_risk")
        self.assertEqual(len(self.manager.firing()), 1)
        self.tell(sender, "gone", finding=None)
        self.assertEqual(self.manager.firing(), [])

    def test_is_refreshed_and_ends_by_itself(self):
        """endsAt is three times `refresh` away, and moves with each repetition."""
        sender = self.start(refresh="10s")
        began = time.time()
        self.tell(sender, "opened")
        first, = self.manager.firing()
        self.assertAlmostEqual(self.seconds(first["endsAt"]), began + 30, delta=5)
        self.manager.wait(lambda: time.time() > began + 1.5)
        self.tell(sender, "refresh")
        second, = self.manager.firing()
        self.assertGreater(self.seconds(second["endsAt"]), self.seconds(first["endsAt"]))
        self.assertEqual(second["fingerprint"], first["fingerprint"])
        self.assertEqual(second["startsAt"], first["startsAt"])

    @staticmethod
    def seconds(text):
        parsed = time.strptime(text.partition(".")[0], "%Y-%m-%dT%H:%M:%S")
        return time.mktime(parsed) - time.timezone

    def test_a_severity_that_rises_is_another_alert(self):
        sender = self.start()
        finding = event("opened", 0)["finding"]
        self.tell(sender, "opened", finding={**finding, "severity": "medium"})
        self.tell(sender, "high_risk")
        alert, = self.manager.firing()
        self.assertEqual(alert["labels"]["severity"], "high")
        # And one that falls is not: nobody is told that it is less bad while it is open.
        self.tell(sender, "refresh", finding={**finding, "severity": "low"})
        self.assertEqual([a["labels"]["severity"] for a in self.manager.firing()], ["high"])
        self.tell(sender, "closed", finding=CLEAR)
        self.assertEqual(self.manager.firing(), [])

    def test_another_sender_resolves_it_after_a_refresh(self):
        """What has fired is not kept on a disk: the next refresh tells it again."""
        first = self.start()
        self.tell(first, "opened")
        second = self.start()
        self.tell(second, "refresh")
        self.assertEqual(len(self.manager.firing()), 1)
        self.tell(second, "closed", finding=CLEAR)
        self.assertEqual(self.manager.firing(), [])

    def test_what_is_of_no_endpoint(self):
        sender = self.start()
        nothing = {"endpoint": None, "finding": None, "breaker": None, "listener": None}
        self.tell(sender, "source_failed", source="prometheus.example", rules=["default"],
                  **nothing)
        alert, = self.manager.firing("PprofwallSourceFailed")
        self.assertEqual(alert["labels"], {
            "alertname": "PprofwallSourceFailed", "severity": "medium", "product": "pprofwall",
            "instance": "web-3", "source": "prometheus.example"})
        self.tell(sender, "source_recovered", source="prometheus.example", rules=["default"],
                  **nothing)
        self.assertEqual(self.manager.firing("PprofwallSourceFailed"), [])
        self.tell(sender, "test", test=True, **nothing)
        self.assertEqual(len(self.manager.firing("PprofwallTest")), 1)

    def test_a_block_without_effect_is_an_alert_of_its_own(self):
        sender = self.start()
        for kind in ("opened", "ineffective"):
            self.tell(sender, kind)
        self.assertEqual(len(self.manager.firing("PprofBlockIneffective")), 1)
        self.tell(sender, "effective")
        self.assertEqual(self.manager.firing("PprofBlockIneffective"), [])
        self.assertEqual(len(self.manager.firing()), 1)
        for kind in ("ineffective", "closed"):
            self.tell(sender, kind)
        self.assertEqual(self.manager.firing("PprofBlockIneffective") + self.manager.firing(), [])

    def test_what_an_alertmanager_does_not_keep_makes_no_request(self):
        sender = self.start()
        self.assertEqual(self.tell(sender, "manual_block").status, 0)
        self.assertEqual(self.manager.firing(), [])

    def test_the_shipped_configuration(self):
        checked = subprocess.run([program("amtool"), "check-config", SHIPPED], text=True,
                                 capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        for labels, receiver in (({"alertname": "PprofExposed", "product": "etcd"}, "pprofwall"),
                                 ({"alertname": "PprofwallTest"}, "pprofwall"),
                                 ({"alertname": "Watchdog"}, "default")):
            found = subprocess.run(
                [program("amtool"), "config", "routes", "test", f"--config.file={SHIPPED}",
                 *(f"{k}={v}" for k, v in labels.items())],
                check=True, text=True, capture_output=True).stdout
            self.assertEqual(found.strip(), receiver)


@needs_alertmanager
class Whole(DaemonTest):
    """From a node_exporter to the Alertmanager and back."""

    PORT = 19093

    def alerts(self):
        text = self.lab.get("127.0.0.1", self.PORT, "/am/api/v2/alerts", namespace="target")[1]
        return json.loads(text)

    def firing(self):
        return [alert["labels"] for alert in self.alerts()]

    def start_firing(self, **more):
        self.exporter = self.lab.serve_node_exporter()
        argv, url = command(self.lab.directory, self.PORT)
        self.lab.process("target", *argv)
        self.lab.wait_port("127.0.0.1", self.PORT)
        config = self.config_of(open_for="1s")
        config["alerts"] = [{"name": "am", "type": "alertmanager", "url": url, **more}]
        self.daemon = self.lab.daemon(config).start()
        wait_until(self.firing, 20 * SLOW, "an alert fires")

    def test_fires_and_is_resolved(self):
        self.start_firing()
        labels, = self.firing()
        self.assertEqual({k: labels[k] for k in ("alertname", "severity", "product", "rule",
                                                 "endpoint")},
                         {"alertname": "PprofExposed", "severity": "high",
                          "product": "node_exporter", "rule": "default",
                          "endpoint": f"{Lab.TARGET}:9100"})
        self.exporter.end()
        self.lab.serve_plain(9100)
        wait_until(lambda: not self.firing(), 20 * SLOW, "it is resolved")

    def test_is_refreshed_and_does_not_outlive_its_agent(self):
        self.start_firing(refresh="10s")
        first, = self.alerts()
        wait_until(lambda: self.alerts()[0]["endsAt"] > first["endsAt"], 15 * SLOW,
                   "its end moves")
        again, = self.alerts()
        self.assertEqual([again[k] for k in ("fingerprint", "startsAt")],
                         [first[k] for k in ("fingerprint", "startsAt")])
        self.daemon.kill_everything()
        died = time.monotonic()
        wait_until(lambda: not self.firing(), 35 + 10 * SLOW, "it has ended")
        # The last that the agent said is no older than its death.
        self.assertLess(time.monotonic() - died, 35)


class Requests(HttpTest):
    """What goes over the wire where a real one would have to be made to fail."""

    def test_what_could_not_be_told_is_told_in_the_next_attempt(self):
        """An end of the old alert is not forgotten because the request failed."""
        answers = {2: status(503)}
        receiver = self.receiver(lambda number, _: answers.get(number, status(200)))
        sender = self.sender([("am", f"http://127.0.0.1:{receiver.port}/{driver.SECRET}",
                               {"type": "alertmanager",
                                "headers": '["Authorization: Basic eDp5"]'})])
        finding = event("opened", 0)["finding"]
        sender.send(1, event("opened", 1, finding={**finding, "severity": "low"}))
        sender.results(until=1)
        sender.send(2, event("reminder", 2))
        sender.results(until=2)
        requests = [receiver.requests.get(timeout=5) for _ in range(3)]
        for request in requests:
            self.assertTrue(request.head.startswith(f"POST /{driver.SECRET}/api/v2/alerts HTTP"))
            self.assertIn("\r\nAuthorization: Basic eDp5\r\n", request.head + "\r\n")
        told = [[(a["labels"]["severity"], "startsAt" in a) for a in json.loads(r.body)]
                for r in requests]
        self.assertEqual(told, [[("low", True)], *[[("low", False), ("high", True)]] * 2])

    def test_the_url_may_be_that_of_the_api(self):
        receiver = self.receiver()
        for seq, path in enumerate(("", "/", "/api/v2/alerts", "/api/v2/alerts/"), 1):
            sender = self.sender([("am", f"http://127.0.0.1:{receiver.port}{path}",
                                   {"type": "alertmanager"})])
            self.deliver(sender, seq, event("opened", seq))
            self.assertIn("POST /api/v2/alerts HTTP", receiver.requests.get(timeout=5).head)

    def test_several_events_are_one_request(self):
        def answer(*_):
            self.released.wait(30)
            return status(200)

        receiver = self.receiver(answer)
        sender = self.sender([("am", f"http://127.0.0.1:{receiver.port}",
                               {"type": "alertmanager"})])
        sender.send(1, event("opened", 1))
        receiver.requests.get(timeout=5)
        for seq in range(2, 52):
            sender.send(seq, event("opened", seq, endpoint=f"10.0.0.7:{seq}"))
        sender.send(52, event("closed", 52, endpoint="10.0.0.7:2", finding=CLEAR))
        self.released.set()
        sender.results(until=52)
        alerts = json.loads(receiver.requests.get(timeout=5).body)
        self.assertEqual(len(alerts), 52)  # an end is one of whatever may fire there
        self.assertEqual(alerts[-2]["labels"], alerts[0]["labels"])
        self.assertEqual(["startsAt" in alert for alert in alerts], [True] * 50 + [False] * 2)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("test_alertmanager.py needs root, to start the sender as the daemon's parent does")
        raise SystemExit(1)
    unittest.main(verbosity=2)
