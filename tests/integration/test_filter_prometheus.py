#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Prometheus scrapes a real node_exporter every second while a filter comes, is reloaded,
dies and goes. What it says of its own scrapes decides."""
import json
import os
import signal
import time
import unittest
import urllib.parse

from lab import Lab, parse_metrics, server_program, wait_until
from test_daemon import SLOW, DaemonTest

PORT = 9090
JOB = "node"
FILTER = {"name": "exporters", "match": {"ports": [9100]}, "drain": "3s"}


class Prometheus:
    """In the clients' namespace, and in nobody's allow_from."""

    def __init__(self, lab):
        self.lab = lab
        path = os.path.join(lab.directory, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
                       "scrape_configs": [{"job_name": JOB, "static_configs": [
                           {"targets": [f"{Lab.TARGET}:9100"]}]}]}, file)
        self.process = lab.process(
            "client", server_program("prometheus"), f"--config.file={path}",
            f"--storage.tsdb.path={lab.directory}/tsdb", f"--web.listen-address=127.0.0.1:{PORT}")
        lab.wait_port("127.0.0.1", PORT, "client", process=self.process)
        wait_until(lambda: self.ask("/-/ready")[0] == 200, 30, "Prometheus is ready")
        self.wait_scrapes(3)

    def ask(self, path):
        return self.lab.get("127.0.0.1", PORT, path, namespace="client")

    def scrapes(self, since=0.0, series="up"):
        """[(when, value)] of its own series, the raw samples."""
        query = urllib.parse.urlencode({"query": f'{series}{{job="{JOB}"}}[10m]'})
        found = json.loads(self.ask(f"/api/v1/query?{query}")[1])["data"]["result"]
        return [(at, float(value)) for at, value in (found[0]["values"] if found else [])
                if at >= since]

    def wait_scrapes(self, more):
        """That began after now, whatever became of them."""
        since = time.time()
        wait_until(lambda: len(self.scrapes(since)) >= more, 30 + 2 * more, f"{more} scrapes")

    def failed_dials(self):
        return sum(value for labels, value in
                   parse_metrics(self.ask("/metrics")[1])["net_conntrack_dialer_conn_failed_total"]
                   if labels["dialer_name"] == JOB)


class ScrapedTest(DaemonTest):
    def config(self, **changes):
        return self.lab.config(**{"breakers": [{"name": "told", "action": "alert"}], **changes})

    def start_scraped(self, **changes):
        self.lab.serve_node_exporter()
        self.daemon = self.lab.daemon(self.config(**changes)).start()
        self.prometheus = Prometheus(self.lab)

    def reload(self, **changes):
        self.daemon.write_config(self.config(**changes))
        self.daemon.ctl("reload")

    def answer(self, path):
        """What a stranger gets; 0 for a connection that comes to nothing."""
        try:
            return self.lab.get(Lab.TARGET, 9100, path, source=Lab.STRANGER)[0]
        except OSError:
            return 0

    def wait_answer(self, status):
        wait_until(lambda: self.answer("/debug/pprof/") == status, 20,
                   f"/debug/pprof/ is answered by {status}")

    def check(self, since, what):
        """No scrape since then has failed, and none is missing."""
        now = time.time()
        ups = self.prometheus.scrapes(since)
        print(f"{what}: {len(ups)} scrapes in {now - since:.1f} s, "
              f"{sum(up == 0 for _, up in ups)} failed", flush=True)
        self.assertGreaterEqual(len(ups), int(now - since) - 1, what)
        self.assertEqual([at - since for at, up in ups if up != 1], [], f"{what}: failed at")
        samples = self.prometheus.scrapes(since, "scrape_samples_scraped")
        self.assertGreater(min(value for _, value in samples), 100)


class Switching(ScrapedTest):
    def test_no_scrape_fails_as_a_filter_comes_and_goes(self):
        self.start_scraped()
        self.assertEqual(self.answer("/debug/pprof/"), 200)

        begin = time.time()
        self.reload(filters=[FILTER])
        self.wait_answer(403)
        # Past the end of the connection that Prometheus had before.
        self.prometheus.wait_scrapes(7)
        self.assertEqual(self.answer("/metrics"), 200)
        self.check(begin, "switched on")

        begin = time.time()
        for count in range(3):
            self.reload(filters=[{**FILTER, "deny": ["/debug", f"/x{count}"]}])
            self.prometheus.wait_scrapes(2)
        self.assertEqual(self.answer("/debug/pprof/"), 403)
        self.check(begin, "reloaded")

        begin = time.time()
        self.reload(filters=[FILTER, {"name": "other", "match": {"ports": [9200]}}])
        self.prometheus.wait_scrapes(2)
        self.reload(filters=[FILTER])
        self.prometheus.wait_scrapes(2)
        self.assertEqual(self.answer("/debug/pprof/"), 403)
        self.check(begin, "another rule beside it")
        self.assertEqual(self.prometheus.failed_dials(), 0)

        begin = time.time()
        self.reload()
        self.wait_answer(200)
        self.prometheus.wait_scrapes(6)
        self.check(begin, "switched off")
        self.assertEqual(self.prometheus.failed_dials(), 0)

    def test_the_service_may_be_stopped_and_started(self):
        self.start_scraped(filters=[FILTER], on_stop="remove")
        self.wait_answer(403)
        self.prometheus.wait_scrapes(5)
        begin = time.time()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.answer("/debug/pprof/"), 200)
        self.prometheus.wait_scrapes(3)
        self.daemon.start()
        self.wait_answer(403)
        self.prometheus.wait_scrapes(6)
        self.check(begin, "stopped and started")


class Failing(ScrapedTest):
    def replace_filter(self, number):
        """A signal to the filter right after a scrape; returns since when it answers again."""
        self.prometheus.wait_scrapes(1)
        old = self.daemon.child("filter")
        begin = time.time()
        os.kill(old, number)
        wait_until(lambda: self.daemon.children().get("filter") not in (None, old), 20,
                   "another filter")
        self.wait_answer(403)
        return begin, time.time()

    def test_a_killed_filter_costs_a_scrape_at_most(self):
        self.start_scraped(filters=[FILTER])
        self.wait_answer(403)
        self.prometheus.wait_scrapes(5)
        for count in range(3):
            begin, back = self.replace_filter(signal.SIGKILL)
            self.prometheus.wait_scrapes(3)
            failed = [up for _, up in self.prometheus.scrapes(begin) if up != 1]
            print(f"killed: answers again after {back - begin:.2f} s, {len(failed)} failed",
                  flush=True)
            # It is started again later each time.
            self.assertLessEqual(len(failed), 1 + count)
            self.check(back, "restarted")

    def test_one_that_hangs_is_replaced(self):
        self.start_scraped(filters=[FILTER])
        self.wait_answer(403)
        self.prometheus.wait_scrapes(5)
        begin, back = self.replace_filter(signal.SIGSTOP)
        self.prometheus.wait_scrapes(3)
        failed = [at for at, up in self.prometheus.scrapes(begin) if up != 1]
        print(f"stopped: answers again after {back - begin:.2f} s, {len(failed)} failed",
              flush=True)
        self.assertLess(back - begin, 10 * SLOW)
        self.check(back, "replaced")

    def test_where_it_fails_open_a_dead_or_hanging_one_costs_nothing(self):
        self.start_scraped(filters=[{**FILTER, "on_failure": "open"}])
        self.wait_answer(403)
        self.prometheus.wait_scrapes(5)
        begin, back = self.replace_filter(signal.SIGKILL)
        self.prometheus.wait_scrapes(2)
        print(f"killed: filtered again after {back - begin:.2f} s", flush=True)
        self.check(begin, "killed, and open")
        # Who is connected to one that hangs waits with it; a new connection goes past it.
        begin, back = self.replace_filter(signal.SIGSTOP)
        self.prometheus.wait_scrapes(3)
        print(f"stopped: filtered again after {back - begin:.2f} s", flush=True)
        self.check(back, "stopped, and open")


if __name__ == "__main__":
    unittest.main(verbosity=2)
