#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What only a container's own network namespace reaches: probed in there, told of, not blocked."""
import os
import signal
import sys
import time
import unittest

import cgroups
from lab import Lab, Process, run, server_program, wait_until
from test_daemon import SLOW, read_status
from test_listeners import ListenersTest

# Of nobody else: the inventory sees every namespace of the machine.
SHARED = f"10.{200 + os.getpid() // 250 % 50}.{os.getpid() % 250}.2"
# Many servers in one process, without profiling.
PLAIN_SERVERS = ("import http.server, sys, threading\n"
                 "class Handler(http.server.BaseHTTPRequestHandler):\n"
                 "    def do_GET(self):\n"
                 "        self.send_error(404)\n"
                 "    def log_message(self, *args):\n"
                 "        pass\n"
                 "for port in sys.argv[2:]:\n"
                 "    s = http.server.ThreadingHTTPServer((sys.argv[1], int(port)), Handler)\n"
                 "    threading.Thread(target=s.serve_forever).start()\n")


class InsideTest(ListenersTest):
    def setUp(self):
        super().setUp()
        self.root, self.base = cgroups.make_root(self)
        self.start_listening()

    def config(self, breakers=None, **scan):
        return super().config(breakers, inside=None, **scan)  # the default

    def start_container(self, identity, namespace, *argv):
        """A program as a container's, and what its namespace is called in endpoints' names."""
        path = os.path.join(self.root, self.base, f"docker-{identity}.scope")
        if not os.path.exists(path):
            cgroups.make(self, path)
        name = self.lab.name_of(namespace)
        process = Process(cgroups.within(path, name, *argv))
        self.addCleanup(process.end)
        return process, f"netns:{os.stat(f'/run/netns/{name}').st_ino}"

    def start_exporter(self, listen, identity="a" * 64, namespace="client"):
        process, netns = self.start_container(
            identity, namespace, server_program("prometheus-node-exporter"),
            f"--web.listen-address={listen}")
        return process, f"{listen}@{netns}"

    def add_pod(self, namespace):
        """A namespace with an address, and no way there from the host's."""
        self.lab._add_namespace(namespace)
        name = self.lab.name_of(namespace)
        run("ip", "-n", name, "address", "add", f"{SHARED}/32", "dev", "lo")

    def wait_opened(self, endpoint):
        return self.hook.wait_event("opened", timeout=20 * SLOW, endpoint=endpoint)

    def wait_gone(self, endpoint):
        return self.hook.wait_event("gone", timeout=20 * SLOW, endpoint=endpoint)

    def find(self, endpoint):
        """What `status --all` says of it, or None."""
        return next((e for e in self.daemon.ctl_json("status", "--all")["endpoints"]
                     if e["endpoint"] == endpoint), None)


class Seen(InsideTest):
    def test_the_loopback_of_a_container(self):
        prober = self.daemon.child("prober")
        begin = time.monotonic()
        _, endpoint = self.start_exporter("127.0.0.1:9100", "ab" * 32)
        event = self.wait_opened(endpoint)
        print(f"\ntold of {(time.monotonic() - begin) * 1000:.0f} ms after its program was started")
        self.assertEqual(event["action"], "alert")
        self.assertEqual(event["reason"],
                         "only its own network namespace reaches it: not blocked")
        self.assertIn(endpoint, event["text"])
        self.assertIn(event["reason"], event["text"])
        self.assertEqual(event["finding"]["vantage"], endpoint.split("@")[1])
        self.assertEqual(event["finding"]["verdict"], "confirmed")
        self.assertEqual(event["listener"]["container"], "ab" * 32)
        self.assertFalse(event["listener"]["host"])
        self.assertIsNone(event["impact"])
        # The same everywhere, and nothing in the kernel.
        entry = self.status(endpoint)
        self.assertEqual((entry["blocked"], entry["action"], entry["action_reason"]),
                         (False, "alert", event["reason"]))
        self.assertEqual(f"netns:{entry['netns']}", endpoint.split("@")[1])
        self.assertEqual(entry["container"], "ab" * 32)
        text = self.daemon.ctl("explain", endpoint).stdout
        self.assertIn(event["reason"], text)
        self.assertIn("probe: confirmed, high", text)
        self.assertEqual(self.daemon.metric("pprofwall_blocks"), 0)
        self.lab.connect("127.0.0.1", 9100, "client").close()
        # One who does not know the whole name is told it; and no lever is offered that is none.
        done = self.daemon.ctl("explain", "127.0.0.1:9100", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"inside: {endpoint}", done.stderr)
        done = self.daemon.ctl("block", endpoint, "--reason", "x", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the firewall does not reach into a network namespace", done.stderr)
        # Who is on it can be said.
        self.daemon.ctl("ack", endpoint, "--reason", "ticket 7")
        acknowledged = self.hook.wait_event("acknowledged", endpoint=endpoint)
        self.assertEqual(self.status(endpoint)["ack_who"], acknowledged["who"])
        self.daemon.ctl("unack", endpoint)
        # A rule that says so cannot either.
        self.reload([{"name": "local", "match": {"loopback": True}, "seal_local": True,
                      "allow_from": [], "whole_port": True}, {"name": "default"}])
        wait_until(lambda: self.status(endpoint)["rule"] == "local", 10 * SLOW, "the rule wins")
        self.assertIn("the firewall does not reach", self.status(endpoint)["action_reason"])
        # All that without a privilege of the prober's.
        self.assertEqual(self.daemon.child("prober"), prober)
        status = read_status(prober)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)

    def test_the_same_endpoint_here_and_there(self):
        """The host's own loopback and a container's are two, and so are two containers'."""
        self.exporter("127.0.0.1:9100")
        self.lab._add_namespace("pod")
        _, one = self.start_exporter("127.0.0.1:9100")
        process, netns = self.start_container("b" * 64, "pod", sys.executable, "-c", PLAIN_SERVERS,
                                              "127.0.0.1", "9100")
        other = f"127.0.0.1:9100@{netns}"
        opened = [self.hook.wait_event("opened", timeout=20 * SLOW)["endpoint"] for _ in range(2)]
        self.assertEqual(set(opened), {"127.0.0.1:9100", one})
        wait_until(lambda: (self.find(other) or {}).get("verdict") == "clear", 20 * SLOW,
                   "the third is clear")
        self.assertEqual(self.status("127.0.0.1:9100")["action_reason"],
                         "only the host itself reaches it: not blocked")
        process.end()
        wait_until(lambda: self.find(other) is None, 20 * SLOW, "the third is gone")
        self.assertIsNotNone(self.find(one))

    def test_tls_by_ipv6(self):
        """Asked in plain text first: each request has a connection of its own."""
        key, certificate, web = (os.path.join(self.lab.directory, name)
                                 for name in ("key.pem", "certificate.pem", "web.yml"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=a", "-keyout", key, "-out", certificate)
        with open(web, "w", encoding="ascii") as file:
            file.write(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n")
        _, netns = self.start_container(
            "a" * 64, "client", server_program("prometheus-node-exporter"),
            "--web.listen-address=[::1]:9100", f"--web.config.file={web}")
        event = self.wait_opened(f"[::1]:9100@{netns}")
        self.assertEqual((event["finding"]["scheme"], event["finding"]["verdict"]),
                         ("https", "confirmed"))

    def test_two_containers_with_one_address(self):
        for namespace in ("pod1", "pod2"):
            self.add_pod(namespace)
        _, netns = self.start_container("b" * 64, "pod2", sys.executable, "-c", PLAIN_SERVERS,
                                        SHARED, "9100")
        other = f"{SHARED}:9100@{netns}"
        _, endpoint = self.start_exporter(f"{SHARED}:9100", namespace="pod1")
        event = self.wait_opened(endpoint)
        self.assertEqual(event["reason"],
                         "the firewall does not reach into its network namespace: not blocked")
        wait_until(lambda: (self.find(other) or {}).get("verdict") == "clear", 20 * SLOW,
                   "the other one is clear")
        self.assertEqual(self.find(endpoint)["container"], "a" * 64)
        self.assertEqual(self.find(other)["container"], "b" * 64)
        self.assertTrue(self.find(f"{SHARED}:9100")["ambiguous"])

    def test_no_route_from_the_host_and_then_one(self):
        """What a stranger sees counts, as soon as strangers see something."""
        self.add_pod("pod")
        target, pod = self.lab.name_of("target"), self.lab.name_of("pod")
        _, endpoint = self.start_exporter(f"{SHARED}:9100", namespace="pod")
        self.wait_opened(endpoint)
        self.assertEqual(self.find(f"{SHARED}:9100")["verdict"], "filtered")
        run("ip", "link", "add", "veth1", "netns", target, "type", "veth", "peer", "name", "eth1",
            "netns", pod)
        run("ip", "-n", target, "link", "set", "veth1", "up")
        run("ip", "-n", pod, "link", "set", "eth1", "up")
        run("ip", "-n", pod, "route", "add", Lab.TARGET, "dev", "eth1")
        run("ip", "-n", target, "route", "add", SHARED, "dev", "veth1")
        event = self.wait_opened(f"{SHARED}:9100")
        self.assertEqual(event["action"], "drop")
        self.assertEqual(event["finding"]["vantage"], Lab.TARGET)
        self.assertIsNone(self.find(endpoint))

    def test_where_nobody_wants_it(self):
        _, endpoint = self.start_exporter("127.0.0.1:9100")
        self.wait_opened(endpoint)
        self.daemon.write_config(ListenersTest.config(self, inside="none"))
        self.daemon.ctl("reload")
        self.wait_gone(endpoint)
        self.assertIsNone(self.find(endpoint))
        not_probed = self.daemon.ctl_json("status", "--all")["listeners"]["not_probed"]
        self.assertIn("only its own namespace reaches it",
                      [e["not_probed"] for e in not_probed if e["container"] == "a" * 64])


class Lost(InsideTest):
    def wait_asking(self, endpoint):
        """Stops the inventory, and waits until a probe waits for its socket."""
        inventory = self.daemon.child("inventory")
        os.kill(inventory, signal.SIGSTOP)
        self.addCleanup(self.go_on, inventory)
        wait_until(lambda: self.find(endpoint)["next_probe_ms"] == 0, 20 * SLOW, "it is asked")
        return inventory

    @staticmethod
    def go_on(pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def test_the_namespace_goes_while_it_is_asked_for(self):
        self.lab._add_namespace("pod")
        process, netns = self.start_container("a" * 64, "pod", sys.executable, "-c",
                                              PLAIN_SERVERS, "127.0.0.1", "9100")
        endpoint = f"127.0.0.1:9100@{netns}"
        wait_until(lambda: (self.find(endpoint) or {}).get("verdict") == "clear", 20 * SLOW,
                   "it is clear")
        prober = self.daemon.child("prober")
        inventory = self.wait_asking(endpoint)
        process.end()
        run("ip", "netns", "delete", self.lab.name_of("pod"))
        self.go_on(inventory)
        wait_until(lambda: self.find(endpoint) is None, 20 * SLOW, "it is not watched any more")
        self.assertEqual(self.daemon.child("prober"), prober)
        self.assertEqual(self.daemon.child("inventory"), inventory)
        self.daemon.wait_ready(20 * SLOW)

    def test_the_inventory_is_killed_while_it_is_asked(self):
        _, netns = self.start_container("a" * 64, "client", sys.executable, "-c", PLAIN_SERVERS,
                                        "127.0.0.1", "9100")
        endpoint = f"127.0.0.1:9100@{netns}"
        wait_until(lambda: (self.find(endpoint) or {}).get("verdict") == "clear", 20 * SLOW,
                   "it is clear")
        prober = self.daemon.child("prober")
        inventory = self.wait_asking(endpoint)
        before = self.find(endpoint)["last_probe"]
        os.kill(inventory, signal.SIGKILL)
        self.daemon.wait_metric("pprofwall_process_restarts_total", 1, 20 * SLOW,
                                process="inventory")
        wait_until(lambda: self.find(endpoint)["verdict"] == "clear" and
                   self.find(endpoint)["last_probe"] > before, 30 * SLOW, "it is asked again")
        self.assertEqual(self.daemon.child("prober"), prober)
        self.assertNotIn("quarantined", [e["event"] for _, _, e in self.hook.requests])

    def test_no_descriptor_is_left(self):
        self.reload(interval="100ms")
        self.start_container("a" * 64, "client", sys.executable, "-c", PLAIN_SERVERS, "127.0.0.1",
                             *map(str, range(9100, 9110)))
        self.wait_probes(20, "clear", 20)
        roles = ("agent", "prober", "inventory")

        def count():
            """Without those of probes that are under way at the moment."""
            return {role: min(len(os.listdir(f"/proc/{self.daemon.child(role)}/fd"))
                              for _ in range(20)) for role in roles}
        before = count()
        self.wait_probes(200, "clear", 60)
        after = count()
        print(f"\ndescriptors before and after 200 probes: {before}, {after}")
        for role in roles:
            self.assertLessEqual(after[role], before[role] + 5, role)


if __name__ == "__main__":
    unittest.main(verbosity=1)
