#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A wall is believed when a stranger was refused: what holds, what does not, what cannot be told."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Lab, wait_until  # noqa: E402
from test_daemon import ENDPOINT, SLOW, DaemonTest  # noqa: E402

POD, POD_HOST = "10.92.0.2", "10.92.0.1"
POD_ENDPOINT = f"{POD}:9100"
LINK = "pprofwall0"  # the host's end of the inventory helper's own namespace


class Verify(DaemonTest):
    def wall(self, endpoint=ENDPOINT):
        return self.status(endpoint)["wall"]

    def wait_wall(self, state, endpoint=ENDPOINT, timeout=15):
        wait_until(lambda: (self.wall(endpoint) or {}).get("state") == state, timeout * SLOW,
                   f"the wall is {state}", interval=0.1)
        return self.wall(endpoint)

    def test_a_wall_that_holds(self):
        self.start_tripped()
        wall = self.wait_wall("verified")
        self.assertIsNone(wall["why"])
        self.assertTrue(wall["checked"])
        self.assertEqual(self.daemon.metric("pprofwall_walls", state="verified"), 1)
        self.assertEqual(self.daemon.metric("pprofwall_walls_ineffective"), 0)
        self.assertEqual(self.daemon.http("/readyz")[0], 200)
        self.assert_walled()

    def test_a_silent_wall_holds_too(self):
        self.start_tripped(breakers=self.config_of(refuse="drop")["breakers"])
        self.wait_wall("verified")

    def test_who_is_let_through_proves_nothing(self):
        self.start_tripped()
        self.wait_wall("verified")
        for allow_from, state in ((["0.0.0.0/0"], "unproven"), ([Lab.ALLOWED], "verified"),
                                  ([Lab.ALLOWED, "169.254.213.0/30"], "unproven")):
            self.daemon.write_config(self.config_of(allow_from=allow_from))
            self.daemon.ctl("reload")
            wall = self.wait_wall(state)
            self.assertEqual("allow_from" in (wall["why"] or ""), state == "unproven")
        self.assertEqual(self.daemon.metric("pprofwall_walls_ineffective"), 0)

    def test_switched_off(self):
        self.start_tripped(firewall={"verify": False})
        wait_until(self.refused, 10 * SLOW, "the stranger is refused")
        self.assertEqual(self.wall()["state"], "none")

    # A wall that is not in the path

    def add_pod(self, mac):
        """A namespace behind the target, as a pod is, with a node_exporter in it."""
        lab, host = self.lab, self.lab.name_of("target")
        lab._add_namespace("pod")
        pod = lab.name_of("pod")
        lab.run("target", "ip", "link", "add", "pod0", "type", "veth", "peer", "name", "eth0",
                "netns", pod)
        for name, link, address in ((host, "pod0", POD_HOST), (pod, "eth0", POD)):
            namespace = "target" if name == host else "pod"
            lab.run(namespace, "ip", "address", "add", f"{address}/24", "dev", link)
            if namespace == "pod" and mac:
                lab.run(namespace, "ip", "link", "set", link, "address", mac)
            lab.run(namespace, "ip", "link", "set", link, "up")
        lab.run("pod", "ip", "route", "add", "default", "via", POD_HOST)
        lab.run("target", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        lab.run("client", "ip", "route", "add", "10.92.0.0/24", "via", Lab.TARGET)
        lab.serve("prometheus-node-exporter", f"--web.listen-address={POD}:9100", port=9100,
                  address=POD, namespace="pod")

    def mac_of(self, link):
        text = self.lab.run("target", "cat", f"/sys/class/net/{link}/address").stdout
        return text.strip()

    def redirect(self, verb):
        """Packets for the pod go from tc straight to its device: nftables never sees them.

        That is what Cilium's BPF host routing does on its devices. The frames keep their
        destination's hardware address, so that the pod has that of the link they came in on.
        """
        tc = ("tc", "filter", verb, "dev", LINK, "ingress", "protocol", "ip", "prio", "1", "u32")
        if verb == "del":
            tc = tc[:-1]
            self.lab.run("target", *tc)
            return
        self.lab.run("target", "tc", "qdisc", "add", "dev", LINK, "clsact")
        self.lab.run("target", *tc, "match", "ip", "dst", f"{POD}/32", "action", "mirred", "egress",
                     "redirect", "dev", "pod0")

    def test_a_wall_that_packets_go_round(self):
        self.hook = self.lab.webhook()
        daemon = self.start(scan={"targets": [POD_ENDPOINT]}, firewall={"slack": "1m"})
        wait_until(lambda: os.path.exists(f"/run/netns/{self.lab.name_of('target')}")
                   and LINK in self.lab.run("target", "ip", "link").stdout, 10 * SLOW,
                   "the helper's own namespace")
        self.add_pod(self.mac_of(LINK))
        self.redirect("add")
        self.wait_open(POD_ENDPOINT)
        event = self.hook.wait_event("ineffective", timeout=20 * SLOW)
        self.assertEqual((event["endpoint"], event["action"]), (POD_ENDPOINT, "drop"))
        self.assertIn("still reachable", event["text"])
        wall = self.wait_wall("ineffective", POD_ENDPOINT)
        self.assertIn("nftables", wall["why"])
        self.assertEqual(daemon.metric("pprofwall_walls_ineffective"), 1)
        status, text = daemon.http("/readyz")
        self.assertEqual(status, 503)
        self.assertIn(f"a wall is not in the path: {POD_ENDPOINT}", text)
        self.assertIn("blocked, and still reachable", daemon.output)

        # Mended, it is noticed, and told once.
        self.redirect("del")
        self.hook.wait_event("effective", timeout=60 * SLOW)
        self.assertEqual(self.wall(POD_ENDPOINT)["state"], "verified")
        self.assertEqual(daemon.metric("pprofwall_walls_ineffective"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
