#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What survives: random kills, full and frozen disks, restarts and upgrades under fire.

PW_KILLS=200 test_kills.py Kills        # 200 kills instead of some; PW_SEED=N repeats a run
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import threading
import time
import unittest
import unittest.mock

import lab as lab_module
from lab import IS_ASAN, Lab, run, wait_until

SLOW = 3 if IS_ASAN else 1
KILLS = int(os.environ.get("PW_KILLS", "6" if IS_ASAN else "16"))
EXPOSED = 9100          # stays exposed for the whole run
COMES_AND_GOES = 9101   # its exporter is started and ended again
BY_HAND = range(9200, 9206)
# The kernel's own clock, and the second that nftables' smallest timeout takes.
LATE = 2.5


class StateTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.daemon = None
        self.hook = self.lab.webhook()

    def run(self, result=None):
        """A failed test shows what the daemon said."""
        outcome = super().run(result)
        if result is not None and self.daemon is not None and self.daemon.process:
            if any(test is self for test, _ in result.failures + result.errors):
                print(f"--- {self.id()}: pprofwalld said\n{self.daemon.output}\n---", flush=True)
        return outcome

    def start(self, ports=(EXPOSED,), rule=None, **changes):
        config = self.lab.config(
            scan={"targets": [f"{Lab.TARGET}:{port}" for port in ports], "interval": "300ms"},
            firewall={"max_blocks_per_minute": 10000}, **changes)
        config["breakers"][0].update({"open_for": "1s", "close_after": 2} | (rule or {}))
        self.daemon = self.lab.daemon(config)
        return self.daemon.start()

    def blocked(self):
        """{port: seconds left} from the kernel."""
        done = self.lab.nft("-j", "list", "map", "inet", "pprofwall", "block4", check=False)
        if done.returncode:
            return {}
        found = {}
        for item in json.loads(done.stdout)["nftables"]:
            for key, _verdict in item.get("map", {}).get("elem", []):
                found[key["elem"]["val"]["concat"][2]] = key["elem"]["expires"]
        return found

    def opened(self, port):
        """The ids of the distinct openings that the webhook was told of."""
        return {e["id"] for status, _, e in self.hook.requests
                if status == 200 and e["event"] == "opened"
                and e["endpoint"] == f"{Lab.TARGET}:{port}"}

    def wait_blocked(self, port, timeout=20):
        wait_until(lambda: port in self.blocked(), timeout * SLOW, f"{port} is blocked")

    def wait_told(self, port, count):
        wait_until(lambda: len(self.opened(port)) >= count, 20 * SLOW,
                   f"opening {count} of {port} is told")


class Kills(StateTest):
    """Model: what was acknowledged holds; what was not may have happened or not."""

    def act(self, port):
        """One decision by hand; the model learns of it only if it was acknowledged."""
        hold = self.random.choice((2, 5, 300))
        verb = self.random.choice(("block", "block", "unblock"))
        begun = time.monotonic()
        self.model[port] = ("unknown", begun + 330)
        done = self.daemon.ctl(verb, f"{Lab.TARGET}:{port}", "--for", f"{hold}s", "--reason",
                               "test", check=False)
        if done.returncode == 0:
            self.model[port] = (verb, begun + hold, time.monotonic() + hold)
            self.done += 1

    def keep_acting(self, stop):
        while not stop.is_set():
            self.act(self.random.choice(BY_HAND))

    def check_kernel(self):
        model, before = dict(self.model), time.monotonic()
        kernel, after = self.blocked(), time.monotonic()
        if EXPOSED in self.seen:
            self.assertIn(EXPOSED, kernel, "a block was lost")
        self.seen.update(kernel)
        for port, (verb, *until) in model.items():
            if self.model[port] is not model[port]:
                continue  # decided anew meanwhile
            if verb == "block" and after < until[0]:
                self.assertIn(port, kernel, "a block by hand was lost")
            elif verb == "unblock" and after < until[0] or \
                    verb == "block" and before > until[1] + LATE:
                self.assertNotIn(port, kernel, f"a block outlived its time: {model[port]}")

    def kill(self):
        if self.random.random() < 0.6:
            self.daemon.kill_everything()
            return
        os.kill(self.daemon.child("agent"), signal.SIGKILL)
        self.daemon.process.wait(20 * SLOW)

    def test_kills_at_random(self):
        seed = int(os.environ.get("PW_SEED", random.randrange(1 << 32)))
        print(f"{KILLS} kills, PW_SEED={seed}", flush=True)
        self.random = random.Random(seed)
        self.model, self.seen, self.done = {}, set(), 0
        self.lab.serve_node_exporter(EXPOSED)
        self.start((EXPOSED, COMES_AND_GOES))
        other, openings = None, 0
        for _ in range(KILLS):
            stop = threading.Event()
            actor = threading.Thread(target=self.keep_acting, args=(stop,))
            actor.start()
            if other is None:
                other = self.lab.serve_node_exporter(COMES_AND_GOES)
                openings += 1
            elif COMES_AND_GOES in self.seen and self.random.random() < 0.7:
                self.wait_told(COMES_AND_GOES, openings)
                other.end()
                other = None
            try:
                time.sleep(self.random.random() * self.random.choice((0.3, 1.0)) * SLOW)
                self.check_kernel()
                self.kill()
                stop.set()
                actor.join()
                self.check_kernel()
            finally:
                stop.set()
                actor.join()
            self.daemon.start(timeout=40 * SLOW)
            self.check_kernel()
            if other is None:  # nobody listens any more: it closes, whoever was killed
                wait_until(lambda: COMES_AND_GOES not in self.blocked(), 20 * SLOW,
                           "the block of who is gone is lifted")
                self.seen.discard(COMES_AND_GOES)
                self.assertEqual(len(self.opened(COMES_AND_GOES)), openings)
        self.wait_told(EXPOSED, 1)
        if other:
            self.wait_blocked(COMES_AND_GOES)
            self.wait_told(COMES_AND_GOES, openings)
        self.daemon.stop()
        self.daemon.start()
        wait_until(lambda: self.daemon.ctl_json("status")["alerts"]["queued"] == 0, 20 * SLOW,
                   "every alert is delivered")
        self.check_kernel()
        self.assertEqual(len(self.opened(EXPOSED)), 1)
        self.assertEqual(len(self.opened(COMES_AND_GOES)), openings)
        self.assertGreater(self.done, 0)
        print(f"{KILLS} kills, {self.done} decisions acknowledged, {openings + 1} openings",
              flush=True)


class Disks(StateTest):
    """A disk that is full, and one that hangs: blocks come as fast as ever."""

    def time_block(self, port):
        """Seconds until the kernel has a block by hand, and until the answer."""
        answer = {}

        def ask():
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(self.daemon.socket)
                control.sendall(json.dumps({
                    "verb": "block", "endpoint": f"{Lab.TARGET}:{port}", "reason": "test",
                    "for_ms": 3600 * 1000}).encode() + b"\n")
                answer["json"] = json.loads(control.makefile().readline())
            answer["seconds"] = time.monotonic() - begun
        begun = time.monotonic()
        client = threading.Thread(target=ask)
        client.start()
        wait_until(lambda: port in self.blocked(), 10 * SLOW, f"{port} is blocked", interval=0)
        seconds = time.monotonic() - begun
        client.join()
        self.assertTrue(answer["json"]["ok"])
        return seconds, answer

    def exercise(self, what, saved):
        """By hand, by a rule, and panic."""
        seconds, answer = self.time_block(9201)
        print(f"{what}: blocked after {seconds * 1000:.0f} ms, answered after "
              f"{answer['seconds'] * 1000:.0f} ms", flush=True)
        self.assertEqual(answer["json"]["saved"], saved)
        self.assertLess(seconds, 1 * SLOW)
        self.assertLess(answer["seconds"], 3 * SLOW)
        begun = time.monotonic()
        exporter = self.lab.serve_node_exporter(EXPOSED)
        self.wait_blocked(EXPOSED)
        print(f"{what}: by a rule after {(time.monotonic() - begun) * 1000:.0f} ms", flush=True)
        self.hook.wait_event("opened", 10 * SLOW, endpoint=f"{Lab.TARGET}:{EXPOSED}")
        return exporter

    def mount(self, *argv):
        path = os.path.join(self.lab.directory, "state")
        done = run("mount", *argv, path, check=False)
        if done.returncode:
            self.skipTest(f"mount: {done.stderr}")
        self.lab._stack.callback(run, "umount", "-l", path, check=False)
        os.chown(path, 64101, 64101)
        os.chmod(path, 0o700)
        return path

    def test_a_full_disk(self):
        path = self.mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
        self.start()
        self.exercise("usual", True).end()
        wait_until(lambda: EXPOSED not in self.blocked(), 20 * SLOW, "who is gone is let go")
        self.daemon.ctl("unblock", f"{Lab.TARGET}:9201", "--reason", "test")
        with open(os.path.join(path, "filler"), "wb", buffering=0) as filler, \
                contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        self.time_block(9209)  # whose row is what finds out
        wait_until(lambda: not self.daemon.ctl_json("status")["state"]["ok"], 20 * SLOW,
                   "the state says that it fails")
        self.exercise("full disk", False)
        os.unlink(os.path.join(path, "filler"))
        wait_until(lambda: self.daemon.ctl_json("status")["state"]["ok"], 20 * SLOW,
                   "the state is written again")
        self.daemon.kill_everything()
        self.daemon.start()
        self.assertEqual({9201, 9209, EXPOSED} - set(self.blocked()), set())
        self.assertEqual({b["reason"] for b in self.daemon.ctl_json("blocks")["blocks"]
                          if b["manual"]}, {"test"})

    def test_a_disk_that_hangs(self):
        image = os.path.join(self.lab.directory, "disk")
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        run("mkfs.ext4", "-q", "-F", image)
        path = self.mount("-o", "loop", image)
        self.start()
        self.addCleanup(run, "fsfreeze", "--unfreeze", path, check=False)
        run("fsfreeze", "--freeze", path)
        self.exercise("frozen disk", False)
        begun = time.monotonic()
        self.daemon.ctl("panic", check=False)
        seconds = time.monotonic() - begun
        print(f"frozen disk: panic after {seconds * 1000:.0f} ms", flush=True)
        self.assertEqual(self.blocked(), {})
        self.assertLess(seconds, 2 * SLOW)
        run("fsfreeze", "--unfreeze", path)
        self.daemon.wait_ready(20 * SLOW)
        self.daemon.ctl("resume")
        self.wait_blocked(9201)
        self.wait_blocked(EXPOSED)


class Reboot(StateTest):
    """The kernel has forgotten everything; the state has not."""

    def test_all_blocks_are_restored_at_once(self):
        """However few new ones a minute may bring, and whoever made them."""
        self.lab.serve_node_exporter(EXPOSED)
        self.start()
        for port in BY_HAND:
            self.daemon.ctl("block", f"{Lab.TARGET}:{port}", "--for", "300s", "--reason", "test")
        self.wait_blocked(EXPOSED)
        before = set(self.blocked())
        self.daemon.stop()
        self.lab.nft("flush", "ruleset")
        self.assertEqual(self.blocked(), {})
        config = self.daemon.config | {"firewall": {"max_blocks_per_minute": 2}}
        self.daemon = self.lab.daemon(config)
        self.daemon.start()
        wait_until(lambda: set(self.blocked()) == before, 10 * SLOW, "all blocks are there again")
        for port, status in ((9300, 0), (9301, 0), (9302, 1)):  # those are new
            done = self.daemon.ctl("block", f"{Lab.TARGET}:{port}", "--for", "300s", "--reason",
                                   "test", check=False)
            self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn("max_blocks_per_minute", done.stderr)


    def test_what_never_stood_is_new(self):
        """Breakers that opened while nothing was enforced come in as fast as the limit says."""
        ports = (EXPOSED, COMES_AND_GOES)
        for port in ports:
            self.lab.serve_node_exporter(port)
        self.start(ports, mode="observe", rule={"open_for": "60s"})
        for port in ports:
            self.wait_told(port, 1)
        self.daemon.stop()
        self.assertEqual(self.blocked(), {})
        config = self.daemon.config | {"mode": "enforce", "firewall": {"max_blocks_per_minute": 1}}
        self.daemon = self.lab.daemon(config)
        self.daemon.start()
        wait_until(lambda: all(e["blocked"] or e["block_error"] for e in
                               self.daemon.ctl_json("status")["endpoints"]),
                   10 * SLOW, "both were asked for")
        self.assertEqual(len(self.blocked()), 1)


class Upgrade(StateTest):
    """Stop, replace, start, while a stranger hammers a blocked port."""

    source = lab_module.BUILD_DIR

    def setUp(self):
        super().setUp()
        self.home = os.path.join(self.lab.directory, "home")
        self.install()
        patch = unittest.mock.patch("lab.BUILD_DIR", self.home)
        patch.start()
        self.addCleanup(patch.stop)

    def install(self):
        """Other files in the place of those that ran."""
        for part in ("bin", "sbin", "libexec", "share"):
            if os.path.isdir(os.path.join(self.source, part)):
                shutil.rmtree(os.path.join(self.home, part), ignore_errors=True)
                shutil.copytree(os.path.join(self.source, part), os.path.join(self.home, part))

    @contextlib.contextmanager
    def hammer(self):
        """Connects as fast as it can; who gets through is in the list."""
        stop, through, tries = threading.Event(), [], [0]

        def work():
            while not stop.is_set():
                tries[0] += 1
                try:
                    self.lab.connect(Lab.TARGET, EXPOSED, source=Lab.STRANGER, timeout=1).close()
                    through.append(time.monotonic())
                except OSError:
                    pass
        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        try:
            yield through
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        self.assertGreater(tries[0], 50)
        print(f"{self.id()}: {len(through)} of {tries[0]} connections got through", flush=True)

    def check(self, persist, end, config=None):
        self.lab.serve_node_exporter(EXPOSED)
        daemon = self.start_with(persist)
        self.wait_blocked(EXPOSED)
        self.wait_told(EXPOSED, 1)
        with self.hammer() as through:
            for _ in range(2):
                end(daemon)
                self.install()
                if config:
                    daemon.write_config(config(daemon.config))
                daemon.start(timeout=40 * SLOW)
                self.wait_probed(daemon)
        self.assertEqual(through, [])
        self.assertEqual(len(self.opened(EXPOSED)), 1)

    def start_with(self, persist):
        config = self.lab.config(
            scan={"targets": [f"{Lab.TARGET}:{EXPOSED}"], "interval": "300ms"},
            firewall={"persist": persist})
        config["breakers"][0].update({"open_for": "1s"})
        self.daemon = self.lab.daemon(config)
        return self.daemon.start()

    def wait_probed(self, daemon):
        wait_until(lambda: (daemon.metric("pprofwall_probes_total", verdict="confirmed") or 0) > 1,
                   20 * SLOW, "probes through the wall")

    @staticmethod
    def stop(daemon):
        assert daemon.stop() == 0

    @staticmethod
    def crash(daemon):
        daemon.kill_everything()

    def test_an_upgrade(self):
        self.check("auto", self.stop)

    def test_an_upgrade_of_a_plain_table(self):
        self.check("off", self.stop)

    def test_a_crash(self):
        self.check("auto", self.crash)

    def test_a_crash_with_a_plain_table(self):
        self.check("off", self.crash)

    def test_an_upgrade_to_another_configuration(self):
        """The rule has another name and there is a new one: only clean evidence opens the wall."""
        def change(config):
            first = dict(config["breakers"][0], name="renamed", open_for="2s")
            return config | {"breakers": [first, dict(first, name="new", action="alert")]}

        self.check("auto", self.stop, change)


if __name__ == "__main__":
    unittest.main()
