# SPDX-License-Identifier: GPL-2.0-or-later
"""The routing rules that take packets to the filter: made, kept, removed, and whose way they cross.

The helper is asked directly; who goes where by them is in test_filter_roads.py.
"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from firewall_helper import PANIC, RESUME, Helper  # noqa: E402
from lab import run  # noqa: E402
from test_daemon import DaemonTest  # noqa: E402
from test_firewall import Base  # noqa: E402

FILTERS = [{"name": "filtered", "action": "filter"}]
RULES = [
    "60: from all fwmark 0x70000000/0xf0000000 lookup 28791 proto 112",
    "61: from all fwmark 0x60000000/0xf0000000 iif lo goto 63 proto 112",
    "62: from all fwmark 0x60000000/0xf0000000 lookup 28791 proto 112",
    "63: from all nop proto 112",
]


class Road(Base):
    def clean(self):
        super().clean()
        for family in ("-4", "-6"):
            for rule in self.rules(family):
                run("ip", "-n", self.target, family, "rule", "delete", "preference",
                    rule.split(":")[0])
            run("ip", "-n", self.target, family, "route", "flush", "table", "28791", check=False)

    @property
    def target(self):
        return self.lab.name_of("target")

    def rules(self, family, ours=True):
        lines = run("ip", "-n", self.target, family, "rule", "show").stdout.splitlines()
        return [" ".join(line.split()) for line in lines if ("proto 112" in line) == ours]

    def routes(self, family):
        done = run("ip", "-n", self.target, family, "route", "show", "table", "28791", check=False)
        return [" ".join(line.split()[:4]) for line in done.stdout.splitlines()]

    def assert_road(self, there):
        for family in ("-4", "-6"):
            self.assertEqual(self.rules(family), RULES if there else [])
            self.assertEqual(self.routes(family), ["local default dev lo"] if there else [])

    def filtering(self, **changes):
        return self.config(**{"breakers": FILTERS, **changes})

    def start_filtering(self, **changes):
        self.helper = Helper(self.lab).start(self.filtering(**changes))
        return self.helper

    def test_it_is_there_while_something_filters(self):
        before = [self.rules(family, ours=False) for family in ("-4", "-6")]
        helper = self.start()
        self.assert_road(False)
        helper.reload(self.filtering())
        self.assert_road(True)
        helper.reload(self.filtering(mode="observe"))
        self.assert_road(False)
        helper.reload(self.filtering())
        self.assert_road(True)
        helper.reload(self.config())
        self.assert_road(False)
        self.assertEqual([self.rules(family, ours=False) for family in ("-4", "-6")], before)

    def test_it_outlives_the_helper_and_is_taken_over(self):
        self.start_filtering().kill()
        self.assert_road(True)
        helper = self.start_filtering()
        self.assert_road(True)
        self.assertEqual(helper.stop(), 0)
        self.assert_road(True)
        self.start()  # nothing filters any more
        self.assert_road(False)

    def test_it_goes_with_the_table(self):
        helper = self.start_filtering()
        self.assert_ok(helper.ask(PANIC))
        self.assert_road(False)
        self.assert_ok(helper.ask(RESUME))
        self.assert_road(True)
        helper.reload(self.filtering(on_stop="remove"))
        self.assertEqual(helper.stop(), 0)
        self.assert_road(False)
        self.start_filtering().kill()
        self.assertEqual(self.tool("--delete-table").returncode, 0)
        self.assert_road(False)

    def test_it_is_restored(self):
        helper = self.start_filtering()
        run("ip", "-n", self.target, "rule", "delete", "preference", "62")
        run("ip", "-n", self.target, "-6", "route", "flush", "table", "28791")
        helper.ping()
        self.assert_road(True)
        self.assertIn("the road to the filter was changed by another program",
                      helper.process.output)

    def test_one_with_other_numbers_takes_its_place(self):
        self.start_filtering(firewall={"route_table": 777, "route_mark": 0x80000000}).kill()
        self.assertEqual(len(self.rules("-4")), len(RULES))
        self.start_filtering()
        self.assert_road(True)
        done = run("ip", "-n", self.target, "route", "show", "table", "777", check=False)
        self.assertEqual(done.stdout, "")

    # Whose way it would cross

    def refused(self, config=None):
        """Why a start is refused; the running helper's reload, if there is one, just so."""
        helper = self.helper or Helper(self.lab)
        self.helper = helper
        error, text = helper.check(config or self.filtering())
        self.assertTrue(error)
        self.assertNotIn("\n", text)
        return text

    def undo(self, *argv):
        self.addCleanup(run, "ip", "-n", self.target, *argv, check=False)

    def add_rule(self, *rule):
        run("ip", "-n", self.target, "rule", "add", *rule)
        self.undo("rule", "delete", *rule)

    def test_a_rule_of_another_with_our_marks(self):
        self.add_rule("fwmark", "0x20000000/0x20000000", "lookup", "99")
        text = self.refused()
        self.assertRegex(text, r"the IPv4 rule of preference \d+ of another program asks for "
                               r"fwmark 0x20000000/0x20000000, and firewall.mark_mask 0xf0000000")
        # Nobody minds it who does not filter, or who has other marks.
        self.helper.start(self.config())
        self.refused()
        self.helper.kill()
        self.start_filtering(firewall={
            "mark_mask": 0xC000000, "mark": 0x4000000, "route_mark": 0x8000000})
        self.assertEqual(len(self.rules("-4")), len(RULES))

    def test_a_rule_of_a_vpn_is_in_nobodys_way(self):
        self.add_rule("not", "fwmark", "0xca6c", "lookup", "51820")
        self.start_filtering()
        self.assert_road(True)

    def test_cilium_uses_most_of_the_bits(self):
        self.add_rule("fwmark", "0x200/0xf00", "lookup", "2004")
        self.assertIn("Cilium is here", self.refused())

    def test_our_table_in_use(self):
        run("ip", "-n", self.target, "-6", "route", "add", "fd99::/64", "dev", "eth0", "table",
            "28791")
        self.undo("-6", "route", "flush", "table", "28791")
        self.assertIn("firewall.route_table 28791 has IPv6 routes of another program",
                      self.refused())
        run("ip", "-n", self.target, "-6", "route", "flush", "table", "28791")
        self.add_rule("from", "10.99.0.0/24", "lookup", "28791")
        self.assertIn("firewall.route_table 28791 is in use by the IPv4 rule", self.refused())

    def test_marks_that_somebodys_nftables_rules_set(self):
        for rule in ("meta mark set meta mark and 0x0fffffff or 0x10000000",
                     "ct mark set 0x80000000"):
            self.lab.nft("add table ip vpn; add chain ip vpn pre { type filter hook prerouting "
                         f"priority 0; }}; add rule ip vpn pre {rule}")
            self.assertRegex(self.refused(), "chain pre of the nftables table vpn sets the bits "
                                             "0x(1|8)0000000 of marks")
            self.lab.nft("delete table ip vpn")
        self.lab.nft("add table ip vpn; add chain ip vpn pre { type filter hook prerouting "
                     "priority 0; }; add rule ip vpn pre meta mark set meta mark or 0x4000")
        self.helper.start(self.filtering())
        self.assert_road(True)


class Daemon(DaemonTest):
    def test_a_collision_ends_the_start_with_one_line_and_refuses_a_reload(self):
        lab, target = self.lab, self.lab.name_of("target")
        filtering = lab.config(filters=[{"name": "exporters", "match": {"ports": [9100]}}])
        daemon = lab.daemon().start()
        run("ip", "-n", target, "rule", "add", "fwmark", "0x20000000/0x20000000", "lookup", "99")
        daemon.write_config(filtering)
        done = daemon.ctl("reload", check=False)
        self.assertNotEqual(done.returncode, 0)
        line = "of another program asks for fwmark 0x20000000/0x20000000"
        self.assertIn(line, done.stdout + done.stderr)
        self.assertEqual(daemon.stop(), 0)
        daemon.start(ready=False)
        self.assertNotEqual(daemon.process.wait(20), 0)
        self.assertEqual(len([said for said in daemon.process.lines if line in said]), 1,
                         daemon.output)
        run("ip", "-n", target, "rule", "delete", "fwmark", "0x20000000/0x20000000", "lookup",
            "99")
        daemon.start()
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
