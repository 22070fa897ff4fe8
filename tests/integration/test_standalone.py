#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks on hosts without a daemon: `pprofwall block --standalone`, and `--print`."""
import ipaddress
import json
import os
import pathlib
import re
import subprocess
import unittest

from lab import IS_ASAN, SOURCE_DIR, Lab, environment, program, wait_until

try:
    import jsonschema
    import yaml
except ImportError as missing:
    raise SystemExit(f"{missing.name} is missing: apt-get install python3-yaml "
                     "python3-jsonschema") from missing

SLOW = 3 if IS_ASAN else 1
TABLE = "inet pprofwall-standalone"
SCHEMA = pathlib.Path(os.environ.get("PW_SERVERS", os.path.join(SOURCE_DIR, "build", "servers")),
                      "kubernetes.json")


class LabTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.nobody = os.path.join(self.lab.directory, "run", "nobody.sock")

    def verb(self, *argv, text=None, before=(), variables=None):
        """(status, standard output, standard error)"""
        done = subprocess.run(
            ["ip", "netns", "exec", self.lab.name_of("target"), *before, program("pprofwall"),
             *argv], input=text, capture_output=True, text=True, timeout=60,
            env={**environment(), **(variables or {})}, check=False)
        return done.returncode, done.stdout, done.stderr

    def block(self, *argv, **kwargs):
        return self.verb("block", "--standalone", "--socket", self.nobody, *argv, **kwargs)

    def must_block(self, *argv, **kwargs):
        status, out, err = self.block(*argv, **kwargs)
        self.assertEqual(status, 0, err)
        return out

    def blocks(self):
        status, out, err = self.verb("blocks", "--standalone", "--json")
        self.assertEqual(status, 0, err)
        return {b["endpoint"]: b for b in json.loads(out)["blocks"]}

    def has_table(self):
        return TABLE in self.lab.nft("list", "tables").stdout

    def status(self, address, port=9100, source=None):
        return self.lab.get(address, port, "/metrics", source=source, timeout=5 * SLOW)[0]

    def serve_both(self):
        self.lab.serve_plain()
        self.lab.serve_plain(address=self.lab.TARGET6)

    def assert_walled(self):
        """The path is what the daemon's wall makes of it."""
        lab = self.lab
        self.assertTrue(lab.is_refused(lab.TARGET, 9100, lab.STRANGER))
        self.assertTrue(lab.is_refused(lab.TARGET6, 9100, lab.STRANGER6))
        self.assertEqual(self.status(lab.TARGET, source=lab.ALLOWED), 200)
        self.assertEqual(self.status(lab.TARGET6, source=lab.ALLOWED6), 200)
        # The host itself is not cut.
        self.assertEqual(lab.get(lab.TARGET, 9100, "/metrics", namespace="target")[0], 200)


class StandaloneTest(LabTest):
    def test_wall(self):
        lab = self.lab
        self.serve_both()
        lab.serve_plain(port=9101)
        self.assertEqual(self.status(lab.TARGET, source=lab.STRANGER), 200)
        kept = lab.connect(lab.TARGET, 9100, source=lab.STRANGER)
        self.addCleanup(kept.close)
        out = self.must_block("--for", "2h", "--allow", f"{lab.ALLOWED},{lab.ALLOWED6}/128",
                              "10.91.0.2:9100", "[fd91::2]:9100")
        self.assertIn("2 blocked, by nobody but the kernel; they expire in 2h00m", out)
        self.assert_walled()
        self.assertEqual(self.status(lab.TARGET, 9101), 200)
        with self.assertRaises(ConnectionError):
            kept.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            if not kept.recv(1):
                raise ConnectionError("closed without an answer")
        listed = self.blocks()
        self.assertEqual(set(listed), {"10.91.0.2:9100", "[fd91::2]:9100"})
        self.assertGreater(listed["10.91.0.2:9100"]["packets"], 0)
        self.assertIn("1h59m", self.verb("blocks", "--standalone")[1].replace("2h00m", "1h59m"))

        # Another call has clients of its own, and leaves the others'.
        self.must_block("--for", "1h", "--allow", "10.91.0.4", "10.91.0.2:9101")
        self.assertEqual(self.status(lab.TARGET, 9101, source=lab.STRANGER), 200)
        self.assertTrue(lab.is_refused(lab.TARGET, 9101, lab.ALLOWED))
        self.assert_walled()
        # What is blocked again counts on, for the new time, with the new clients.
        before = self.blocks()["10.91.0.2:9100"]["packets"]
        self.must_block("--for", "3h", "10.91.0.2:9100")
        self.assertTrue(lab.is_refused(lab.TARGET, 9100, lab.ALLOWED))
        self.assertGreater(self.blocks()["10.91.0.2:9100"]["packets"], before)
        self.assertGreater(self.blocks()["10.91.0.2:9100"]["expires_ms"], 2 * 3600 * 1000)

        status, _, err = self.verb("unblock", "--standalone", "10.91.0.2:9100", "10.91.0.2:7")
        self.assertEqual(status, 1, err)
        self.assertEqual(len(self.blocks()), 3)
        self.assertEqual(self.verb("unblock", "--standalone", "10.91.0.2:9100")[0], 0)
        self.assertEqual(self.status(lab.TARGET, source=lab.STRANGER), 200)
        self.assertEqual(self.verb("unblock", "--standalone", "10.91.0.2:9101",
                                   "[fd91::2]:9100")[0], 0)
        self.assertFalse(self.has_table())
        self.assertEqual(self.verb("unblock", "--standalone")[0], 0)

    def test_expires_in_the_kernel(self):
        self.serve_both()
        self.must_block("--for", f"{2 * SLOW}s", "10.91.0.2:9100")
        self.assertTrue(self.lab.is_refused(self.lab.TARGET, 9100))
        wait_until(lambda: not self.lab.is_refused(self.lab.TARGET, 9100), 20 * SLOW, "over")
        self.assertEqual(self.blocks(), {})
        # The next one cleans up behind it, and the one after `unblock` does.
        chains = self.lab.nft("list", "table", *TABLE.split()).stdout.count("chain rule_")
        self.must_block("[fd91::2]:9100")
        self.assertEqual(
            self.lab.nft("list", "table", *TABLE.split()).stdout.count("chain rule_"), chains)
        self.assertEqual(self.verb("unblock", "--standalone")[0], 0)
        self.assertFalse(self.has_table())

    def test_at_the_same_time(self):
        """None of several calls loses what another has made."""
        endpoints = [f"10.91.0.2:{9100 + i}" for i in range(6)]
        running = [subprocess.Popen(
            ["ip", "netns", "exec", self.lab.name_of("target"), program("pprofwall"), "block",
             "--standalone", "--socket", self.nobody, "--allow", f"10.91.0.{i + 10}", endpoint],
            stdout=subprocess.DEVNULL, env=environment()) for i, endpoint in enumerate(endpoints)]
        self.assertEqual([p.wait(60 * SLOW) for p in running], [0] * len(endpoints))
        self.assertEqual(set(self.blocks()), set(endpoints))

    def test_findings(self):
        from test_block_from import finding, lines  # pylint: disable=import-outside-toplevel
        text = lines(*(finding(p) for p in range(1000, 3048)))
        out = self.must_block("--from", "-", "--for", "1h", text=text)
        self.assertIn("2048 blocked", out)
        self.assertEqual(len(self.blocks()), 2048)
        status, _, err = self.block("--from", "-", text=lines(finding(99)) + "{")
        self.assertEqual(status, 2, err)
        self.assertEqual(len(self.blocks()), 2048)
        self.check_privileges()

    def check_privileges(self):
        """Of the tool, while it waits for somebody to read its long list."""
        tool = subprocess.Popen(
            ["ip", "netns", "exec", self.lab.name_of("target"), program("pprofwall-firewall"),
             "--standalone-list"], stdout=subprocess.PIPE, pipesize=4096, env=environment())

        def read():
            with open(f"/proc/{tool.pid}/status", encoding="ascii") as file:
                return dict(line.split(":\t", 1) for line in file.read().splitlines()
                            if ":\t" in line)
        try:
            found = wait_until(lambda: read() if read()["Uid"].startswith("65534") and
                               read()["State"].startswith("S") else None, 20 * SLOW, "it writes")
            self.assertEqual(found["Uid"].split(), ["65534"] * 4)
            self.assertEqual(found["Gid"].split(), ["65534"] * 4)
            net_admin = f"{1 << 12:016x}"
            self.assertEqual((found["CapPrm"], found["CapEff"], found["CapBnd"]),
                             (net_admin, net_admin, "0" * 16))
            self.assertEqual(found["NoNewPrivs"], "1")
            if not IS_ASAN:
                self.assertEqual(found["Seccomp"], "2")
        finally:
            tool.stdout.read()
            tool.stdout.close()
            self.assertEqual(tool.wait(20), 0)

    def test_refused(self):
        for argv, status, why in (
                (["10.91.0.2:22"], 1, "the port is protected"),
                (["10.91.0.2:9100", "[fd91::2]:22"], 1, "the port is protected"),
                (["224.0.0.1:9100"], 1, "the address cannot be blocked"),
                (["127.0.0.1:9100"], 1, "the address cannot be blocked"),
                (["--reason", "x", "10.91.0.2:9100"], 2, "only the daemon remembers it"),
                (["10.91.0.2"], 2, "not a numeric ADDRESS:PORT")):
            with self.subTest(argv=argv):
                got, out, err = self.block(*argv)
                self.assertEqual((got, out), (status, ""), err)
                self.assertIn(why, err)
        self.assertFalse(self.has_table())
        got, _, err = self.block("10.91.0.2:9100", before=["setpriv", "--reuid", "64101",
                                                           "--clear-groups"])
        self.assertEqual(got, 3, err)
        self.assertIn("must be run by root", err)
        self.assertEqual(self.block("--even-ssh", "10.91.0.2:22")[0], 0)

    def test_tool_believes_nobody(self):
        """The firewall's program checks for itself what the command line had checked."""
        good = ["--standalone-block", "--for-ms", "60000", "--", "10.91.0.2:9100"]
        for argv in (["--standalone-block", "--", "10.91.0.2:9100"],
                     [*good[:2], "999", *good[3:]], [*good[:2], "1e9", *good[3:]],
                     [*good[:2], "99999999999999", *good[3:]],
                     ["--standalone-block", "--for-ms", "60000"], [*good, "nonsense"],
                     ["--standalone-block", "--allow", "10.0.0.1/8", *good[1:]],
                     ["--standalone-block", "--standalone-unblock", *good[1:]],
                     ["--standalone-list", "10.91.0.2:9100"], ["--standalone-unblock"],
                     ["--standalone-list", "--for-ms", "60000"], ["--standalone-nonsense"],
                     ["--delete-standalone", "--uid", "1"]):
            with self.subTest(argv=argv):
                done = self.lab.run("target", program("pprofwall-firewall"), *argv, check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
        self.assertFalse(self.has_table())
        self.lab.run("target", program("pprofwall-firewall"), *good)
        self.assertTrue(self.has_table())

    def test_ssh_session(self):
        session = {"SSH_CONNECTION": "10.91.0.3 50000 10.91.0.2 2222"}
        got, _, err = self.block("10.91.0.2:2222", variables=session)
        self.assertEqual(got, 1, err)
        self.assertIn("10.91.0.2:2222 is the SSH session you sit in", err)
        # As under sudo: the variable is an ancestor's. The shell must not replace itself.
        got, _, err = self.block(
            "10.91.0.2:2222", variables=session,
            before=["sh", "-c", 'env -u SSH_CONNECTION "$@"; exit $?', "sh"])
        self.assertEqual(got, 1, err)
        self.assertIn("is the SSH session you sit in", err)
        self.assertFalse(self.has_table())
        self.assertEqual(self.block("10.91.0.2:2223", variables=session)[0], 0)
        self.assertEqual(self.block("--even-ssh", "10.91.0.2:2222", variables=session)[0], 0)

    def test_beside_a_daemon(self):
        self.lab.serve_plain()
        daemon = self.lab.daemon(self.lab.config(mode="observe", alerts=[])).start()
        argv = ["block", "--standalone", "--socket", daemon.socket, "10.91.0.2:9100"]
        got, _, err = self.verb(*argv)
        self.assertEqual(got, 1, err)
        self.assertIn("--beside-daemon", err)
        self.assertFalse(self.has_table())
        got, _, err = self.verb(*argv, "--beside-daemon")
        self.assertEqual(got, 0, err)
        self.assertTrue(self.lab.is_refused(self.lab.TARGET, 9100))
        self.assertEqual(daemon.ctl_json("blocks")["blocks"], [])
        daemon.ctl("block", "10.91.0.2:9101", "--reason", "x")
        # The panic lifts both.
        done = daemon.ctl("panic")
        self.assertIn("no rule of pprofwall is in the kernel", done.stdout)
        self.assertNotIn("pprofwall", self.lab.nft("list", "tables").stdout)
        self.assertEqual(self.status(self.lab.TARGET), 200)


class PrintTest(LabTest):
    def print_rules(self, *argv):
        """Without privileges."""
        status, out, err = self.verb("block", "--print", *argv,
                                     before=["setpriv", "--reuid", "64101", "--clear-groups"])
        self.assertEqual(status, 0, err)
        return out

    def load(self, *argv):
        path = os.path.join(self.lab.directory, "rules.nft")
        with open(path, "w", encoding="ascii") as file:
            file.write(self.print_rules("nft", *argv))
        self.lab.nft("-c", "-f", path)
        self.lab.nft("-f", path)
        return path

    def test_nft(self):
        lab = self.lab
        self.serve_both()
        lab.serve_plain(port=9101)
        self.assertEqual(self.status(lab.TARGET, source=lab.STRANGER), 200)
        kept = lab.connect(lab.TARGET, 9100, source=lab.STRANGER)
        self.addCleanup(kept.close)
        path = self.load("--allow", "10.91.0.3,fd91::3,10.91.0.3/32", "10.91.0.2:9100",
                         "[fd91::2]:9100")
        self.assert_walled()
        self.assertEqual(self.status(lab.TARGET, 9101, source=lab.STRANGER), 200)
        with self.assertRaises(ConnectionError):
            kept.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            if not kept.recv(1):
                raise ConnectionError("closed without an answer")
        lab.nft("-f", path)  # at will
        self.assert_walled()
        lab.nft("delete", "table", "inet", "pprofwall-printed")
        self.assertEqual(self.status(lab.TARGET, source=lab.STRANGER), 200)

    def test_nft_expires(self):
        self.lab.serve_plain()
        text = self.print_rules("nft", "10.91.0.2:9100")
        self.assertIn("NOTHING HERE EXPIRES", text)
        self.assertNotIn("timeout", text)
        self.load("--for", f"{2 * SLOW}s", "10.91.0.2:9100")
        self.assertTrue(self.lab.is_refused(self.lab.TARGET, 9100))
        wait_until(lambda: not self.lab.is_refused(self.lab.TARGET, 9100), 20 * SLOW, "over")

    def policies(self, *argv):
        return list(yaml.safe_load_all(self.print_rules("networkpolicy", *argv)))

    @staticmethod
    def allows(policy, protocol, port, source):
        """What a network plug-in makes of it."""
        def has_port(rule):
            return any(p["protocol"] == protocol and
                       p["port"] <= port <= p.get("endPort", p["port"]) for p in rule["ports"])

        def has_source(rule):
            return "from" not in rule or any(
                ipaddress.ip_address(source) in ipaddress.ip_network(f["ipBlock"]["cidr"])
                for f in rule["from"])
        return any(has_port(r) and has_source(r) for r in policy["spec"]["ingress"])

    def test_network_policy(self):
        policies = self.policies("--allow", "10.1.0.0/16,fd01::/64", "10.0.0.7:9100",
                                 "[fd00::7]:1", "10.0.0.7:9101", "10.0.0.7:65535")
        self.assertEqual([p["metadata"]["name"] for p in policies],
                         ["pprofwall-10-0-0-7", "pprofwall-fd000000000000000000000000000007"])
        four, six = policies
        for port, stranger in ((1, True), (9099, True), (9100, False), (9101, False),
                               (9102, True), (65534, True), (65535, False)):
            self.assertEqual(self.allows(four, "TCP", port, "10.9.9.9"), stranger, port)
            self.assertTrue(self.allows(four, "TCP", port, "10.1.2.3"), port)
        self.assertTrue(self.allows(four, "UDP", 9100, "10.9.9.9"))
        self.assertFalse(self.allows(six, "TCP", 1, "fd09::1"))
        self.assertTrue(self.allows(six, "TCP", 1, "fd01::1"))
        nobody, = self.policies("10.0.0.7:9100")
        self.assertFalse(self.allows(nobody, "TCP", 9100, "10.1.2.3"))
        for policy in policies:
            label, = policy["spec"]["podSelector"]["matchLabels"].values()
            self.assertRegex(label, r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
            self.assertRegex(policy["metadata"]["name"], r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
        self.check_schema([*policies, nobody])

    def check_schema(self, policies):
        if not SCHEMA.exists():
            self.skipTest("Kubernetes' schema is not there: run `./dev servers` once, with pip3")
        schema = json.loads(SCHEMA.read_text(encoding="utf-8").replace("/api/_definitions.json#",
                                                                       "#"))
        reference = {"$ref": "#/$defs/io.k8s.api.networking.v1.NetworkPolicy"}
        check = jsonschema.Draft7Validator({**schema, **reference})
        for policy in policies:
            check.validate(policy)
        policies[0]["spec"]["podSelektor"] = policies[0]["spec"].pop("podSelector")
        with self.assertRaises(jsonschema.ValidationError):
            check.validate(policies[0])


if __name__ == "__main__":
    unittest.main()
