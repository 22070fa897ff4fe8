#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""enforce_percent: which hosts of a fleet enforce, and what the others do."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import firewall_helper as fw  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from test_daemon import ENDPOINT, SLOW, DaemonTest  # noqa: E402


class Rollout(DaemonTest):
    """Of one host: at 0 nobody is in, at 100 everybody, and between them its number decides."""

    def test_nobody_at_0_everybody_at_100(self):
        daemon = self.start_tripped(enforce_percent=0)
        event = self.hook.wait_event("opened", timeout=10 * SLOW)
        self.assertEqual((event["mode"], event["held_back"], event["action"]),
                         ("observe", True, "observe"))
        self.assertIn("enforce_percent", event["text"])
        self.assert_open_to_all()
        status = daemon.ctl_json("status")
        self.assertEqual(status["mode"], "observe")
        self.assertEqual((status["rollout"]["enforce_percent"], status["rollout"]["held_back"]),
                         (0, True))
        self.assertEqual(daemon.metric("pprofwall_held_back"), 1)
        self.assertEqual(daemon.metric("pprofwall_enforcing"), 0)

        daemon.write_config(self.lab.config(enforce_percent=100))
        daemon.ctl("reload")
        wait_until(self.refused, 10 * SLOW, "the stranger is refused")
        self.assert_walled()
        self.assertEqual(daemon.metric("pprofwall_held_back"), 0)
        self.assertEqual(daemon.metric("pprofwall_enforcing"), 1)

        daemon.write_config(self.lab.config(enforce_percent=0))
        daemon.ctl("reload")
        wait_until(lambda: not self.refused(), 10 * SLOW, "the block is lifted")
        self.assertEqual(self.status(ENDPOINT)["action"], "observe")

    def test_its_number_decides_and_stays(self):
        self.lab.serve_node_exporter()
        self.lab.webhook()
        daemon = self.start(enforce_percent=0)
        number = daemon.ctl_json("status")["rollout"]["host"]
        self.assertTrue(0 <= number < 100, number)
        for percent in {int(number), min(int(number) + 1, 100)}:
            daemon.write_config(self.lab.config(enforce_percent=percent))
            daemon.ctl("reload")
            rollout = daemon.ctl_json("status")["rollout"]
            self.assertEqual((rollout["host"], rollout["held_back"]), (number, percent <= number))
        self.assertEqual(daemon.stop(), 0)
        daemon.start()
        self.assertEqual(daemon.ctl_json("status")["rollout"]["host"], number)


class Firewall(unittest.TestCase):
    """The firewall process does not take the agent's word for it."""

    def test_refuses_rules_where_the_host_is_not_in(self):
        config = {"mode": "enforce", "enforce_percent": 0,
                  "breakers": [{"name": "default", "allow_from": [Lab.ALLOWED]}]}
        with Lab() as lab:
            helper = fw.Helper(lab).start(config)
            self.assertEqual(helper.block(Lab.TARGET, 9100).result, fw.BAD_RULE)
            self.assertEqual(helper.block(Lab.TARGET, 9101, rule=fw.MANUAL).result, fw.OK)
            helper.reload({**config, "enforce_percent": 100})
            self.assertEqual(helper.block(Lab.TARGET, 9100).result, fw.OK)


if __name__ == "__main__":
    unittest.main(verbosity=2)
