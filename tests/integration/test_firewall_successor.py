# SPDX-License-Identifier: GPL-2.0-or-later
"""What a helper makes of the table that an earlier one has left: its own as it is, or a new one."""
import os
import re
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import MANUAL, PANIC, PANICKED, RESUME, STATUS, Helper  # noqa: E402
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


@unittest.skipUnless(is_persist_possible(), "Linux 6.9 or later")
class Reading(Base):
    """What is blocked is in force, and the successor ready, before the successor has read it."""
    COUNT = 12_000
    LIMITS = {"max_blocks": 20_000, "max_blocks_per_minute": 20_000}

    def setUp(self):
        super().setUp()
        self.port = self.add_quiet_port()
        helper = self.start(firewall=self.LIMITS)
        places = [(f"10.0.{i >> 8}.{i & 255}", 443 if i % 3 else 80) for i in range(self.COUNT)]
        self.places = {*places, (self.lab.TARGET, self.port)}
        helper.block_many([(*place, DEFAULT, 600_000) for place in self.places])
        helper.ping()  # the counters are there, too
        helper.kill()

    def is_a_dump_under_way(self):
        lines = self.lab.run("target", "cat", "/proc/net/netlink").stdout.splitlines()
        column = lines[0].split().index("Dump")
        return any(line.split()[column] != "0" for line in lines[1:])

    def stop_while_reading(self):
        """A successor that has said that it is ready; SIGCONT lets it read on."""
        for _ in range(20):
            self.helper = helper = Helper(self.lab).start(self.config(firewall=self.LIMITS))
            os.kill(helper.pid, signal.SIGSTOP)
            if self.is_a_dump_under_way():
                self.addCleanup(self.go_on, helper)
                return helper
            os.kill(helper.pid, signal.SIGCONT)
            helper.kill()
        self.fail("READY comes when all is read")

    def go_on(self, helper):
        if helper.process.status is None:
            os.kill(helper.pid, signal.SIGCONT)

    def test_it_is_in_force_and_whole_when_the_agent_asks(self):
        lab, helper = self.lab, self.stop_while_reading()
        self.assert_reset(source=lab.STRANGER, port=self.port)
        self.assert_open(source=lab.ALLOWED, port=self.port)
        lab.nft("flush", "ruleset")  # it is owned already
        self.assert_reset(source=lab.STRANGER, port=self.port)
        self.go_on(helper)
        self.assertEqual(helper.ask(STATUS).blocks, len(self.places))
        self.assertEqual(set(helper.list()), self.places)
        self.assertEqual(helper.list()[(lab.TARGET, self.port)].packets, 2)

    def test_after_one_that_died_before_the_counters_were_there(self):
        lab, before = self.lab, Helper(self.lab).start(self.config(firewall=self.LIMITS))
        for verb in (PANIC, RESUME):
            before.ask(verb)
        before.block_many([(*place, DEFAULT, 600_000) for place in self.places])
        before.kill()
        helper = self.start(firewall=self.LIMITS)
        self.assert_reset(source=lab.STRANGER, port=self.port)
        listed = helper.list()
        self.assertEqual(set(listed), self.places)
        self.assertEqual(listed[(lab.TARGET, self.port)].packets, 1)

    def test_another_configuration_meanwhile(self):
        helper = self.stop_while_reading()
        threading.Timer(0.1, self.go_on, [helper]).start()
        helper.reload(self.config(firewall=self.LIMITS, protect={"ports": [80]}))
        self.assertEqual(set(helper.list()), {place for place in self.places if place[1] != 80})
        self.assert_reset(source=self.lab.STRANGER, port=self.port)

    def test_a_panic_meanwhile(self):
        helper = self.stop_while_reading()
        os.kill(helper.pid, signal.SIGUSR1)
        self.go_on(helper)
        event = helper.wait_event()
        self.assertEqual((event.result, event.panicked, event.blocks), (PANICKED, 1, 0))
        self.assert_open(source=self.lab.STRANGER, port=self.port)
        self.assertEqual(helper.ask(RESUME).blocks, 0)
        self.assertEqual(helper.list(), {})

    def test_the_end_meanwhile(self):
        helper = self.stop_while_reading()
        threading.Timer(0.1, self.go_on, [helper]).start()
        self.assertEqual(helper.stop(), 0)
        self.assert_reset(source=self.lab.STRANGER, port=self.port)
        helper = self.stop_while_reading()  # which takes it over as it is
        self.go_on(helper)
        self.assertEqual(set(helper.list()), self.places)

    def test_what_is_none_of_ours_is_found_under_a_good_stamp(self):
        """As only root could forge it."""
        lab, table = self.lab, "inet pprofwall"
        stamp = lab.nft("list", "set", *table.split(), "stamp").stdout
        words = re.findall(r"0x[0-9a-f]+", stamp)
        lab.nft(f"add element {table} block4 {{ 10.0.0.1 . udp . 80 timeout 1h : jump manual }}")
        lab.nft(f"flush set {table} stamp; add element {table} stamp "
                f"{{ {int(words[0], 16) + 2:#x} . {' . '.join(words[1:])} }}")
        helper = self.stop_while_reading()
        self.go_on(helper)
        self.assertEqual(set(helper.list()), self.places)
        self.assertNotIn("udp", lab.nft("list", "map", *table.split(), "block4").stdout)
        self.assert_reset(source=lab.STRANGER, port=self.port)


class PlainSuccessor(Successor, Base):
    persist = "off"


if __name__ == "__main__":
    unittest.main()
