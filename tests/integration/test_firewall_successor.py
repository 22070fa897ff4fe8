# SPDX-License-Identifier: GPL-2.0-or-later
"""What a helper makes of the table that an earlier one has left: its own as it is, or a new one."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import MANUAL, Helper  # noqa: E402
from lab import wait_until  # noqa: E402
from test_firewall import CONFIG, DEFAULT, PORT, SEALED, Base, is_persist_possible  # noqa: E402


class Successor:
    """Once with each kind of table."""

    def handles(self):
        """The kernel's numbers of our chains and rules: those that are made anew have others."""
        shown = self.lab.nft("-a", "list", "table", "inet", "pprofwall").stdout
        return re.findall(r"# handle (\d+)", shown)

    def shown(self):
        """Some of our rules and lists, as nft(8) shows them."""
        return [self.lab.nft("list", kind, "inet", "pprofwall", name).stdout
                for kind, name in (("chain", "prerouting"), ("chain", "refuse"),
                                   ("set", "allow4_32_default"))]

    def succeed(self, **changes):
        """Another helper in place of the one that was killed; is the table as it was?"""
        handles = self.handles()
        self.helper = Helper(self.lab).start(self.config(**changes))
        return self.handles() == handles

    def test_a_successor_leaves_alone_what_nobody_has_touched(self):
        lab, helper, port = self.lab, self.start(), self.add_quiet_port()
        self.assert_ok(helper.block(lab.TARGET, port, DEFAULT, timeout_ms=30_000))
        self.assert_ok(helper.block(lab.TARGET6, PORT, MANUAL, timeout_ms=1200))
        self.assert_ok(helper.block("10.0.0.1", 443, DEFAULT))
        self.assert_ok(helper.unblock("10.0.0.1", 443))
        self.assert_reset(source=lab.STRANGER, port=port)
        for _ in range(2):
            helper.kill()
            self.assert_reset(source=lab.STRANGER, port=port)
            self.assertTrue(self.succeed())
            helper = self.helper
        found = helper.list()[(lab.TARGET, port)]
        self.assertEqual((found.rule, found.packets), (DEFAULT, 3))
        self.assertTrue(10_000 < found.expires_ms < 30_000)
        wait_until(lambda: set(helper.list()) == {(lab.TARGET, port)}, 5, "the other expires")
        # And it is the new one's own: for requests, for configurations, and against others.
        self.assert_reset(source=lab.STRANGER, port=port)
        self.assert_open(source=lab.ALLOWED, port=port)
        self.assert_ok(helper.block(lab.TARGET, port, SEALED, timeout_ms=30_000))
        lab.nft("flush", "ruleset")
        if self.persist == "off":
            self.assertEqual(helper.wait_event().blocks, 1)
        self.assert_reset(source=lab.STRANGER, port=port)
        helper.reload(self.config(protect={"ports": [443]}))
        self.assertEqual(helper.list()[(lab.TARGET, port)].rule, SEALED)
        self.assert_ok(helper.unblock(lab.TARGET, port))
        self.assert_open(source=lab.STRANGER, port=port)

    def test_a_successor_undoes_what_others_did_meanwhile(self):
        lab, table = self.lab, "inet pprofwall"
        changes = {
            "a rule that lets all pass": f"insert rule {table} prerouting accept",
            "rules that are gone": f"flush chain {table} refuse",
            "a client on a list": f"add element {table} allow4_32_default {{ {lab.STRANGER} }}",
            "a protected port": f"add element {table} block4 "
                                "{ 10.0.0.1 . tcp . 22 timeout 1h : jump rule_default }",
            "no expiry": f"add element {table} block4 {{ 10.0.0.1 . tcp . 80 : jump manual }}",
            "another protocol": f"add element {table} block4 "
                                "{ 10.0.0.1 . udp . 80 timeout 1h : jump manual }",
            "a counter that is gone": f"delete element {table} hits4 {{ KEY }}",
            "another chain": f"delete element {table} block4 {{ KEY }}; add element {table} "
                             f"block4 {{ KEY timeout 1m : jump discard }}",
            "no wall on bridges": "flush map bridge pprofwall block4",
            "a table that sleeps": f"add table {table} {{ flags dormant; }}",
            "an object besides": f"add counter {table} c",
        }
        for what, change in changes.items():
            with self.subTest(what):
                self.clean()
                helper, port = self.start(), self.add_quiet_port()
                key = f"{lab.TARGET} . tcp . {port}"
                self.assert_ok(helper.block(lab.TARGET, port, DEFAULT, timeout_ms=60_000))
                self.assert_reset(source=lab.STRANGER, port=port)
                rules = self.shown()
                helper.kill()
                # An orphaned table cannot be put to sleep: that is EOPNOTSUPP.
                done = lab.nft(change.replace("KEY", key), check=False)
                self.assertTrue(done.returncode == 0 or "sleeps" in what, done.stderr)
                if done.returncode == 0:
                    self.assertFalse(self.succeed())
                else:
                    self.succeed()
                found = self.helper.list()
                self.assertEqual(set(found), {(lab.TARGET, port)})
                if "counter" not in what:
                    self.assertEqual(found[(lab.TARGET, port)].packets, 1)
                shown = lab.nft("list", "map", *table.split(), "block4").stdout
                self.assertEqual(shown.count(" tcp "), 1, shown)
                self.assertNotIn("udp", shown)
                self.assertIn("jump orphan" if "chain" in what else "jump rule_default", shown)
                self.assertEqual(self.shown(), rules)
                self.assertIn(lab.TARGET,
                              lab.nft("list", "map", "bridge", "pprofwall", "block4").stdout)
                self.assertNotIn("counter c", lab.nft("list", "table", *table.split()).stdout)
                self.assert_reset(source=lab.STRANGER, port=port)

    def test_what_others_do_elsewhere_is_no_matter_to_a_successor(self):
        """The owner says from time to time that its table is as it was; a plain one has none."""
        helper = self.start()
        self.assert_ok(helper.block("10.0.0.1", 443, DEFAULT))
        self.lab.nft("add table ip other; add chain ip other c; add rule ip other c accept")
        helper.ping()
        helper.kill()
        self.assertEqual(self.succeed(), self.persist == "auto" and is_persist_possible())
        self.lab.nft("delete table ip other")
        self.assertEqual(self.helper.stop(), 0)  # an orderly end says it, too
        self.assertEqual(self.succeed(), self.persist == "auto" and is_persist_possible())
        self.assertEqual(set(self.helper.list()), {("10.0.0.1", 443)})

    def test_a_successor_with_another_configuration_makes_the_table_anew(self):
        helper = self.start()
        self.assert_ok(helper.block("10.0.0.1", 443, DEFAULT))
        helper.kill()
        config = self.config()
        config["breakers"][0]["allow_from"] = ["10.91.0.4"]
        self.assertFalse(self.succeed(breakers=config["breakers"]))
        self.helper.kill()
        # The same rules, but the port is protected now.
        self.assertFalse(self.succeed(breakers=config["breakers"], protect={
            "ports": [443], "sources": CONFIG["protect"]["sources"]}))
        self.assertEqual(self.helper.list(), {})


class OwnedSuccessor(Successor, Base):
    persist = "auto"


class PlainSuccessor(Successor, Base):
    persist = "off"


if __name__ == "__main__":
    unittest.main()
