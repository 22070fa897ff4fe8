#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter as a process of the service: when it is there, as whom, and what becomes of it."""
import http.server
import os
import signal
import threading
import time
import unittest

from lab import IS_ASAN, Lab, wait_until
from test_daemon import DaemonTest, read_status

FILTER = {"name": "exporters", "match": {"ports": [9100]}}


class Service(DaemonTest):
    def config(self, *filters, **changes):
        return self.lab.config(filters=list(filters), **changes)

    def start_filtered(self):
        self.daemon = self.lab.daemon(self.config(FILTER)).start()
        return self.daemon

    def reload(self, *filters, check=True):
        self.daemon.write_config(self.config(*filters))
        return self.daemon.ctl("reload", check=check)

    def test_it_is_there_only_where_a_rule_filters(self):
        daemon = self.start()
        before = daemon.children()
        self.assertNotIn("filter", before)
        self.reload(FILTER)
        # It has taken the configuration before the reload was over.
        self.assertIn("filter", daemon.children())
        first = daemon.child("filter")
        self.reload(FILTER, {**FILTER, "name": "more"})
        self.assertEqual(daemon.child("filter"), first)
        # What it serves may go on for a while.
        self.reload()
        self.assertEqual(daemon.child("filter"), first)
        self.reload(FILTER)
        self.assertEqual(daemon.child("filter"), first)
        self.assertEqual({**daemon.children(), **before}, daemon.children())
        self.assertEqual(daemon.stop(), 0)

    def test_a_breaker_that_filters_needs_it_too(self):
        config = self.config_of(action="filter")
        self.daemon = self.lab.daemon(config).start()
        self.daemon.child("filter")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertNotIn("killed", self.daemon.output)

    def test_a_refused_reload_leaves_none_behind(self):
        daemon = self.start()
        config = self.config(FILTER)
        config["users"]["prober"] = "64109"  # takes a restart, says the agent
        daemon.write_config(config)
        self.assertNotEqual(daemon.ctl("reload", check=False).returncode, 0)
        wait_until(lambda: "filter" not in daemon.children(), 10, "the filter is gone again")
        daemon.process.wait_line(r"the filter process \(pid \d+\) has ended: nothing is left")
        self.assertNotIn("killed", daemon.output)
        self.reload(FILTER)
        daemon.child("filter")

    def test_it_has_its_uid_and_nothing_else(self):
        pid = self.start_filtered().child("filter")
        status = read_status(pid)
        for name in ("Uid", "Gid"):
            self.assertEqual(status[name].split(), ["64108"] * 4)
        self.assertEqual(status["Groups"].split(), [])
        for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "0" if IS_ASAN else "2")
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        self.assertFalse([x for x in links if self.lab.directory in x or x.endswith(".yaml")])

    def test_a_killed_one_is_back_at_once(self):
        daemon = self.start_filtered()
        others = {role: pid for role, pid in daemon.children().items() if role != "filter"}
        old = daemon.child("filter")
        os.kill(old, signal.SIGKILL)
        begin = time.monotonic()
        daemon.process.wait_line(r"the filter process is back \(pid \d+\)")
        self.assertLess(time.monotonic() - begin, 1 if not IS_ASAN else 10)
        new = daemon.child("filter")
        self.assertNotEqual(new, old)
        self.assertEqual(read_status(new)["Uid"].split()[0], "64108")
        self.assertEqual({**daemon.children(), **others}, daemon.children())
        self.reload(FILTER, {**FILTER, "name": "more"})
        self.assertEqual(daemon.child("filter"), new)

    def test_a_reload_does_not_wait_for_one_that_hangs(self):
        daemon = self.start_filtered()
        old = daemon.child("filter")
        os.kill(old, signal.SIGSTOP)
        self.reload(FILTER, {**FILTER, "name": "more"})
        wait_until(lambda: daemon.children().get("filter") not in (None, old), 20,
                   "another filter")
        self.assertEqual(self.lab.get("127.0.0.1", 9464, "/healthz", namespace="target")[0], 200)

    def test_without_a_rule_it_ends_a_minute_later(self):
        daemon = self.start_filtered()
        pid = daemon.child("filter")
        self.reload()
        begin = time.monotonic()
        daemon.process.wait_line(rf"the filter process \(pid {pid}\) has ended", timeout=90)
        self.assertGreater(time.monotonic() - begin, 50)
        self.assertNotIn("filter", daemon.children())
        daemon.wait_ready()
        self.reload(FILTER)
        self.assertNotEqual(daemon.child("filter"), pid)
        self.assertNotIn("killed", daemon.output)

    def test_who_else_uses_our_mark_ends_the_start_in_words(self):
        self.lab.run("target", "ip", "rule", "add", "fwmark", "0x60000000/0xf0000000",
                     "lookup", "100")
        daemon = self.lab.daemon(self.config(FILTER)).start(ready=False)
        self.assertGreater(daemon.process.wait(20), 0)
        self.assertRegex(daemon.output, "rule of preference [0-9]+ of another program asks for "
                                        "fwmark 0x60000000/0xf0000000, and firewall.mark_mask")
        # Without a rule that filters it is nobody's business.
        daemon.write_config(self.config())
        daemon.start()
        daemon.write_config(self.config(FILTER))
        self.assertIn("mark_mask", daemon.ctl("reload", check=False).stderr)
        daemon.write_config(self.config(FILTER, firewall={"mark": 0x01000000,
                                                          "mark_mask": 0x0f000000}))
        self.assertEqual(daemon.stop(), 0)
        daemon.start()
        daemon.child("filter")

    def test_it_comes_back_after_the_service_was_killed(self):
        daemon = self.start_filtered()
        daemon.kill_everything()
        daemon.start()
        daemon.child("filter")
        self.assertEqual(daemon.stop(), 0)


class Ending(DaemonTest):
    """Of the service, with a request under way."""

    FILTER = {"name": "slow", "match": {"ports": [9300]}}

    def setUp(self):
        super().setUp()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.addCleanup(self.answer.set)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802, the library's name
                if self.path == "/slow":
                    outer.asked.set()
                    outer.answer.wait(20)
                self.send_response(200)
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"done\n")

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass

        with self.lab.inside("target"):
            server = Server((Lab.TARGET, 9300), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def start_slow(self, **changes):
        config = self.lab.config(filters=[self.FILTER], **changes)
        config["scan"]["targets"] = [f"{Lab.TARGET}:9300"]
        self.daemon = self.lab.daemon(config).start()
        wait_until(lambda: self.get("/debug/pprof/")[0] == 403, 20, "it is filtered")

    def get(self, path, timeout=20):
        return self.lab.get(Lab.TARGET, 9300, path, source=Lab.STRANGER, timeout=timeout)

    def ask_slowly(self):
        """A thread with a request that the server has and has not answered."""
        got = []
        thread = threading.Thread(target=lambda: got.append(self.get("/slow")), daemon=True)
        thread.start()
        self.assertTrue(self.asked.wait(20))
        return thread, got

    def check_answered(self, thread, got):
        self.answer.set()
        thread.join(20)
        self.assertEqual(got, [(200, "done\n")])

    def test_a_request_under_way_is_finished_when_the_service_stops(self):
        self.start_slow(on_stop="remove")
        thread, got = self.ask_slowly()
        self.daemon.process.signal(signal.SIGTERM)
        # The firewall has ended, and its rules with it; the filter waits for its request.
        wait_until(lambda: "firewall" not in self.daemon.children(), 20, "the firewall has ended")
        self.check_answered(thread, got)
        self.assertEqual(self.daemon.process.wait(20), 0)
        self.assertEqual(self.get("/debug/pprof/")[0], 200)

    def test_a_panic_lets_all_through_and_cuts_nobody(self):
        self.start_slow()
        thread, got = self.ask_slowly()
        self.daemon.ctl("panic", "--reason", "test")
        self.assertEqual(self.get("/debug/pprof/")[0], 200)
        self.check_answered(thread, got)
        self.daemon.ctl("resume", "--reason", "test")
        wait_until(lambda: self.get("/debug/pprof/")[0] == 403, 20, "it is filtered again")

    def test_a_rule_that_goes_cuts_nobody(self):
        self.start_slow()
        thread, got = self.ask_slowly()
        config = self.lab.config()
        config["scan"]["targets"] = [f"{Lab.TARGET}:9300"]
        self.daemon.write_config(config)
        self.daemon.ctl("reload")
        wait_until(lambda: self.get("/debug/pprof/")[0] == 200, 20, "it is filtered no more")
        self.check_answered(thread, got)


if __name__ == "__main__":
    unittest.main(verbosity=2)
