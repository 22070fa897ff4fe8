#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A filter as its users see it: when it comes and goes, what is told of it, what is counted."""
import http.client
import os
import signal
import ssl
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certificates import Authority  # noqa: E402
from lab import Lab, server_program, wait_until  # noqa: E402
from test_daemon import ENDPOINT, SLOW, DaemonTest  # noqa: E402

PROFILES = "/debug/pprof/"
STANDING = {"name": "front", "match": {"ports": [9100]}, "allow_from": [Lab.ALLOWED]}


class FilterTest(DaemonTest):
    def ask(self, path, source=Lab.STRANGER):
        return self.lab.get(Lab.TARGET, 9100, path, source=source)[0]

    def wait_action(self, action, timeout=15):
        wait_until(lambda: self.status(ENDPOINT)["action"] == action, timeout * SLOW,
                   f"the action is {action}", interval=0.05)
        return self.status(ENDPOINT)

    def wait_answer(self, answer, path, source=Lab.STRANGER):
        def answered():
            try:
                return self.ask(path, source) == answer
            except OSError:
                return False
        wait_until(answered, 10 * SLOW, f"{path} is answered {answer}")

    def assert_filtered(self):
        self.wait_answer(403, PROFILES)
        self.assertEqual(self.ask("/metrics"), 200)
        self.assertEqual(self.ask(PROFILES, source=Lab.ALLOWED), 200)

    def wait_verified(self):
        wait_until(lambda: (self.status(ENDPOINT)["wall"] or {}).get("state") == "verified",
                   20 * SLOW, "a stranger was not served profiling", interval=0.1)

    def start_filtered(self, **rule):
        config = self.config_of(action="filter", **rule)
        self.lab.serve_node_exporter()
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(config).start()
        self.wait_action("filter")
        return self.daemon

    def start_standing(self, **changes):
        return self.start(filters=[STANDING], **changes)


class Rule(FilterTest):
    def test_profiling_goes_and_metrics_stay(self):
        daemon = self.start_filtered()
        event = self.hook.wait_event("opened")
        self.assertEqual(event["action"], "filter")
        self.assertIn("the port is filtered: profiling is refused, and the rest, such as "
                      "/metrics, goes on", event["text"])
        self.assertNotIn("cut off", event["text"])
        self.assert_filtered()
        self.wait_verified()
        self.assertEqual(daemon.http("/readyz")[0], 200)
        self.assertEqual([(b["endpoint"], b["action"])
                          for b in daemon.ctl_json("blocks")["blocks"]], [(ENDPOINT, "filter")])
        self.assertEqual(daemon.ctl_json("impact", ENDPOINT)["endpoints"][0]["cut"], 0)
        self.assertIn("1 filtered", daemon.ctl("status").stdout)

    def test_a_rule_by_a_file(self):
        path = os.path.join(self.lab.directory, "allowed.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{Lab.ALLOWED}\n")
        os.chmod(path, 0o644)
        self.start_filtered(allow_from=["@" + path])
        self.assert_filtered()

    def test_a_server_is_restarted_behind_it(self):
        """Its clients' connections have its address and port, and are the filter's."""
        server = self.lab.serve_node_exporter()
        self.daemon = self.lab.daemon(self.config_of(action="filter")).start()
        self.wait_action("filter")
        self.wait_answer(403, PROFILES)
        client = self.lab.connect(Lab.TARGET, 9100, source=Lab.STRANGER)
        self.addCleanup(client.close)
        request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        client.sendall(request)
        self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 200"))
        server.end()
        self.lab.serve_node_exporter()
        self.assert_filtered()

    def test_who_is_refused_is_counted_and_told_to_who_asks(self):
        siem = self.lab.webhook(9998)
        self.hook = self.lab.webhook()
        self.lab.serve_node_exporter()
        config = self.config_of(action="filter")
        config["alerts"].append({"name": "siem", "type": "webhook",
                                 "url": "http://127.0.0.1:9998/",
                                 "match": {"events": ["denied"]}})
        daemon = self.daemon = self.lab.daemon(config).start()
        self.wait_action("filter")
        self.wait_answer(403, PROFILES)
        event = siem.wait_event("denied")
        denied = event["denied"]
        self.assertEqual((event["endpoint"], denied["client"], denied["reason"]),
                         (ENDPOINT, Lab.STRANGER, "path"))
        self.assertTrue(denied["path"].startswith("/debug/pprof"), denied)
        self.assertEqual(self.hook.wait_event("opened")["event"], "opened")
        self.assertTrue(all(e["event"] != "denied" for e in list(self.hook.events.queue)))
        self.ask("/metrics")
        wait_until(lambda: daemon.metric("pprofwall_filter_requests_total", result="passed") >= 1
                   and daemon.metric("pprofwall_filter_requests_total", result="denied",
                                     reason="path") >= 1, 10 * SLOW, "requests are counted")
        self.assertEqual(daemon.metric("pprofwall_endpoint_filtered", endpoint=ENDPOINT,
                                       rule="default"), 1)
        self.assertGreaterEqual(self.status(ENDPOINT)["denied"], 1)
        story = daemon.ctl("explain", ENDPOINT).stdout
        self.assertRegex(story, rf"filter: \d+ of {Lab.STRANGER} refused \(path\): /debug/pprof")
        self.assertIn("the filter is in the kernel", story)
        self.assertIn("filter     in the kernel", story)

    def test_metrics_are_clean_and_go_on_when_the_process_dies(self):
        daemon = self.start_filtered()
        self.wait_answer(403, PROFILES)

        def denied():
            return daemon.metric("pprofwall_filter_requests_total", result="denied",
                                 reason="path")
        before = wait_until(denied, 10 * SLOW, "a refusal is counted")
        text = daemon.http("/metrics")[1]
        subprocess.run([server_program("promtool"), "check", "metrics"], input=text, text=True,
                       check=True)
        os.kill(daemon.child("filter"), signal.SIGKILL)
        daemon.wait_metric("pprofwall_process_restarts_total", 1, 10 * SLOW, process="filter")
        self.assertGreaterEqual(denied(), before)
        self.wait_answer(403, PROFILES)
        wait_until(lambda: denied() > before, 10 * SLOW, "refusals are added up")
        daemon.wait_metric("pprofwall_process_up", 1, 10 * SLOW, process="filter")


class Standing(FilterTest):
    def test_it_is_there_before_any_breaker_and_alarms_nobody(self):
        self.lab.serve_node_exporter()
        hook, curious = self.lab.webhook(), self.lab.webhook(9998)
        config = self.lab.config(filters=[STANDING])
        config["alerts"].append({"name": "curious", "type": "webhook",
                                 "url": "http://127.0.0.1:9998/",
                                 "match": {"events": ["filtered"]}})
        self.daemon = self.lab.daemon(config).start()
        self.assertEqual(self.wait_action("filter")["rule"], "front")
        self.assert_filtered()
        event = curious.wait_event("filtered", timeout=60 * SLOW)
        self.assertEqual((event["action"], event["breaker"]["name"]), ("filter", "front"))
        self.assertEqual(self.status(ENDPOINT)["state"], "open")
        self.assertEqual(self.status(ENDPOINT)["risk"], "HIGH_RISK")
        self.assertTrue(hook.events.empty(), "nobody else hears of it")

    def test_it_stays_over_a_crash(self):
        self.lab.serve_node_exporter()
        self.start_standing()
        self.wait_action("filter")
        self.assert_filtered()
        self.daemon.kill_everything()
        self.daemon.start()
        self.assertEqual(self.status(ENDPOINT)["action"], "filter")
        self.assert_filtered()

    def test_it_stays_over_a_restart_and_is_known_by_its_process(self):
        """At once, before the inventory has said whose the port is."""
        self.lab.serve_node_exporter()
        front = {**STANDING, "match": {"process": ["prometheus-node*"]}}
        daemon = self.start(filters=[front], scan={"listeners": True, "targets": []})
        self.wait_action("filter")
        self.assert_filtered()
        daemon.stop()
        daemon.start()
        self.assertEqual(self.status(ENDPOINT)["action"], "filter")
        self.assert_filtered()
        self.wait_verified()

    def test_people_and_panic_come_before_it(self):
        self.lab.serve_node_exporter()
        daemon = self.start_standing()
        self.wait_action("filter")
        self.assert_filtered()
        daemon.ctl("block", ENDPOINT, "--for", "1h", "--reason", "test")
        self.assertEqual(self.status(ENDPOINT)["action"], "drop")
        self.assertTrue(self.refused())
        daemon.ctl("unblock", ENDPOINT, "--for", "2s", "--reason", "test")
        self.wait_answer(200, PROFILES)
        self.wait_action("filter")  # when the two seconds are over
        self.assert_filtered()
        daemon.ctl("panic", "--reason", "test")
        self.assertEqual(self.ask(PROFILES), 200)
        daemon.ctl("resume")
        self.wait_action("filter")
        self.assert_filtered()

    def test_observing_it_is_only_said(self):
        self.lab.serve_node_exporter()
        self.start_standing(mode="observe")
        self.wait_action("observe")
        self.assertEqual(self.ask(PROFILES), 200)

    def test_taken_out_of_the_configuration_it_goes(self):
        self.lab.serve_node_exporter()
        self.start_standing()
        self.wait_action("filter")
        self.assert_filtered()
        config = self.lab.config(breakers=[{"name": "told", "action": "alert"}])
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        self.wait_answer(200, PROFILES)


class Tls(FilterTest):
    """What speaks TLS is never filtered by surprise: its scrape goes on."""

    def serve_tls(self):
        self.authority = Authority(self.lab.directory)
        certificate, key = self.authority.issue("target")
        os.chmod(key, 0o644)
        path = os.path.join(self.lab.directory, "web.yml")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n")
        return self.lab.serve("prometheus-node-exporter",
                              f"--web.listen-address={Lab.TARGET}:9100",
                              f"--web.config.file={path}", port=9100)

    def scrape_tls(self, source=Lab.STRANGER, path="/metrics"):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.check_hostname = False
        with self.lab.inside("client"):
            connection = http.client.HTTPSConnection(Lab.TARGET, 9100, context=context,
                                                     timeout=5, source_address=(source, 0))
            connection.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def test_a_rule_alerts_and_the_scrape_goes_on(self):
        self.serve_tls()
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.config_of(action="filter")).start()
        event = self.hook.wait_event("opened", timeout=20 * SLOW)
        self.assertEqual(event["action"], "alert")
        self.assertIn("it speaks TLS", event["reason"])
        self.assertIn("not blocked: it speaks TLS", event["text"])
        self.assertEqual(self.scrape_tls(), 200)
        self.assertIn("it speaks TLS", self.daemon.ctl("explain", ENDPOINT).stdout)
        self.assertIsNone(self.daemon.metric("pprofwall_endpoint_filtered", endpoint=ENDPOINT))

    def test_a_standing_filter_lets_it_be(self):
        self.serve_tls()
        self.hook = self.lab.webhook()
        self.start_standing()
        self.hook.wait_event("opened", timeout=60 * SLOW)
        self.assertEqual(self.scrape_tls(), 200)
        self.assertIn("it speaks TLS", self.status(ENDPOINT)["action_reason"])

    def test_a_rule_that_falls_back_to_drop(self):
        self.serve_tls()
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.config_of(action="filter", fallback="drop")).start()
        self.assertEqual(self.hook.wait_event("opened", timeout=20 * SLOW)["action"], "drop")
        wait_until(self.refused, 10 * SLOW, "the stranger is refused")
        self.assertEqual(self.scrape_tls(Lab.ALLOWED), 200)

    def test_it_comes_when_the_server_speaks_plainly_and_goes_with_tls(self):
        server = self.serve_tls()
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.config_of(action="filter")).start()
        self.hook.wait_event("opened", timeout=20 * SLOW)
        server.end()
        server = self.lab.serve_node_exporter()
        self.wait_action("filter")
        self.assert_filtered()
        self.hook.wait_event("reminder", action="filter")
        server.end()
        self.serve_tls()
        self.wait_action("alert")
        self.hook.wait_event("reminder", action="alert")
        self.assertEqual(self.scrape_tls(), 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
