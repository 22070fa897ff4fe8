#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing else, ever: the whole daemon is driven with random configurations, decisions, reloads,
exposures, panics and kills, and the kernel's ruleset is read back after each. PW_SEED repeats a
run, PW_STEPS says how long it is."""
import json
import os
import random
import time
import unittest

from lab import IS_ASAN, Lab, wait_until

SLOW = 3 if IS_ASAN else 1
STEPS = int(os.environ.get("PW_STEPS", "25" if IS_ASAN else "60"))
EXPORTERS = (9100, 9101, 9102)      # real node_exporters
QUIET = (9200, 9201, 9202)          # targets where nobody listens
OURS = 9464                         # our own metrics
PORTS = (*EXPORTERS, *QUIET, 22, 2222, OURS, 9300, 9301)
ADDRESSES = (Lab.TARGET, "192.0.2.7", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255")
# The longest that a block of ours may last: a decision by hand, or open_for and slack.
LONGEST = {"manual": 60, "rule": 30 + 60, "standing": 3600 + 60}


class Invariants(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.daemon = None

    def run(self, result=None):
        """A failed test shows what the daemon said."""
        outcome = super().run(result)
        if result is not None and self.daemon is not None and self.daemon.process:
            if any(test is self for test, _ in result.failures + result.errors):
                print(f"--- {self.id()}: pprofwalld said\n{self.daemon.output[-6000:]}\n---",
                      flush=True)
        return outcome

    # What the kernel has

    def elements(self):
        """{(address, port): (seconds left, chain)}"""
        found = {}
        for name in ("block4", "block6", "filter4", "filter6"):
            done = self.lab.nft("-j", "list", "map", "inet", "pprofwall", name, check=False)
            if done.returncode:
                continue
            for item in json.loads(done.stdout)["nftables"]:
                for key, verdict in item.get("map", {}).get("elem", []):
                    self.assertIn("elem", key, f"an element without expiry: {key}")
                    element = key["elem"]
                    address, protocol, port = element["val"]["concat"]
                    self.assertEqual(protocol, "tcp")
                    self.assertIn("timeout", element)
                    self.assertIn("expires", element)
                    chain = (verdict.get("jump") or verdict.get("goto"))["target"]
                    # What is filtered is not refused as well, and goes nowhere else.
                    self.assertNotIn((address, port), found)
                    self.assertEqual(chain.startswith("filter_"), name.startswith("filter"))
                    found[address, port] = (element["expires"], chain)
        return found

    def set_of(self, name):
        done = self.lab.nft("-j", "list", "set", "inet", "pprofwall", name, check=False)
        if done.returncode:
            return None
        shown = next(i["set"] for i in json.loads(done.stdout)["nftables"] if "set" in i)
        return shown.get("elem", [])

    def check(self, what):
        kernel = self.elements()
        if self.panic:
            self.assertEqual(kernel, {}, f"{what}: something after panic")
            self.assertNotEqual(self.lab.nft("list", "table", "inet", "pprofwall",
                                             check=False).returncode, 0)
            return
        now = time.monotonic()
        self.assertLessEqual(len(kernel), self.conf["firewall"]["max_blocks"], what)
        for place, (left, chain) in kernel.items():
            address, port = place
            self.assertNotIn(port, (*self.conf["protect"]["ports"], OURS), what)
            self.assertIn(address, (Lab.TARGET, "192.0.2.7"), what)
            self.assertTrue(place in self.targets or place in self.asked,
                            f"{what}: {place} was never asked about")
            limit = LONGEST["standing" if chain == "filter_standing" else
                            "rule" if place in self.targets else "manual"]
            if chain.startswith("filter_"):
                self.filtered += 1
                self.assertIn(place, self.targets, f"{what}: only rules filter")
            self.assertLessEqual(left, limit + 1, f"{what}: {place}")
            self.assertTrue(chain, what)
        self.most = max(self.most, len(kernel))
        for place in kernel.keys() - self.before:
            self.made.append(now)
        self.made = [t for t in self.made if now - t < 60]
        self.assertLessEqual(len(self.made), self.most_a_minute, f"{what}: more than a minute's")
        self.before = set(kernel)
        protected = self.set_of("protect4")
        if protected is not None:
            self.assertTrue(protected, what)

    # What is done to it

    def random_conf(self):
        r = self.random
        ports = sorted({22} | {p for p in (2222, 9300, EXPORTERS[2]) if r.random() < 0.3})
        targets = [p for p in (*EXPORTERS, *QUIET) if r.random() < 0.8] or [EXPORTERS[0]]
        rule = {"name": r.choice(("default", "other")), "trip_after": r.choice((1, 2)),
                "confirm_interval": "100ms", "open_for": r.choice(("1s", "30s")),
                "close_after": 1, "action": r.choice(("drop", "drop", "alert", "filter")),
                "allow_from": [Lab.ALLOWED]}
        rules = [rule]
        if r.random() < 0.3:
            rules.append(dict(rule, name="second", severity="low"))
        if rule["action"] == "filter":
            rule.update(on_failure=r.choice(("closed", "open")),
                        fallback=r.choice(("alert", "drop")))
        standing = [{"name": "standing", "match": {"ports": [EXPORTERS[1]]}}]
        self.targets |= {(Lab.TARGET, p) for p in targets}
        conf = self.lab.config(
            mode=r.choice(("enforce", "enforce", "observe")), alerts=None, breakers=rules,
            filters=standing if r.random() < 0.3 else None,
            scan={"targets": [f"{Lab.TARGET}:{p}" for p in targets], "interval": "300ms",
                  "listeners": False},
            protect={"ports": ports, "sources": [f"{Lab.ALLOWED}/32"]},
            firewall={"max_blocks": r.choice((2, 5, 50)),
                      "max_blocks_per_minute": r.choice((20, 60)), "slack": "1m"})
        return conf

    def set_conf(self, conf):
        self.conf = conf
        self.most_a_minute = max(self.most_a_minute,
                                 conf["firewall"]["max_blocks_per_minute"])
        self.daemon.write_config(conf)

    def reload(self):
        before = self.conf
        self.set_conf(self.random_conf())
        # Blocks that a smaller cap would not have let in stay for their time.
        self.conf["firewall"]["max_blocks"] = max(self.conf["firewall"]["max_blocks"],
                                                  before["firewall"]["max_blocks"])
        self.daemon.write_config(self.conf)
        done = self.daemon.ctl("reload", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # A target that is gone is one no longer, once its block is lifted.

    def decide(self):
        r = self.random
        address, port = r.choice(ADDRESSES + (Lab.TARGET,) * 4), r.choice(PORTS)
        verb = r.choice(("block", "block", "block", "unblock"))
        self.asked.add((address, port))
        done = self.daemon.ctl(verb, f"{address}:{port}", "--for",
                               f"{r.choice((1, 5, LONGEST['manual']))}s", "--reason", "test",
                               check=False)
        if verb == "block" and done.returncode == 0:
            self.assertNotIn(port, (*self.conf["protect"]["ports"], OURS))
            self.assertFalse(self.panic)

    def toggle(self):
        port = self.random.choice(EXPORTERS)
        if port in self.running:
            self.running.pop(port).end()
        else:
            self.running[port] = self.lab.serve_node_exporter(port)

    def toggle_panic(self):
        self.daemon.ctl("resume" if self.panic else "panic")
        if self.panic:
            self.panic = False
            return
        self.panic = True
        if self.daemon.process.status is None and not self.daemon.children().get("firewall"):
            self.restart(kill=False)

    def restart(self, kill=True):
        if kill:
            self.daemon.kill_everything()
        self.daemon.start(timeout=40 * SLOW)
        # A new process counts its minute anew.
        self.made = []

    def test_random_steps(self):
        seed = int(os.environ.get("PW_SEED", random.randrange(1 << 32)))
        print(f"{STEPS} steps, PW_SEED={seed}", flush=True)
        self.random = random.Random(seed)
        self.targets, self.asked, self.running = set(), set(), {}
        self.most = self.filtered = 0
        self.panic, self.before, self.made, self.most_a_minute = False, set(), [], 0
        conf = self.random_conf()
        self.daemon = self.lab.daemon(conf)
        self.set_conf(conf)
        self.daemon.start()
        for port in EXPORTERS[:2]:
            self.running[port] = self.lab.serve_node_exporter(port)
        # One at least: a short run may be all panic.
        self.asked.add((Lab.TARGET, EXPORTERS[0]))
        self.daemon.ctl("block", f"{Lab.TARGET}:{EXPORTERS[0]}", "--for", "5s", "--reason", "test")
        self.check("the first block")
        self.assertGreater(self.most, 0)
        steps = [self.decide] * 8 + [self.reload] * 3 + [self.toggle] * 3 + \
            [self.toggle_panic, self.restart]
        counts = {}
        for _ in range(STEPS):
            step = self.random.choice(steps)
            step()
            counts[step.__name__] = counts.get(step.__name__, 0) + 1
            self.check(step.__name__)
            time.sleep(self.random.random() * 0.3)
            self.check(f"some time after {step.__name__}")
        print(counts, f"at most {self.most} blocks; filtered: {self.filtered}", flush=True)
        self.leave()

    def leave(self):
        """Rules gone: nothing is left but what people asked for; that gone, nothing at all."""
        if self.panic:
            self.toggle_panic()
        conf = dict(self.conf, scan={"targets": [], "listeners": False})
        self.daemon.write_config(conf)
        self.daemon.ctl("reload")
        by_hand = {p for p in self.asked}
        wait_until(lambda: set(self.elements()) <= by_hand, 20 * SLOW, "rules' blocks are lifted")
        for block in self.daemon.ctl_json("blocks")["blocks"]:
            self.daemon.ctl("unblock", block["endpoint"], "--reason", "test")
        self.assertEqual(self.elements(), {})


if __name__ == "__main__":
    unittest.main()
