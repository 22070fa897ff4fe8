#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway: pprofwalld on a router, its targets on machines behind it."""
import unittest

from lab import IS_ASAN, Lab, run, wait_until

SLOW = 3 if IS_ASAN else 1
SERVER, OTHER, SERVER6, OTHER6 = "10.92.0.2", "10.92.0.3", "fd92::2", "fd92::3"
STACKS = "/debug/pprof/goroutine?debug=2"


class GatewayTest(unittest.TestCase):
    """client -- target (the router) -- server, which has two addresses of each family."""

    def setUp(self):
        self.lab = lab = Lab()
        self.addCleanup(lab.close)
        lab._add_namespace("server")  # pylint: disable=protected-access
        router, server = lab.name_of("target"), lab.name_of("server")
        run("ip", "link", "add", "eth1", "netns", router, "type", "veth",
            "peer", "name", "eth0", "netns", server)
        for name, device, addresses in (
                (router, "eth1", ["10.92.0.1/24", "fd92::1/64"]),
                (server, "eth0", [f"{SERVER}/24", f"{OTHER}/24", f"{SERVER6}/64",
                                  f"{OTHER6}/64"])):
            for address in addresses:
                run("ip", "-n", name, "address", "add", address, "dev", device,
                    *(["nodad"] if ":" in address else []))
            run("ip", "-n", name, "link", "set", device, "up")
        lab.run("target", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1")
        client = lab.name_of("client")
        run("ip", "-n", client, "route", "add", "10.92.0.0/24", "via", lab.TARGET)
        run("ip", "-n", client, "-6", "route", "add", "fd92::/64", "via", lab.TARGET6)
        run("ip", "-n", server, "route", "add", "default", "via", "10.92.0.1")
        run("ip", "-n", server, "-6", "route", "add", "default", "via", "fd92::1")
        for address, port in ((SERVER, 9100), (SERVER, 9101), (OTHER, 9100), (SERVER6, 9100),
                              (SERVER6, 9101), (OTHER6, 9100)):
            shown = f"[{address}]" if ":" in address else address
            lab.serve("prometheus-node-exporter", f"--web.listen-address={shown}:{port}",
                      port=port, address=address, namespace="server")

    def status(self, address, port=9100, path=STACKS, source=None):
        if source is None:
            source = self.lab.STRANGER6 if ":" in address else self.lab.STRANGER
        return self.lab.get(address, port, path, source=source, timeout=5 * SLOW)[0]

    def refused(self, address, port=9100):
        return self.lab.is_refused(
            address, port, self.lab.STRANGER6 if ":" in address else self.lab.STRANGER)

    def assert_neighbours_untouched(self):
        for address, port in ((SERVER, 9101), (OTHER, 9100), (SERVER6, 9101), (OTHER6, 9100)):
            self.assertEqual(self.status(address, port), 200, (address, port))

    def publish(self):
        """The router's port 8080 leads to the server, as a load balancer's would."""
        self.lab.nft("add", "table", "ip", "published")
        self.lab.nft("add chain ip published pre { type nat hook prerouting priority dstnat; }")
        self.lab.nft(f"add rule ip published pre tcp dport 8080 dnat to {SERVER}:9100")

    def config(self, mode):
        config = self.lab.config(mode=mode, alerts=[],
                                 scan={"targets": [f"{SERVER}:9100", f"[{SERVER6}]:9100"]})
        config["breakers"][0]["allow_from"] = [self.lab.ALLOWED, self.lab.ALLOWED6]
        return config

    def test_forward_path(self):
        self.publish()
        daemon = self.lab.daemon(self.config("observe")).start()
        for endpoint in (f"{SERVER}:9100", f"[{SERVER6}]:9100"):
            daemon.wait_metric("pprofwall_breaker_state", 1, 20 * SLOW, endpoint=endpoint,
                               state="open")
        # The leak: found, but only observed.
        self.assertEqual((self.status(SERVER), self.status(SERVER6)), (200, 200))
        self.assertEqual(self.status(self.lab.TARGET, 8080), 200)
        kept = self.lab.connect(SERVER, 9100, source=self.lab.STRANGER)
        self.addCleanup(kept.close)

        daemon.write_config(self.config("enforce"))
        daemon.ctl("reload")
        for address in (SERVER, SERVER6):
            wait_until(lambda a=address: self.refused(a), 20 * SLOW, f"{address} is refused")
        self.assertTrue(self.refused(self.lab.TARGET, 8080))
        with self.assertRaises(ConnectionError):
            kept.sendall(f"GET {STACKS} HTTP/1.0\r\n\r\n".encode())
            if not kept.recv(1):
                raise ConnectionError("closed without an answer")
        self.assertEqual(self.status(SERVER, source=self.lab.ALLOWED), 200)
        self.assertEqual(self.status(SERVER6, source=self.lab.ALLOWED6), 200)
        self.assert_neighbours_untouched()
        # The router's own eyes still see through its wall.
        states = {e["endpoint"]: e for e in daemon.ctl_json("status")["endpoints"]}
        self.assertEqual(states[f"{SERVER}:9100"]["verdict"], "confirmed")
        packets = {b["endpoint"]: b["packets"] for b in daemon.ctl_json("blocks")["blocks"]}
        self.assertGreater(packets[f"{SERVER}:9100"], 0)
        self.assertGreater(packets[f"[{SERVER6}]:9100"], 0)

    def test_block_by_hand(self):
        """Of a machine that is no target at all."""
        daemon = self.lab.daemon(self.lab.config(
            mode="observe", alerts=[], scan={"targets": [f"{SERVER}:9101"]})).start()
        self.assertEqual(self.status(SERVER), 200)
        daemon.ctl("block", f"{SERVER}:9100", f"[{SERVER6}]:9100", "--reason", "INC-7")
        self.assertTrue(self.refused(SERVER))
        self.assertTrue(self.refused(SERVER6))
        self.assert_neighbours_untouched()
        for endpoint in (f"{SERVER}:9100", f"[{SERVER6}]:9100"):
            daemon.ctl("unblock", endpoint, "--reason", "done")
        self.assertEqual((self.status(SERVER), self.status(SERVER6)), (200, 200))


if __name__ == "__main__":
    unittest.main()
