#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a block would take away besides the profiles: real servers with clients that stay."""
import contextlib
import http.client
import http.server
import json
import threading
import unittest

from lab import HttpServer, Lab, wait_until
from test_daemon import ENDPOINT, SLOW, DaemonTest

ETCD, PROMETHEUS = f"{Lab.TARGET}:2379", f"{Lab.TARGET}:9090"


class Client:
    """A client that keeps its connection, as etcd's and Prometheus's own do."""

    def __init__(self, lab, port, source):
        self.connection = http.client.HTTPConnection(Lab.TARGET, port, timeout=5 * SLOW)
        with lab.inside("client"):
            self.connection.source_address = (source, 0)
            self.connection.connect()
        self.connection.auto_open = 0  # never a second one in secret

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def close(self):
        self.connection.close()


class Pprof:
    """net/http/pprof on a port of its own, as its answers are; and what else is put there."""

    NOT_FOUND = ("text/plain; charset=utf-8", "404 page not found\n")

    def __init__(self, lab, port=9100):
        self.pages = {
            "/debug/pprof/": ("text/html; charset=utf-8", "<html>\n<head>\n<title>/debug/pprof/"
                              "</title>\n</head>\n<td>3</td><td><a href='goroutine?debug=1'>"
                              "goroutine</a></td>\n<a href=\"goroutine?debug=2\">full goroutine "
                              "stack dump</a>\n"),
            "/debug/pprof/symbol": ("text/plain; charset=utf-8", "num_symbols: 1\n"),
            "/debug/pprof/cmdline": ("text/plain; charset=utf-8", "/usr/bin/unheard-of"),
            "/debug/pprof/goroutine?debug=2": (
                "text/plain; charset=utf-8",
                "goroutine 22 [running]:\nruntime/pprof.writeGoroutineStacks()\n"),
        }
        pages = self.pages

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802, the library's name
                kind, text = pages.get(self.path, Pprof.NOT_FOUND)
                self.send_response(200 if self.path in pages else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        with lab.inside("target"):
            self._server = HttpServer((Lab.TARGET, port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class BlastRadius(DaemonTest):
    def client(self, port, source=Lab.STRANGER):
        client = Client(self.lab, port, source)
        self.addCleanup(client.close)
        return client

    def use(self, etcd, prometheus):
        """What such clients do all day."""
        key = {"key": "aw==", "value": "dg=="}
        self.assertEqual(etcd.ask("POST", "/v3/kv/put", json.dumps(key))[0], 200)
        status, text = etcd.ask("POST", "/v3/kv/range", json.dumps({"key": "aw=="}))
        self.assertEqual((status, json.loads(text)["kvs"][0]["value"]), (200, "dg=="))
        status, text = prometheus.ask("GET", "/api/v1/query?query=1")
        self.assertEqual((status, json.loads(text)["status"]), (200, "success"))

    def serve(self):
        self.lab.serve_etcd(2379, enable_pprof=True)
        self.lab.serve_prometheus(9090)
        # They listen before they serve.
        for port, path in ((2379, "/health"), (9090, "/-/ready")):
            wait_until(lambda p=port, q=path: self.lab.get(
                Lab.TARGET, p, q, source=Lab.ALLOWED)[0] == 200, 20 * SLOW, f"{port} is ready")

    def start_all(self, allow=(), **rule):
        self.serve()
        self.hook = self.lab.webhook()
        breakers = self.config_of(allow_from=list(allow), **rule)["breakers"]
        self.etcd, self.prometheus = self.client(2379), self.client(9090)
        self.use(self.etcd, self.prometheus)
        self.start(scan={"targets": [ETCD, PROMETHEUS]}, breakers=breakers)
        for endpoint in (ETCD, PROMETHEUS):
            self.wait_open(endpoint)

    def wait_opened(self):
        """{endpoint: event} of both."""
        found = {}
        while len(found) < 2:
            event = self.hook.wait_event("opened", 10 * SLOW)
            found[event["endpoint"]] = event
        return found

    def assert_cut(self, client):
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.fail(f"it was answered: {client.ask('GET', '/metrics')}")

    def test_a_default_rule_alerts_and_cuts_nobody(self):
        self.start_all(open_for="1s")
        expected = {ETCD: "metrics and api", PROMETHEUS: "metrics, api and ui"}
        for endpoint, event in self.wait_opened().items():
            reason = (f"the port also serves {expected[endpoint]}; name allow_from, or set "
                      "whole_port, in breaker default")
            self.assertEqual((event["mode"], event["action"], event["reason"]),
                             ("enforce", "alert", reason))
            self.assertIn("; not blocked: the port also serves", event["text"])
            self.assertEqual(" ".join(event["finding"]["serves"]),
                             expected[endpoint].replace(",", "").replace(" and", ""))
            status = self.status(endpoint)
            self.assertEqual((status["state"], status["action"], status["action_reason"],
                              status["serves"], status["blocked"]),
                             ("open", "alert", reason, expected[endpoint], False))
        self.wait_probes(4)
        self.use(self.etcd, self.prometheus)
        self.use(self.client(2379), self.client(9090))
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)

    def test_a_restart_cuts_nobody(self):
        self.start_all(open_for="1s")
        self.daemon.kill_everything()
        self.daemon.start()
        self.wait_probes(4)
        self.use(self.etcd, self.prometheus)
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)
        self.assertEqual(self.daemon.ctl_json("blocks")["blocks"], [])

    def test_whole_port_cuts_all(self):
        self.start_all(whole_port=True)
        for event in self.wait_opened().values():
            self.assertEqual((event["action"], event["reason"]), ("drop", None))
        self.assertTrue(self.refused(port=2379) and self.refused(port=9090))
        self.assert_cut(self.etcd)
        self.assert_cut(self.prometheus)

    def test_those_in_allow_from_go_on(self):
        self.serve()
        etcd, prometheus = (self.client(port, Lab.ALLOWED) for port in (2379, 9090))
        strangers = self.client(2379), self.client(9090)
        self.use(*strangers)
        self.start(scan={"targets": [ETCD, PROMETHEUS]})
        for endpoint in (ETCD, PROMETHEUS):
            self.wait_open(endpoint)
            wait_until(lambda e=endpoint: self.status(e)["blocked"], 10 * SLOW, "blocked")
        self.use(etcd, prometheus)
        self.assertTrue(self.refused(port=2379) and self.refused(port=9090))
        for client in strangers:
            self.assert_cut(client)

    def test_a_port_for_profiles_alone_is_blocked(self):
        server = Pprof(self.lab)
        self.addCleanup(server.close)
        self.start(breakers=self.config_of(allow_from=[])["breakers"])
        self.wait_open()
        wait_until(self.refused, 10 * SLOW, "blocked")
        self.assertEqual(self.status(ENDPOINT)["serves"], "")

    def test_what_turns_up_later_opens_the_wall(self):
        server = Pprof(self.lab)
        self.addCleanup(server.close)
        hook = self.lab.webhook()
        self.start(breakers=self.config_of(allow_from=[], open_for="1s")["breakers"])
        self.assertEqual(hook.wait_event("opened", 10 * SLOW)["action"], "drop")
        server.pages["/metrics"] = ("text/plain; version=0.0.4", "up 1\n")
        event = hook.wait_event("reminder", 20 * SLOW)
        self.assertEqual((event["action"], event["breaker"]["state"]), ("alert", "open"))
        self.assertIn("also serves metrics", event["reason"])
        self.assertFalse(self.refused())
        # Once is enough: a probe that does not see it again closes nothing.
        del server.pages["/metrics"]
        self.wait_probes(4)
        self.assertFalse(self.refused())

    def test_a_reload_takes_the_block_and_gives_it_back(self):
        self.start_tripped(breakers=self.config_of(allow_from=[], whole_port=True)["breakers"])
        wait_until(self.refused, 10 * SLOW, "blocked")
        self.daemon.write_config(self.config_of(allow_from=[]))
        self.daemon.ctl("reload")
        wait_until(lambda: not self.refused(), 10 * SLOW, "no longer blocked")
        self.assertEqual(self.status(ENDPOINT)["action"], "alert")
        self.daemon.write_config(self.config_of(allow_from=[], whole_port=True))
        self.daemon.ctl("reload")
        wait_until(self.refused, 10 * SLOW, "blocked again")

    def test_a_persons_word_is_not_degraded(self):
        self.lab.serve_node_exporter()
        self.start(breakers=self.config_of(allow_from=[])["breakers"])
        self.wait_open()
        self.assert_open_to_all()
        self.daemon.ctl("block", ENDPOINT, "--reason", "SEC-1")
        self.assertTrue(self.refused())


if __name__ == "__main__":
    unittest.main(verbosity=2)
