#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""deploy/prometheus and deploy/grafana: the rules by promtool's own tests, and every query of rules
and dashboard by a real Prometheus that scrapes a real daemon."""
import json
import os
import pathlib
import re
import time
import unittest
import urllib.parse

import lab as laboratory
from lab import Lab, run, server_program, wait_until

try:
    import yaml
except ImportError as missing:
    raise SystemExit(f"{missing.name} is missing: apt-get install python3-yaml") from missing

SOURCE = pathlib.Path(laboratory.SOURCE_DIR)
RULES = SOURCE / "deploy" / "prometheus" / "pprofwall.rules.yml"
DASHBOARD = SOURCE / "deploy" / "grafana" / "pprofwall.json"
DAY = 86400
# What Grafana puts in.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "1m", "$job": ".*", "$instance": ".*"}
# Nothing of these happens in the test: no reload, no panic, and a sweep of which nothing is known.
MAY_BE_EMPTY = ("pprofwall_sweep_", "changes(pprofwall_config_hash", "pprofwall_ready")
METRIC = re.compile(r"\bpprofwall[_:][a-zA-Z0-9_:]+")


def rules():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def queries():
    """(where it stands, the query as Grafana would send it) of the dashboard."""
    board = dashboard()
    found = [(panel["title"], target["expr"]) for panel in board["panels"]
             for target in panel.get("targets", [])]
    found += [(note["name"], note["expr"]) for note in board["annotations"]["list"]]
    for title, query in found:
        for name, value in VARIABLES.items():
            query = query.replace(name, value)
        yield title, query


class Files(unittest.TestCase):
    def test_rules_pass_their_own_tests(self):
        promtool = server_program("promtool")
        run(promtool, "check", "rules", RULES)
        for test in sorted(RULES.parent.glob("*.test.yml")):
            with self.subTest(test.name):
                run(promtool, "test", "rules", test, cwd=RULES.parent, timeout=200)

    def test_every_alert_has_a_test_and_says_what_to_do(self):
        tests = "".join(path.read_text(encoding="utf-8")
                        for path in RULES.parent.glob("*.test.yml"))
        alerts = [rule for rule in rules() if "alert" in rule]
        self.assertGreater(len(alerts), 12)
        for rule in alerts:
            self.assertRegex(tests, rf"alertname: {rule['alert']}\n\s+exp_alerts")
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_panels_do_not_overlap(self):
        taken = {}
        ids = [panel["id"] for panel in dashboard()["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in dashboard()["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken[x, y] = panel["title"]


class Live(unittest.TestCase):
    """A daemon with an exposure, and a Prometheus with a week behind it."""

    PORT = 9090

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.lab.config(
            scan={"listeners": True}, filters=[{"name": "front", "match": {"ports": [9101]}}]))
        self.daemon.start()

    def expose(self):
        self.lab.serve_node_exporter(port=9101)
        self.lab.serve_node_exporter()
        self.hook.wait_event("opened")
        self.daemon.wait_metric("pprofwall_endpoint_filtered", 1, 30, rule="front")
        self.lab.get(Lab.TARGET, 9101, "/metrics")
        self.lab.is_refused(Lab.TARGET, 9100, source=Lab.STRANGER)

    def remember_a_week(self, data):
        """Medians of the days before, as the recording rules would have left them."""
        names = [rule["record"] for rule in rules() if rule.get("record", "").endswith("median1d")]
        self.assertEqual(len(names), 4)
        end = int(time.time()) // 300 * 300
        lines = []
        for name in names:
            lines += [f"# TYPE {name} gauge"]
            lines += [f'{name}{{job="pprofwall"}} 2 {at}'
                      for at in range(end - 9 * DAY, end - 3 * 3600, 300)]
        path = os.path.join(self.lab.directory, "week.om")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines + ["# EOF", ""]))
        run(server_program("promtool"), "tsdb", "create-blocks-from", "openmetrics", path, data,
            timeout=120)

    def start_prometheus(self):
        data = os.path.join(self.lab.directory, "tsdb")
        os.mkdir(data)
        self.remember_a_week(data)
        quick = yaml.safe_load(RULES.read_text(encoding="utf-8"))
        for group in quick["groups"]:
            group["interval"] = "1s"
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "rule_files": ["rules.yml"],
                  "scrape_configs": [{"job_name": "pprofwall", "static_configs": [
                      {"targets": ["127.0.0.1:9464"]}]}]}
        for name, content in (("rules.yml", quick), ("prometheus.yml", config)):
            with open(os.path.join(self.lab.directory, name), "w", encoding="utf-8") as file:
                yaml.safe_dump(content, file)
        self.lab.serve("prometheus",
                       f"--config.file={self.lab.directory}/prometheus.yml",
                       f"--storage.tsdb.path={data}",
                       f"--web.listen-address=127.0.0.1:{self.PORT}",
                       port=self.PORT, address="127.0.0.1")
        wait_until(lambda: self.get("/-/ready")[0] == 200, 30, "Prometheus is ready")

    def get(self, path):
        return self.lab.get("127.0.0.1", self.PORT, path, namespace="target")

    def ask(self, path, **query):
        status, body = self.get(f"/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(body)
        self.assertEqual((status, answer["status"]), (200, "success"), (query, body[:500]))
        return answer["data"]

    def test_each_query_has_an_answer(self):
        self.start_prometheus()
        # A counter's rise is seen only where there was something to rise from.
        wait_until(lambda: self.ask("query", query="pprofwall_blocks")["result"], 30,
                   "a first scrape")
        self.expose()
        for title, query in queries():
            with self.subTest(title, query=query):
                self.ask("query", query=query)
                if not any(part in query for part in MAY_BE_EMPTY):
                    wait_until(lambda q=query: self.ask("query", query=q)["result"], 60,
                               f"{title}: data for {query}")
        # The rules were evaluated without an error, and the exposure is an alert there.
        groups = self.ask("rules")["groups"]
        broken = [(rule["name"], rule["lastError"]) for group in groups for rule in group["rules"]
                  if rule.get("lastError")]
        self.assertEqual(broken, [])
        wait_until(lambda: "PprofExposureFound" in
                   {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"]},
                   30, "the alert of the exposure")
        base = self.ask("query", query="pprofwall:exposures:baseline7d")["result"]
        self.assertEqual([sample["value"][1] for sample in base], ["2"])

    def test_every_name_is_one_that_we_export(self):
        self.expose()
        known = {re.sub(r"_(bucket|count|sum)$", "", name)
                 for name in self.daemon.metrics()}
        sweep = (SOURCE / "scanner" / "sweep_metrics.c").read_text(encoding="utf-8")
        known |= {f"pprofwall_sweep_last_{name}" for name in
                  re.findall(r'(?:put_\w+|head)\(to, "(\w+)"', sweep)}
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        used = set()
        for text in [rule["expr"] for rule in rules()] + [query for _, query in queries()]:
            used |= set(METRIC.findall(text))
        for name in sorted(used):
            if ":" in name:
                self.assertIn(name, recorded)
            else:
                self.assertIn(re.sub(r"_(bucket|count|sum)$", "", name), known)


if __name__ == "__main__":
    unittest.main(verbosity=2)
