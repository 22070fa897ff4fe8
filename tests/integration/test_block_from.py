#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall scan | pprofwall block --from -`: all that was found is blocked, or nothing."""
import contextlib
import json
import os
import signal
import subprocess
import unittest

from lab import Lab, environment, program, wait_until


def finding(port, address="10.91.0.2", **changes):
    """A line of `pprofwall scan --format ndjson`, as common/finding.h has it."""
    shown = f"[{address}]" if ":" in address else address
    line = {"schema": 1, "time": "2026-11-22T21:00:00Z", "scan_id": "0123456789abcdef",
            "vantage": "10.91.0.1", "endpoint": f"{shown}:{port}", "address": address,
            "port": port, "scheme": "http", "host": None, "path": "/debug/pprof/",
            "verdict": "confirmed", "severity": "high", "risk": "HIGH_RISK", "kind": "go-pprof",
            "evidence": ["index"], "profiles": ["heap"], "status": 200, "go_version": None,
            "module": None, "program": None, "identified_by": [], "relatives": [],
            "advice": None, "signatures": None, "labels": [], "accepted": None, "command": [],
            "error": None, "latency_ms": 4, "bytes": 5120}
    return {**line, **changes}


def lines(*findings):
    return "".join(f if isinstance(f, str) else json.dumps(f) + "\n" for f in findings)


class BlockFromTest(unittest.TestCase):
    """One daemon that observes, so that whatever is in the kernel was put there by hand."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.hook = self.lab.webhook()

    def start(self, **firewall):
        config = self.lab.config(mode="observe", scan={"targets": ["10.91.0.2:9100"]})
        config["firewall"] = {"max_blocks": 40, "max_blocks_per_minute": 30, **firewall}
        self.daemon = self.lab.daemon(config).start()
        return self.daemon

    def block(self, text, *argv):
        """(status, standard output, standard error)"""
        done = subprocess.run(
            [program("pprofwall"), "block", "--from", "-", "--socket", self.daemon.socket, *argv],
            input=text, capture_output=True, text=True, timeout=250, env=environment(),
            check=False)
        return done.returncode, done.stdout, done.stderr

    def kernel(self):
        """The endpoints in the maps of the kernel, IPv4 and IPv6."""
        found = set()
        for name in ("block4", "block6"):
            done = json.loads(self.lab.nft("-j", "list", "map", "inet", "pprofwall", name).stdout)
            for key, _ in done["nftables"][1]["map"].get("elem", []):
                address, _, port = (key["elem"]["val"] if "elem" in key else key)["concat"]
                found.add((address, port))
        return found

    def saved(self):
        """What the daemon itself says of manual decisions."""
        return {e["endpoint"] for e in self.daemon.ctl_json("status")["endpoints"] if e["manual"]}

    def assert_untouched(self):
        self.assertEqual(self.kernel(), set())
        self.assertEqual(self.saved(), set())

    def test_scan_to_wall(self):
        """The three commands of the manual, with a real server; also IPv6."""
        self.lab.serve_node_exporter()
        self.lab.serve_node_exporter(address="fd91::2", port=9101)
        self.lab.serve_plain(port=9102)
        self.start()
        scan = self.lab.run("client", program("pprofwall"), "scan", "10.91.0.2:9100",
                            "10.91.0.2:9102", "[fd91::2]:9101", "--format", "ndjson", "--trailer",
                            "--fail-on", "never")
        self.assertEqual(self.lab.get("10.91.0.2", 9100, "/metrics")[0], 200)
        self.assertIn('"complete":true', scan.stdout)
        status, out, err = self.block(scan.stdout, "--dry-run")
        self.assertEqual(status, 0, err)
        self.assertNotIn("NOT COMPLETE", err)
        err = self.block(scan.stdout.replace('"complete":true', '"complete":false'),
                         "--dry-run")[2]
        self.assertIn("THE SWEEP IS NOT COMPLETE", err)
        self.assertIn("would block 10.91.0.2:9100\nwould block [fd91::2]:9101\n", out)
        self.assert_untouched()

        status, out, err = self.block(scan.stdout, "--for", "10m", "--reason", "INC-7")
        self.assertEqual(status, 0, err)
        self.assertIn("2 blocked, 0 already; they expire in 10m00s", out)
        self.assertTrue(self.lab.is_refused("10.91.0.2", 9100))
        self.assertTrue(self.lab.is_refused("fd91::2", 9101))
        self.assertEqual(self.lab.get("10.91.0.2", 9102, "/metrics")[0], 200)
        blocks = self.daemon.ctl_json("blocks")["blocks"]
        self.assertEqual({(b["reason"], b["manual"]) for b in blocks}, {("INC-7", True)})
        for _ in range(2):
            self.assertEqual(self.hook.wait_event("manual_block")["reason"], "INC-7")

        status, out, err = self.block(scan.stdout, "--for", "5m")
        self.assertEqual((status, out.splitlines()[:2]),
                         (0, ["already blocked 10.91.0.2:9100", "already blocked [fd91::2]:9101"]))
        self.daemon.ctl("unblock", "10.91.0.2:9100", "--reason", "done")
        self.assertEqual(self.lab.get("10.91.0.2", 9100, "/metrics")[0], 200)

    def test_what_is_passed_over(self):
        self.start()
        text = lines(finding(1001), finding(1002, accepted="SEC-1: known (me, until 2030-01-01)"),
                     finding(1003, severity="low"), finding(1004, verdict="protected",
                                                            severity="info", risk=None),
                     finding(1001, host="a.example"),
                     finding(1005, verdict="likely", severity="medium", risk=None))
        status, out, err = self.block(text, "--json")
        self.assertEqual(status, 0, err)
        answer = json.loads(out)
        self.assertEqual(answer["blocked"], ["10.91.0.2:1001", "10.91.0.2:1005"])
        self.assertEqual(self.kernel(), {("10.91.0.2", 1001), ("10.91.0.2", 1005)})
        self.assertIn("6 findings, 2 endpoints to block", err)
        self.assertIn("1 that are accepted risks", err)
        # A reason is made up from the scan.
        self.assertEqual({b["reason"] for b in self.daemon.ctl_json("blocks")["blocks"]},
                         {"found by pprofwall scan 0123456789abcdef"})
        status, out, err = self.block(text, "--accepted", "--severity", "low", "--dry-run",
                                      "--json", "--for", "1m")
        self.assertEqual(json.loads(out)["blocked"], ["10.91.0.2:1002", "10.91.0.2:1003"], err)
        self.assertEqual(json.loads(out)["already"], ["10.91.0.2:1001", "10.91.0.2:1005"], err)
        status, out, err = self.block(text, "--verdict", "protected", "--severity", "info",
                                      "--dry-run", "--json")
        self.assertEqual(json.loads(out)["blocked"], ["10.91.0.2:1004"], err)

    def test_bad_lines_block_nothing(self):
        self.start()
        good = json.dumps(finding(1001))
        for bad, where, what in (
                ("{", "2:1", "not JSON"),
                ('{"schema":1}', "2:1", "no finding"),
                (good.replace('"high"', '"huge"'), f"2:{good.index(chr(34) + 'severity') + 1}",
                 "severity"),
                ('{"type":"sweep"}', "2:", ""),
                (good[:100], "2:", "not JSON")):
            with self.subTest(bad=bad[:40]):
                status, out, err = self.block(good + "\n" + bad)
                self.assertEqual((status, out), (2, ""), err)
                self.assertIn(f"(stdin):{where}", err)
                self.assertIn(what, err)
                self.assertIn("nothing is blocked", err)
        self.assert_untouched()
        status, out, err = self.block("")
        self.assertEqual((status, out), (0, ""), err)
        status, out, err = self.block(lines(*(finding(p) for p in range(2000, 4100))))
        self.assertEqual(status, 2)
        self.assertIn("at most 2048 in one go", err)

    def test_refused_beforehand(self):
        self.start()
        status, out, err = self.block(lines(finding(1001), finding(22), finding(9464)))
        self.assertEqual(status, 1, err)
        self.assertIn("refused 10.91.0.2:22: the port is protected", out)
        self.assertIn("2 of 3 endpoints cannot be blocked; none is", err)
        self.assert_untouched()
        # At once: 40.
        status, out, err = self.block(lines(*(finding(p) for p in range(1000, 1041))))
        self.assertEqual(status, 1)
        self.assertIn("41 new blocks, and 40 would fit: firewall.max_blocks is 40", err)
        self.assert_untouched()
        # A minute: 30.
        self.assertEqual(self.block(lines(*(finding(p) for p in range(1000, 1020))))[0], 0)
        text = lines(*(finding(p) for p in range(1010, 1035)))
        for more in ("--dry-run", "--for=2h"):
            status, out, err = self.block(text, more)
            self.assertEqual(status, 1)
            self.assertIn("15 new blocks, and 10 would fit now", err)
        self.assertEqual(len(self.kernel()), 20)
        self.assertEqual(self.block(lines(*(finding(p) for p in range(1010, 1030))))[0], 0)
        self.assertEqual(len(self.kernel()), 30)

    def test_helper_hangs(self):
        """What it does of the list when it wakes is taken back, and what was there before stays."""
        self.start()
        self.daemon.ctl("block", "10.91.0.2:1003", "--reason", "before", "--for", "2h")
        self.hook.wait_event("manual_block")
        helper = self.daemon.child("firewall")
        os.kill(helper, signal.SIGSTOP)
        self.addCleanup(self.wake, helper)
        status, _, err = self.block(lines(*(finding(p) for p in range(1000, 1010))), "--for", "3h")
        self.assertEqual(status, 1, err)
        self.assertIn("does not answer", err)
        os.kill(helper, signal.SIGCONT)
        wait_until(lambda: self.kernel() == {("10.91.0.2", 1003)}, 20, "taken back")
        block, = self.daemon.ctl_json("blocks")["blocks"]
        self.assertEqual(block["reason"], "before")
        self.assertEqual(self.saved(), {"10.91.0.2:1003"})

    @staticmethod
    def wake(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def test_long_lists(self):
        """The longest list there is fits through the socket; and a long one into the kernel."""
        self.start(max_blocks=5000, max_blocks_per_minute=5000)
        text = [finding(p, address=f"fd91:1111:2222:3333:4444:5555:6666:{p:x}")
                for p in range(20000, 22048)]
        status, out, err = self.block(lines(*text), "--dry-run")
        self.assertEqual(status, 0, err)
        self.assertIn("2048 blocked, 0 already", out)
        status, out, err = self.block(lines(*text[:300]))
        self.assertEqual(status, 0, err)
        self.assertIn("300 blocked, 0 already", out)
        self.assertEqual(len(self.kernel()), 300)

    def test_nobody_there(self):
        self.start()
        self.daemon.stop()
        status, out, err = self.block(lines(finding(1001)))
        self.assertEqual((status, out), (3, ""), err)
        self.assertIn("the daemon is not running", err)

    def test_command_lines(self):
        self.start()
        for argv, why in ((["10.0.0.1:80"], "takes the place"),
                          (["--severity", "worst"], "--severity wants"),
                          (["--verdict", "guilty"], "no such verdict"),
                          (["--allow", "10.0.0.0/8"], "protect.sources"),
                          (["--even-ssh"], "--standalone"),
                          (["--for", "31d"], "--for wants")):
            with self.subTest(argv=argv):
                status, out, err = self.block(lines(finding(1001)), *argv)
                self.assertEqual((status, out), (2, ""))
                self.assertIn(why, err)
        done = self.daemon.ctl("block", "10.91.0.2:1001", "10.91.0.2:1002", "--reason", "two")
        self.assertIn("2 blocked, 0 already", done.stdout)
        self.assertEqual(len(self.kernel()), 2)


if __name__ == "__main__":
    unittest.main()
