#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a whole, on real servers, in network namespaces (lab.py)."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

from lab import IS_ASAN, Lab, program, run, server_program, wait_until

ENDPOINT = f"{Lab.TARGET}:9100"
ENDPOINT6 = f"[{Lab.TARGET6}]:9100"
# What a sanitizer's build may take longer.
SLOW = 3 if IS_ASAN else 1


class DaemonTest(unittest.TestCase):
    """A Lab for each test, and a node_exporter where a test asks for one."""

    daemon = None  # of a test that is skipped, too

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)

    def run(self, result=None):
        """A failed test shows what the daemon said."""
        outcome = super().run(result)
        if result is not None and self.daemon is not None and self.daemon.process:
            if any(test is self for test, _ in result.failures + result.errors):
                print(f"--- {self.id()}: pprofwalld said\n{self.daemon.output}\n---", flush=True)
        return outcome

    def start(self, ready=True, **changes):
        self.daemon = self.lab.daemon(self.lab.config(**changes))
        return self.daemon.start(ready=ready)

    def config_of(self, **rule):
        """The usual configuration, with these keys of its one breaker."""
        config = self.lab.config()
        config["breakers"][0].update(rule)
        return config

    def start_tripped(self, **changes):
        """node_exporter, a webhook, the daemon, and the wall up."""
        self.exporter = self.lab.serve_node_exporter()
        self.hook = self.lab.webhook()
        daemon = self.start(**changes)
        self.wait_open()
        return daemon

    def wait_open(self, endpoint=ENDPOINT, timeout=10):
        """Its breaker is open, and what follows from that is done."""
        self.daemon.wait_metric("pprofwall_breaker_state", 1, timeout * SLOW, endpoint=endpoint,
                                state="open")
        wait_until(lambda: self.status(endpoint)["action"] != "none", 5 * SLOW,
                   "a block, or why there is none")

    def status(self, endpoint):
        """What `pprofwall status --json` says of one endpoint."""
        return next(e for e in self.daemon.ctl_json("status")["endpoints"]
                    if e["endpoint"] == endpoint)

    def probes(self, verdict="confirmed"):
        return self.daemon.metric("pprofwall_probes_total", verdict=verdict) or 0

    def wait_probes(self, more, verdict="confirmed", timeout=10):
        goal = self.probes(verdict) + more
        wait_until(lambda: self.probes(verdict) >= goal, timeout * SLOW,
                   f"{more} more probes with {verdict}")

    def refused(self, source=Lab.STRANGER, address=Lab.TARGET, port=9100):
        return self.lab.is_refused(address, port, source)

    def assert_walled(self):
        self.assertTrue(self.refused(), "a stranger is refused")
        status, text = self.lab.get(Lab.TARGET, 9100, "/metrics", source=Lab.ALLOWED)
        self.assertEqual(status, 200)
        self.assertIn("node_cpu_seconds_total", text)

    def assert_open_to_all(self):
        self.assertFalse(self.refused(), "a stranger is let in")
        self.assertEqual(self.lab.get(Lab.TARGET, 9100, "/metrics", source=Lab.STRANGER)[0], 200)

    def table(self):
        """Our table as nft prints it; "" when there is none."""
        done = self.lab.nft("list", "table", "inet", "pprofwall", check=False)
        return done.stdout if done.returncode == 0 else ""


def read_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def capabilities(*numbers):
    return sum(1 << n for n in numbers)


CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN = 5, 6, 7, 12
CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON = 2, 19, 21, 38


INVENTORY_CAPABILITIES = capabilities(CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH,
                                      CAP_PERFMON)


class Privileges(DaemonTest):
    def test_each_process_has_its_uid_and_no_more_than_it_needs(self):
        daemon = self.start()
        self.assertEqual(set(daemon.children()), set(Lab.USERS))
        expected = {
            "parent": (0, capabilities(CAP_SETUID, CAP_SETGID, CAP_KILL), "0"),
            "agent": (64101, 0, "0"),
            "prober": (64102, 0, "2"),
            "firewall": (64103, capabilities(CAP_NET_ADMIN), "2"),
            "sender": (64104, 0, "2"),
            "inventory": (64106, INVENTORY_CAPABILITIES, "2"),
        }
        for role, (uid, caps, seccomp) in expected.items():
            with self.subTest(role):
                status = read_status(daemon.pid if role == "parent" else daemon.child(role))
                self.assertEqual(status["Uid"].split(), [str(uid)] * 4)
                self.assertEqual(status["Gid"].split(), [str(uid)] * 4)
                self.assertEqual(status["Groups"].split(), [])
                for name in ("CapPrm", "CapEff"):
                    self.assertEqual(int(status[name], 16), caps, name)
                for name in ("CapInh", "CapAmb"):
                    self.assertEqual(int(status[name], 16), 0, name)
                self.assertEqual(int(status["CapBnd"], 16) & ~expected["parent"][1], 0)
                self.assertEqual(status["NoNewPrivs"], "1")
                # Sanitizers make system calls of their own: such a build has no filter.
                self.assertEqual(status["Seccomp"], "0" if IS_ASAN else seccomp)

    def test_children_hold_no_file_of_the_parent(self):
        daemon = self.start()
        for role in Lab.USERS:
            pid = daemon.child(role)
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            with self.subTest(role, links=links):
                self.assertFalse([x for x in links if x.endswith((".lock", ".yaml"))])
                if role not in ("agent", "firewall"):
                    self.assertFalse([x for x in links if self.lab.directory in x])


class Wall(DaemonTest):
    def check_trip(self, **changes):
        self.start_tripped(**changes)
        self.assert_walled()
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 1)
        self.assertEqual(self.daemon.metric("pprofwall_endpoint_risk", endpoint=ENDPOINT,
                                            risk="HIGH_RISK"), 1)
        return self.daemon

    def test_three_exposed_probes_wall_it_off(self):
        daemon = self.check_trip()
        self.assertGreaterEqual(self.probes(), 3)
        blocks = daemon.ctl_json("blocks")["blocks"]
        self.assertEqual([b["endpoint"] for b in blocks], [ENDPOINT])

    def test_the_same_without_an_owned_table(self):
        self.check_trip(firewall={"persist": "off"})
        self.assertNotIn("owner", self.table().partition("chain")[0])

    def test_a_foreign_flush_is_repaired_without_an_owned_table(self):
        self.check_trip(firewall={"persist": "off"})
        self.lab.nft("flush", "ruleset")
        wait_until(lambda: self.refused(), 5, "the wall is back")
        self.assert_walled()
        self.daemon.wait_metric("pprofwall_firewall_reconciliations_total", 1)

    def test_a_refusal_is_immediate(self):
        self.start_tripped()
        begin = time.monotonic()
        self.assertTrue(self.refused())
        self.assertLess(time.monotonic() - begin, 0.5)

    def test_ipv6(self):
        self.exporter = self.lab.serve_node_exporter(address=Lab.TARGET6)
        config = self.config_of(allow_from=[Lab.ALLOWED6])
        config["scan"]["targets"] = [ENDPOINT6]
        self.daemon = self.lab.daemon(config).start()
        self.wait_open(ENDPOINT6)
        self.assertTrue(self.refused(Lab.STRANGER6, Lab.TARGET6))
        self.assertEqual(self.lab.get(Lab.TARGET6, 9100, "/metrics", source=Lab.ALLOWED6)[0], 200)

    def test_a_protected_port_is_never_blocked(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        config = self.config_of(open_for="1s")
        config["protect"]["ports"] = [22, 9100]
        self.daemon = self.lab.daemon(config).start()
        hook.wait_event("opened")
        self.wait_probes(2)
        self.assert_open_to_all()
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)

    def test_action_alert_blocks_nothing(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.config_of(action="alert", open_for="1s")).start()
        hook.wait_event("opened")
        self.wait_probes(2)
        self.assert_open_to_all()

    def test_observe_blocks_nothing_and_says_what_it_would(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        self.daemon = daemon = self.lab.daemon(
            {**self.config_of(open_for="1s"), "mode": "observe"}).start()
        self.assertEqual(hook.wait_event("opened")["action"], "observe")
        daemon.process.wait_line(r"would block .*10\.91\.0\.2:9100")
        self.wait_probes(2)
        self.assert_open_to_all()
        self.assertEqual(daemon.metric("pprofwall_blocks"), 0)

    def test_a_block_outlasts_any_restart(self):
        self.start_tripped()
        block = self.daemon.ctl_json("blocks")["blocks"][0]
        # open_for is 30 s; ten minutes are for a service that is being restarted.
        self.assertGreater(block["expires_ms"], 600_000)


class Recovery(DaemonTest):
    def quick(self):
        return self.config_of(open_for="1s", close_after=2)

    def test_a_repaired_server_closes_the_breaker(self):
        exporter = self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.quick()).start()
        self.wait_open()
        exporter.end()
        self.lab.serve_plain(9100)
        hook.wait_event("closed", timeout=15 * SLOW)
        self.assertFalse(self.refused())
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)
        self.assertIsNone(self.daemon.metric("pprofwall_endpoint_risk", endpoint=ENDPOINT,
                                             risk="HIGH_RISK") or None)
        self.assertNotEqual(self.daemon.metric("pprofwall_breaker_state", endpoint=ENDPOINT,
                                               state="open"), 1)

    def test_an_exposed_server_stays_walled_without_a_second_alert(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.quick()).start()
        self.wait_open()
        for _ in range(3):  # through half-open again and again
            self.wait_probes(1)
            self.assertTrue(self.refused())
        self.assertEqual([e["event"] for _, _, e in hook.requests].count("opened"), 1)

    def test_a_server_that_goes_silent_stays_walled(self):
        exporter = self.lab.serve_node_exporter()
        self.lab.webhook()
        config = self.quick()
        config["scan"]["timeout"] = "300ms"
        self.daemon = self.lab.daemon(config).start()
        self.wait_open()
        exporter.signal(signal.SIGSTOP)
        try:
            # Only clean evidence opens the wall: else slowing the server would lift it.
            wait_until(lambda: self.probes("error") + self.probes("filtered") >= 3, 20 * SLOW,
                       "probes without a verdict")
            self.assertTrue(self.refused())
        finally:
            exporter.signal(signal.SIGCONT)


class Alerts(DaemonTest):
    def test_opened_and_high_risk_arrive_once_each(self):
        self.start_tripped()
        high = self.hook.wait_event("high_risk")
        if not any(e["event"] == "opened" for _, _, e in self.hook.requests):
            self.hook.wait_event("opened")
        events = [e for _, _, e in self.hook.requests]
        self.assertEqual(sorted(e["event"] for e in events), ["high_risk", "opened"])
        for event in events:
            self.assertEqual(event["endpoint"], ENDPOINT)
            self.assertEqual(event["finding"]["endpoint"], ENDPOINT)
            self.assertEqual(event["breaker"]["name"], "default")
            self.assertEqual(event["finding"]["verdict"], "confirmed")
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
            for key in ("id", "breaker", "action", "host"):
                self.assertTrue(event[key], key)
        self.assertEqual(high["finding"]["risk"], "HIGH_RISK")
        self.assertEqual(len({e["id"] for e in events}), len(events))

    def test_high_risk_does_not_wait_for_the_breaker(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.config_of(trip_after=64)).start()
        hook.wait_event("high_risk")
        self.assertEqual(self.daemon.metric("pprofwall_breaker_state", endpoint=ENDPOINT,
                                            state="closed"), 1)

    def test_a_failing_webhook_is_tried_again_with_the_same_id(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        hook.answer = 500
        self.start()
        wait_until(lambda: hook.requests, 10 * SLOW, "a first attempt")
        hook.answer = 200
        first = hook.requests[0][2]
        again = hook.wait_event(first["event"], timeout=60)
        self.assertEqual(again, first)
        wait_until(lambda: self.daemon.metric("pprofwall_alert_queue_length") == 0, 60,
                   "an empty queue")

    def test_a_webhook_that_hangs_stops_nothing(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        hook.answer = hook.hang
        self.start()
        self.wait_open()
        self.assert_walled()
        self.assertEqual(self.daemon.http("/healthz")[0], 200)
        self.assertEqual(self.daemon.stop(), 0)

    def test_without_a_webhook_at_all(self):
        self.lab.serve_node_exporter()
        self.start()
        self.wait_open()
        self.assert_walled()


class Health(DaemonTest):
    def test_promtool_likes_the_metrics(self):
        self.start_tripped()
        self.hook.wait_event("opened")
        status, text = self.daemon.http("/metrics")
        self.assertEqual(status, 200)
        done = subprocess.run([server_program("promtool"), "check", "metrics"], input=text,
                              capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        for name in ("pprofwall_build_info", "pprofwall_config_hash", "pprofwall_blocks",
                     "pprofwall_config_last_reload_successful", "pprofwall_alerts_total",
                     "pprofwall_probe_duration_seconds_bucket",
                     "pprofwall_process_restarts_total", "pprofwall_alert_queue_length",
                     "pprofwall_alert_oldest_age_seconds", "pprofwall_alerts_lost_total",
                     "pprofwall_alert_circuit_open", "pprofwall_alerts_removed_total",
                     "pprofwall_blocked_packets_total",
                     "pprofwall_firewall_reconciliations_total"):
            self.assertIn(name, self.daemon.metrics())

    def test_blocked_packets_are_counted(self):
        self.start_tripped()
        for _ in range(3):
            self.assertTrue(self.refused())
        wait_until(lambda: sum(v for _, v in self.daemon.metrics()
                               ["pprofwall_blocked_packets_total"]) >= 3, 20, "three packets")

    def test_readyz_says_which_child_does_not_answer(self):
        daemon = self.start()
        for role in ("prober", "sender", "firewall"):
            with self.subTest(role):
                pid = daemon.child(role)
                os.kill(pid, signal.SIGSTOP)
                try:
                    wait_until(lambda: daemon.http("/readyz")[0] == 503, 20, "503")
                    self.assertIn(role, daemon.http("/readyz")[1])
                    self.assertEqual(daemon.http("/healthz")[0], 200)
                finally:
                    os.kill(pid, signal.SIGCONT)
                wait_until(lambda: daemon.http("/readyz")[0] == 200, 20, "200 again")

    def test_nothing_else_is_served(self):
        daemon = self.start()
        self.assertEqual(daemon.http("/")[0], 404)
        self.assertEqual(daemon.http("/debug/pprof/")[0], 404)
        with self.assertRaises(OSError):  # loopback by default
            self.lab.connect(Lab.TARGET, 9464)


class Deaths(DaemonTest):
    def test_a_killed_sender_is_restarted_alone(self):
        self.start_tripped()
        self.hook.wait_event("opened")
        before = self.daemon.children()
        os.kill(before["sender"], signal.SIGKILL)
        wait_until(lambda: self.daemon.children().get("sender") not in (None, before["sender"]),
                   10, "another sender")
        after = self.daemon.children()
        self.assertEqual({r: p for r, p in after.items() if r != "sender"},
                         {r: p for r, p in before.items() if r != "sender"})
        self.daemon.wait_metric("pprofwall_process_restarts_total", 1, process="sender")
        self.daemon.wait_ready()
        self.assert_walled()
        # It still delivers.
        self.daemon.ctl("unblock", ENDPOINT, "--reason", "test", "--for", "1s")
        self.hook.wait_event("opened", timeout=20 * SLOW)

    def test_a_killed_inventory_is_restarted_with_all_that_it_needs(self):
        """The parent has given up what it takes, and so somebody else starts it."""
        daemon = self.start()
        before = daemon.children()
        vantage = os.readlink(self.vantage_of(before["inventory"]))
        for count in (1, 2):
            old = daemon.child("inventory")
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: daemon.children().get("inventory") not in (None, old),  # noqa: B023
                       10 * SLOW, "another inventory")
            daemon.wait_metric("pprofwall_process_restarts_total", count, 20 * SLOW,
                               process="inventory")
            daemon.wait_ready(20 * SLOW)
        after = daemon.children()
        self.assertEqual({r: p for r, p in after.items() if r != "inventory"},
                         {r: p for r, p in before.items() if r != "inventory"})
        # Nothing waits for it here: it may still be on its way to what it will be.
        wait_until(lambda: read_status(after["inventory"])["Seccomp"] == ("0" if IS_ASAN else "2")
                   and read_status(after["inventory"])["Uid"].split()[0] == "64106",
                   10 * SLOW, "the inventory has dropped its privileges")
        status = read_status(after["inventory"])
        self.assertEqual(status["Uid"].split(), ["64106"] * 4)
        self.assertEqual(int(status["CapPrm"], 16), INVENTORY_CAPABILITIES)
        self.assertEqual(int(status["CapBnd"], 16), 0)
        # The namespace from which blocks are tried is the same one.
        self.assertEqual(os.readlink(self.vantage_of(after["inventory"])), vantage)

    def vantage_of(self, pid):
        """Its descriptor of a network namespace that is not its own."""
        own = os.readlink(f"/proc/{pid}/ns/net")
        return next(path for path in (f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd"))
                    if os.readlink(path).startswith("net:") and os.readlink(path) != own)

    def tarpit(self, port):
        """Accepts, and never answers; returns an Event-like list of connections."""
        with self.lab.inside("target"):
            listener = socket.create_server((Lab.TARGET, port), backlog=16)
        self.addCleanup(listener.close)
        listener.settimeout(20)
        return listener

    def test_a_killed_prober_is_restarted_and_its_endpoint_quarantined(self):
        self.lab.serve_node_exporter()
        hook = self.lab.webhook()
        listener = self.tarpit(9200)
        daemon = self.start(scan={"targets": [ENDPOINT, f"{Lab.TARGET}:9200"],
                                  "timeout": "20s"})
        self.wait_open()
        before = daemon.children()
        listener.accept()  # being probed now, and for a while
        os.kill(before["prober"], signal.SIGKILL)
        hook.wait_event("quarantined", endpoint=f"{Lab.TARGET}:9200")
        wait_until(lambda: daemon.children().get("prober") not in (None, before["prober"]), 10,
                   "another prober")
        after = daemon.children()
        self.assertEqual({r: p for r, p in after.items() if r != "prober"},
                         {r: p for r, p in before.items() if r != "prober"})
        daemon.wait_metric("pprofwall_process_restarts_total", 1, process="prober")
        daemon.wait_ready()
        self.assert_walled()

    def check_end(self, role):
        self.start_tripped()
        children = self.daemon.children()
        os.kill(children[role], signal.SIGKILL)
        status = self.daemon.process.wait(20)
        self.assertGreater(status, 0)
        self.assertRegex(self.daemon.output, rf"{role}\b.*(killed|signal 9|SIGKILL)")
        wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in children.values()), 10,
                   "no child is left")
        self.assert_walled()

    def test_without_the_agent_the_service_ends_and_the_wall_stays(self):
        self.check_end("agent")

    def test_without_the_firewall_the_service_ends_and_the_wall_stays(self):
        self.check_end("firewall")

    def check_adopted(self, **changes):
        daemon = self.start_tripped(**changes)
        self.hook.wait_event("opened")
        daemon.kill_everything()
        self.assert_walled()
        daemon.start()
        self.assert_walled()
        wait_until(lambda: daemon.metric("pprofwall_blocks") == 1, 10, "one block")
        wait_until(lambda: self.probes() >= 1, 10 * SLOW, "a probe through the wall")
        self.assert_walled()
        # Killed before it was noted as delivered, it comes again: with the same id.
        self.assertEqual(len({e["id"] for _, _, e in self.hook.requests
                              if e["event"] == "opened"}), 1)
        daemon.ctl("unblock", ENDPOINT, "--reason", "test")
        self.assert_open_to_all()

    def test_a_restart_adopts_what_is_in_the_kernel(self):
        self.check_adopted()

    def test_a_restart_adopts_a_table_that_nobody_owns(self):
        self.check_adopted(firewall={"persist": "off"})


class Stopping(DaemonTest):
    def test_sigterm_ends_in_order_and_keeps_the_wall(self):
        self.start_tripped()
        children = self.daemon.children()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse([p for p in children.values() if os.path.exists(f"/proc/{p}")])
        self.assertFalse(os.path.exists(self.daemon.socket))
        self.assert_walled()
        self.daemon.start()
        self.assert_walled()

    def test_on_stop_remove_takes_everything_away(self):
        self.start_tripped(on_stop="remove")
        self.assertEqual(self.daemon.stop(), 0)
        self.assert_open_to_all()
        self.assertEqual(self.table(), "")

    def test_a_second_daemon_on_the_same_socket_does_not_start(self):
        daemon = self.start()
        other = self.lab.daemon(self.lab.config(metrics={"listen": "127.0.0.1:9465"}))
        other.start(ready=False)
        self.assertGreater(other.process.wait(20), 0)
        self.assertRegex(other.output, "another pprofwalld")
        self.assertEqual(daemon.http("/readyz")[0], 200)


class Configuration(DaemonTest):
    def check(self, text):
        path = os.path.join(self.lab.directory, "check.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path, run(program("pprofwalld"), "--config", path, "--check", check=False)

    def test_good(self):
        _, done = self.check(json.dumps(self.lab.config()))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_bad_ones_are_named_with_line_and_column(self):
        for text, line, column in (
                ("mode: enforce\nmode: observe\n", 2, 1),
                ("mode: enforce\nscan:\n  interval: -1s\n", 3, 13),
                ("breakers:\n  - name: a\n    trip_after: 0\n", 3, 17),
                ("breakers:\n  - name: a\n    trip_after: 3x\n", 3, 17),
                ("breakers:\n  - name: a\n    trip_after: 010\n", 3, 17),
                ("mode: enforce\nnonsense: 1\n", 2, 1),
                ("mode: enforce\n---\nmode: observe\n", 2, None),
                ("scan:\n\tinterval: 2s\n", 2, None),
                ("breakers:\n  - name: a\n    allow_from: [\"fe80::1%eth0\"]\n", 3, 18),
                ("protect:\n  ports: [22, 0]\n", 2, 15)):
            with self.subTest(text):
                path, done = self.check(text)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                lines = done.stderr.splitlines()
                self.assertEqual(len(lines), 1, done.stderr)
                where = f"{path}:{line}:" + (f"{column}: " if column else "")
                self.assertIn(where, lines[0])

    def test_a_huge_file_is_refused_quickly(self):
        begin = time.monotonic()
        _, done = self.check("# filler\n" * 1_200_000)
        self.assertEqual(done.returncode, 2)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_bad_file_starts_nothing(self):
        self.daemon = self.lab.daemon("mode: enforce\nnonsense: 1\n")
        self.daemon.start(ready=False)
        self.assertEqual(self.daemon.process.wait(10), 2)
        self.assertEqual(self.table(), "")
        self.assertFalse(os.path.exists(self.daemon.socket))

    def test_a_bad_reload_changes_nothing(self):
        self.start_tripped()
        self.assertEqual(self.daemon.metric("pprofwall_config_last_reload_successful"), 1)
        good = self.daemon.metrics()["pprofwall_config_hash"]
        self.daemon.write_config("mode: observe\nscan:\n  interval: 2x\n")
        self.daemon.process.signal(signal.SIGHUP)
        self.daemon.wait_metric("pprofwall_config_last_reload_successful", 0)
        self.assertEqual(self.daemon.metrics()["pprofwall_config_hash"], good)
        self.assertRegex(self.daemon.output, r"pprofwall\.yaml:3:13: ")
        self.assert_walled()
        done = self.daemon.ctl("reload", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r"pprofwall\.yaml:3:13: ")

    def test_a_good_reload_takes_effect(self):
        self.start_tripped()
        before = self.daemon.metrics()["pprofwall_config_hash"]
        self.daemon.write_config(self.config_of(allow_from=[Lab.ALLOWED, Lab.STRANGER]))
        self.daemon.process.signal(signal.SIGHUP)
        wait_until(lambda: self.daemon.metrics()["pprofwall_config_hash"] != before, 10,
                   "another hash")
        self.assertEqual(self.daemon.metric("pprofwall_config_last_reload_successful"), 1)
        wait_until(lambda: not self.refused(), 10, "the stranger is in allow_from now")
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 1)

    def test_reload_by_the_control_socket(self):
        self.start_tripped()
        self.daemon.write_config(self.lab.config(mode="observe"))
        self.daemon.ctl("reload")
        wait_until(lambda: not self.refused(), 10, "observe mode lifts the wall")


class Control(DaemonTest):
    def test_status_tells_what_is_going_on(self):
        self.start_tripped()
        status = self.daemon.ctl_json("status")
        self.assertTrue(status["ok"])
        self.assertIn(ENDPOINT, self.daemon.ctl("status").stdout + json.dumps(status))

    def test_unblock_holds(self):
        self.start_tripped()
        self.daemon.ctl("unblock", ENDPOINT, "--reason", "maintenance")
        self.assert_open_to_all()
        self.wait_probes(4)
        self.assert_open_to_all()

    def test_unblock_for_a_while_ends(self):
        self.start_tripped()
        self.daemon.ctl("unblock", ENDPOINT, "--reason", "maintenance", "--for", "1s")
        self.assert_open_to_all()
        wait_until(self.refused, 15 * SLOW, "walled again")

    def test_a_manual_block_holds_in_observe_mode(self):
        self.lab.serve_node_exporter()
        self.start(mode="observe", breakers=self.config_of(open_for="1s")["breakers"])
        self.daemon.ctl("block", ENDPOINT, "--reason", "incident 7", "--for", "10m")
        self.assertTrue(self.refused())
        block = self.daemon.ctl_json("blocks")["blocks"][0]
        self.assertEqual(block["endpoint"], ENDPOINT)
        self.assertIn("incident 7", json.dumps(block))
        self.wait_probes(3)
        self.assertTrue(self.refused())
        self.daemon.kill_everything()
        self.daemon.start()
        self.assertTrue(self.refused())
        self.daemon.ctl("unblock", ENDPOINT, "--reason", "over")
        self.assert_open_to_all()

    def test_a_reason_is_asked_for_and_protected_ports_are_refused(self):
        self.start()
        for argv in (("block", ENDPOINT), ("unblock", ENDPOINT)):
            done = self.daemon.ctl(*argv, check=False)
            self.assertEqual(done.returncode, 2, argv)
            self.assertIn("--reason", done.stderr)
        done = self.daemon.ctl("block", f"{Lab.TARGET}:22", "--reason", "x", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("protected", done.stdout + done.stderr)
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)

    def test_a_stranger_on_this_machine_may_not_use_it(self):
        self.start()
        self.assertEqual(os.stat(self.daemon.socket).st_mode & 0o007, 0)

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(self.daemon.socket)  # blocking: the kernel's queue may be full for a moment
        sock.settimeout(10)
        return sock

    def test_garbage_is_answered_and_costs_nothing(self):
        self.start()
        for garbage in (b"\n", b"\0" * 100 + b"\n", b"{}\n", b"[]\n", b"{\"verb\":7}\n",
                        b"{\"verb\":\"nonsense\"}\n", b"{\"verb\":\"status\"} trailing\n",
                        b"{\"verb\":\"block\",\"endpoint\":\"10.91.0.2:0\",\"reason\":\"x\"}\n",
                        b"{\"verb\":\"status\",\"verb\":\"panic\",\"reason\":\"x\"}\n",
                        b"x" * 20000, b"[" * 10000 + b"\n"):
            with self.subTest(garbage[:40]):
                sock = self.connect()
                try:
                    sock.sendall(garbage)
                    answer = b"".join(iter(lambda s=sock: s.recv(4096), b""))
                except (BrokenPipeError, ConnectionResetError):
                    answer = b""
                if answer:
                    self.assertIs(json.loads(answer)["ok"], False)
        self.assertTrue(self.daemon.ctl_json("status")["ok"])

    def test_clients_that_never_speak_or_read_block_nobody(self):
        self.start_tripped()
        idle = [self.connect() for _ in range(20)]
        for _ in range(20):
            self.connect().sendall(b'{"verb":"blocks"}\n')
        self.assertTrue(wait_until(lambda: self.daemon.ctl("status", check=False).returncode == 0,
                                   20, "an answer for others"))
        self.assertEqual(self.daemon.http("/readyz")[0], 200)
        idle[0].settimeout(15)
        while idle[0].recv(4096):  # it is told, or just closed, at its deadline
            pass


class Panic(DaemonTest):
    def start_tripped(self, **changes):
        # Probes go on quickly, so that there is something to see staying off.
        return super().start_tripped(breakers=self.config_of(open_for="1s")["breakers"],
                                     **changes)

    def panic(self):
        begin = time.monotonic()
        done = self.daemon.ctl("panic", "--reason", "test", check=False)
        taken = time.monotonic() - begin
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertFalse(self.refused(), "a stranger is let in")
        self.assertEqual(self.table(), "")
        self.assertLess(taken, 1.0 * SLOW)
        self.assertTrue(os.path.exists(os.path.join(self.lab.directory, "state", "panic")))

    def check_stays_off(self):
        self.wait_probes(4)
        self.assert_open_to_all()

    def restart(self):
        if self.daemon.process.status is None:
            self.daemon.kill_everything()
        self.daemon.start()

    def resume(self):
        self.daemon.ctl("resume", "--reason", "test over")
        wait_until(self.refused, 15 * SLOW, "walled again")
        self.assertFalse(os.path.exists(os.path.join(self.lab.directory, "state", "panic")))
        self.assert_walled()

    def test_with_everything_alive(self):
        self.start_tripped()
        self.panic()
        self.check_stays_off()
        done = self.daemon.ctl("block", ENDPOINT, "--reason", "x", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.restart()
        self.check_stays_off()
        self.resume()

    def test_with_the_agent_hung(self):
        self.start_tripped()
        os.kill(self.daemon.child("agent"), signal.SIGSTOP)
        self.panic()
        self.restart()
        self.check_stays_off()
        self.resume()

    def test_with_everything_hung(self):
        self.start_tripped()
        for pid in (self.daemon.pid, *self.daemon.children().values()):
            os.kill(pid, signal.SIGSTOP)
        self.panic()
        self.restart()
        self.check_stays_off()
        self.resume()

    def test_with_the_daemon_gone(self):
        self.start_tripped()
        self.daemon.kill_everything()
        self.assert_walled()
        self.panic()
        self.daemon.start()
        self.check_stays_off()
        self.resume()

    def test_the_same_without_an_owned_table(self):
        self.start_tripped(firewall={"persist": "off"})
        os.kill(self.daemon.child("agent"), signal.SIGSTOP)
        self.panic()


class Targets(DaemonTest):
    def test_a_name_that_does_not_resolve_stops_nobody(self):
        self.lab.serve_node_exporter()
        self.start(scan={"targets": ["does-not-exist.invalid:9100", ENDPOINT]})
        self.wait_open()
        self.assert_walled()

    def test_a_thousand_silent_targets_stop_nobody(self):
        self.lab.serve_node_exporter()
        # Routed to a machine that forwards nothing: every probe runs into its timeout.
        self.lab.run("target", "ip", "route", "add", "10.92.0.0/16", "via", Lab.ALLOWED)
        silent = [f"10.92.{n // 250}.{n % 250 + 1}:9100" for n in range(1000)]
        self.start(scan={"targets": [*silent[:500], ENDPOINT, *silent[500:]], "timeout": "2s"})
        self.wait_open(timeout=20)
        self.assert_walled()
        self.assertEqual(self.daemon.http("/readyz")[0], 200)

    def test_etcd_with_pprof_is_walled_and_without_is_not(self):
        with_pprof, without = f"{Lab.TARGET}:2379", f"{Lab.TARGET}:12379"
        self.lab.serve_etcd(2379, enable_pprof=True)
        self.lab.serve_etcd(12379, enable_pprof=False)
        self.start(scan={"targets": [with_pprof, without]})
        self.wait_open(with_pprof)
        self.assertTrue(self.refused(port=2379))
        # It does serve /debug/vars; that is low, and trips nothing.
        wait_until(lambda: self.status(without)["severity"] == "low", 10 * SLOW, "expvar is seen")
        self.wait_probes(4)
        self.assertEqual(self.status(without)["state"], "closed")
        self.assertFalse(self.refused(port=12379))
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 1)

    def test_prometheus_is_walled(self):
        self.lab.serve_prometheus(9090)
        self.start(scan={"targets": [f"{Lab.TARGET}:9090"]})
        self.wait_open(f"{Lab.TARGET}:9090")
        self.assertTrue(self.refused(port=9090))
        self.assertEqual(self.lab.get(Lab.TARGET, 9090, "/-/ready", source=Lab.ALLOWED)[0], 200)

    def test_a_plain_server_is_left_alone(self):
        self.lab.serve_plain(9100)
        self.start()
        self.wait_probes(4, "clear")
        self.assertFalse(self.refused())
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
