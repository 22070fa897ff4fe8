#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is told of what, and when: the daemon with several sinks, in network namespaces (lab.py)."""
import os
import time
import unittest

from lab import Lab, wait_until
from test_daemon import ENDPOINT, SLOW, DaemonTest

OTHER = f"{Lab.TARGET}:9200"


def told(hook):
    """What was taken, once each: who is killed in between tells it again under the same id."""
    return list({event["id"]: event for answer, _, event in hook.requests
                 if answer == 200}.values())


def events_of(hook):
    return [event["event"] for event in told(hook)]


class RoutingTest(DaemonTest):
    """Each sink has a receiver of its own."""

    def start_with(self, sinks, rule=None, **changes):
        """sinks: {name: {key: value}}; returns their receivers."""
        hooks, alerts = {}, []
        for port, (name, keys) in enumerate(sinks.items(), 9900):
            hooks[name] = self.lab.webhook(port)
            alerts.append({"name": name, "type": "webhook", "url": f"http://127.0.0.1:{port}/",
                           **keys})
        breakers = self.config_of(**(rule or {}))["breakers"]
        self.start(alerts=alerts, breakers=breakers, **changes)
        return hooks

    def restart(self):
        self.daemon.kill_everything()
        self.daemon.start()


class Match(RoutingTest):
    def test_a_sink_hears_what_it_asks_for(self):
        exporter = self.lab.serve_node_exporter()
        hooks = self.start_with({
            "all": {},
            "port": {"match": {"ports": ["9100-9200"], "severity": "medium"}},
            "other-port": {"match": {"ports": [80]}},
            "net": {"match": {"addresses": ["10.91.0.0/24"], "events": ["gone", "closed"]}},
            "process": {"match": {"process": ["node_*", "prometheus-node-*"]}},
        }, {"open_for": "2s"})
        hooks["all"].wait_event("opened", timeout=15 * SLOW)
        exporter.end()
        hooks["all"].wait_event("gone", timeout=60 * SLOW)
        hooks["net"].wait_event("gone")
        hooks["port"].wait_event("gone")
        self.assertEqual(events_of(hooks["all"]), events_of(hooks["port"]))
        self.assertEqual(events_of(hooks["net"]), ["gone"])
        self.assertEqual(events_of(hooks["other-port"]), [])
        # A target is no listener of this host: nobody knows its process.
        self.assertEqual(events_of(hooks["process"]), [])


    def test_a_reload_changes_who_is_told(self):
        hooks = self.start_with({"one": {"match": {"ports": [9200]}},
                                 "two": {"match": {"ports": [80]}}})
        self.daemon.ctl("block", OTHER, "--reason", "first")
        hooks["one"].wait_event("manual_block")
        config = self.daemon.config
        for alert in config["alerts"]:
            alert["match"]["ports"] = [9280 - alert["match"]["ports"][0]]
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        self.daemon.ctl("block", OTHER, "--reason", "second")
        self.assertEqual(hooks["two"].wait_event()["reason"], "second")
        self.assertEqual([event["reason"] for event in told(hooks["one"])], ["first"])


class QuietHours(RoutingTest):
    @staticmethod
    def until_next(minutes):
        """Quiet from a minute ago until so many minutes from now, by the clock on the wall."""
        now = time.time()
        end = (now // 60 + minutes) * 60
        return ["-".join(time.strftime("%H:%M", time.localtime(t)) for t in (now - 60, end))], end

    def test_what_happens_in_quiet_hours_is_told_when_they_end(self):
        """Held over a kill, longer than give_up_after, and then in order."""
        self.lab.serve_node_exporter()
        self.lab.serve_node_exporter(port=9200)
        hours, end = self.until_next(1 if time.time() % 60 < 15 and SLOW == 1 else 2)
        hooks = self.start_with(
            {"all": {}, "night": {"quiet_hours": hours, "quiet_except": "none",
                                  "give_up_after": "20s"},
             "grave": {"quiet_hours": hours}},
            scan={"targets": [ENDPOINT, OTHER]})
        for hook in (hooks["all"], hooks["grave"]):
            heard = {hook.wait_event("opened", timeout=15 * SLOW)["endpoint"] for _ in range(2)}
            self.assertEqual(heard, {ENDPOINT, OTHER})
        self.restart()
        answers = iter([503, 503])
        hooks["night"].answer = lambda: next(answers, 200)
        self.daemon.ctl("unblock", OTHER, "--reason", "test")
        hooks["all"].wait_event("manual_unblock", endpoint=OTHER)
        self.assertEqual(events_of(hooks["night"]), [])
        until = {sink["name"]: sink["quiet_until"]
                 for sink in self.daemon.ctl_json("status")["alerts"]["sinks"]}
        end_text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        self.assertEqual(until, {"all": None, "night": end_text, "grave": end_text})
        self.assertLess(time.time(), end, "the test was too slow for its own quiet hours")
        hooks["night"].wait_event("manual_unblock", timeout=end - time.time() + 20 * SLOW)
        self.assertGreaterEqual(time.time(), end)
        for endpoint in (ENDPOINT, OTHER):
            self.assertEqual(*([event["id"] for event in told(hooks[name])
                                if event["endpoint"] == endpoint] for name in ("all", "night")))


class Acknowledged(RoutingTest):
    PAGER = {"escalate_after": "3s"}

    def ack_of(self, endpoint=ENDPOINT):
        return self.status(endpoint)["ack_who"]

    def test_nobody_on_it_is_escalated_once(self):
        exporter = self.lab.serve_node_exporter()
        hooks = self.start_with({"chat": {}, "pager": self.PAGER}, {"open_for": "5s"})
        opened = hooks["chat"].wait_event("opened", timeout=15 * SLOW)
        escalated = hooks["pager"].wait_event("escalated", timeout=15 * SLOW)
        self.assertEqual(escalated["finding"]["verdict"], "confirmed")
        self.assertEqual(escalated["breaker"]["opened"], opened["breaker"]["opened"])
        self.restart()
        exporter.end()
        hooks["pager"].wait_event("gone", timeout=60 * SLOW)
        self.assertEqual(events_of(hooks["pager"]), ["escalated", "gone"])
        hooks["chat"].wait_event("gone")
        self.assertNotIn("escalated", events_of(hooks["chat"]))

    def test_what_was_due_while_nothing_ran_is_escalated_at_the_start(self):
        self.lab.serve_node_exporter()
        hooks = self.start_with({"chat": {}, "pager": {"escalate_after": "5s"}})
        hooks["chat"].wait_event("opened", timeout=15 * SLOW)
        opened = time.monotonic()
        self.daemon.kill_everything()
        self.assertEqual(events_of(hooks["pager"]), [])
        wait_until(lambda: time.monotonic() - opened > 5, 10, "it is due")
        self.daemon.start()
        hooks["pager"].wait_event("escalated", timeout=10 * SLOW)

    def test_somebody_on_it_silences_reminders_and_escalation(self):
        exporter = self.lab.serve_node_exporter()
        hooks = self.start_with({"chat": {}, "pager": self.PAGER},
                                {"open_for": "1s", "remind_every": "1s"})
        hooks["chat"].wait_event("opened", timeout=15 * SLOW)
        done = self.daemon.ctl("ack", ENDPOINT, "--reason", "ticket 12", "--for", "3h")
        self.assertIn("is acknowledged until", done.stdout)
        event = hooks["chat"].wait_event("acknowledged")
        self.assertEqual(event["reason"], "ticket 12")
        self.assertEqual(event["who"], event["ack"]["who"])
        before = len(events_of(hooks["chat"]))
        self.restart()
        who = self.ack_of()
        self.assertEqual(who, event["who"])
        shown = self.daemon.ctl("explain", ENDPOINT).stdout
        self.assertRegex(shown, r"ack +by .* until 20.*: ticket 12")
        self.assertIn("acknowledged", self.daemon.ctl("status").stdout)
        self.assertIn(who, self.daemon.ctl("blocks").stdout)
        self.assertEqual(self.daemon.ctl_json("blocks")["blocks"][0]["ack_reason"], "ticket 12")
        # Longer than both would take.
        opened = time.monotonic()
        wait_until(lambda: time.monotonic() - opened > 4, 10, "both are due")
        self.wait_probes(3)
        self.assertEqual(events_of(hooks["chat"])[before:], [])
        self.assertEqual(events_of(hooks["pager"]), [])

        self.daemon.ctl("unack", ENDPOINT)
        self.assertIsNone(self.ack_of())
        hooks["pager"].wait_event("escalated", timeout=10 * SLOW)
        hooks["chat"].wait_event("reminder", timeout=15 * SLOW)
        self.daemon.ctl("ack", ENDPOINT)
        hooks["pager"].wait_event("acknowledged")
        exporter.end()
        hooks["pager"].wait_event("gone", timeout=60 * SLOW)
        # It was that exposure's: the next one is nobody's.
        self.lab.serve_node_exporter()
        hooks["chat"].wait_event("opened", timeout=30 * SLOW)
        self.assertIsNone(self.ack_of())
        hooks["pager"].wait_event("escalated", timeout=15 * SLOW)

    def test_for_a_while_ends(self):
        self.lab.serve_node_exporter()
        hooks = self.start_with({"chat": {}, "pager": self.PAGER})
        hooks["chat"].wait_event("opened", timeout=15 * SLOW)
        self.daemon.ctl("ack", ENDPOINT, "--for", "5s")
        acked = time.monotonic()
        hooks["pager"].wait_event("escalated", timeout=20 * SLOW)
        self.assertGreater(time.monotonic() - acked, 4)
        self.assertIsNone(self.ack_of())

    def test_what_cannot_be_acknowledged_is_refused(self):
        self.start_with({"chat": {}})
        done = self.daemon.ctl("ack", ENDPOINT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no breaker is open", done.stderr)
        done = self.daemon.ctl("unack", ENDPOINT, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nobody has acknowledged it", done.stderr)
        for argv in (("ack",), ("ack", "example:80"), ("ack", ENDPOINT, "--for", "0"),
                     ("unack", ENDPOINT, "--reason", "x")):
            self.assertEqual(self.daemon.ctl(*argv, check=False).returncode, 2, argv)


class Refreshed(RoutingTest):
    def test_an_alertmanager_is_told_again_of_what_is_open(self):
        """Without a sound for the others, and no longer once it is closed."""
        exporter = self.lab.serve_node_exporter()
        hooks = self.start_with({"all": {}, "am": {"type": "alertmanager", "refresh": "10s"}},
                                {"open_for": "5s"})
        hooks["all"].wait_event("opened", timeout=15 * SLOW)
        opened = time.time()

        def told_later():
            """What was posted well after that."""
            return [post[0] for _, _, post in hooks["am"].requests
                    if post[0]["endsAt"] > time.strftime("%FT%TZ", time.gmtime(opened + 32))]
        last = wait_until(told_later, 40 * SLOW, "it is told again")[-1]
        first = hooks["am"].requests[0][2][0]
        self.assertEqual(last["labels"], first["labels"])
        self.assertLess(last["startsAt"], last["endsAt"])
        self.assertNotIn("refresh", events_of(hooks["all"]))
        exporter.end()
        hooks["all"].wait_event("gone", timeout=60 * SLOW)
        wait_until(lambda: hooks["am"].requests[-1][2][0].get("startsAt") is None, 10 * SLOW,
                   "resolved")


if __name__ == "__main__":
    os.environ.pop("TZ", None)
    time.tzset()
    unittest.main(verbosity=2)
