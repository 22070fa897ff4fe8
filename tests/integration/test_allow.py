#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""allow_from by file and by name: who passes the wall, from when, and what failures do to it."""
import os
import shutil
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Lab, wait_until  # noqa: E402
from sender_driver import NameServer  # noqa: E402
from test_daemon import ENDPOINT, SLOW, DaemonTest  # noqa: E402

NAME = "prometheus.example"
TTL = 5  # the least that is believed


class Hammer:
    """A client that connects as fast as it may, and counts the refusals."""

    def __init__(self, lab, source):
        self.tries = 0
        self.failures = []  # (when, what)
        self._lab, self._source = lab, source
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                self._lab.connect(Lab.TARGET, 9100, source=self._source, timeout=5).close()
            except OSError as err:
                self.failures.append((round(time.monotonic() - self._began, 3), str(err)))
            self.tries += 1
            time.sleep(0.002)

    def wait(self, more):
        goal = self.tries + more
        wait_until(lambda: self.tries >= goal, 20 * SLOW, f"{more} more connections")

    def stop(self):
        self._stop.set()
        self._thread.join(20)


class AllowTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.lab.serve_node_exporter()
        self.hook = self.lab.webhook()

    def hammer(self, source=Lab.ALLOWED):
        hammer = Hammer(self.lab, source)
        self.addCleanup(hammer.stop)
        return hammer

    def passes(self, source=Lab.ALLOWED):
        return not self.refused(source=source)

    def wait_passes(self, source, timeout=10):
        wait_until(lambda: self.passes(source), timeout * SLOW, f"{source} passes")

    def wait_refused(self, source, timeout=10):
        wait_until(lambda: self.refused(source=source), timeout * SLOW, f"{source} is refused")

    def source(self, text):
        return next(s for s in self.daemon.ctl_json("status")["allow_from"]
                    if s["source"] == text)

    def wait_state(self, text, state, timeout=20):
        wait_until(lambda: self.source(text)["state"] == state, timeout * SLOW,
                   f"{text} is {state}")


class Names(AllowTest):
    def setUp(self):
        super().setUp()
        self.table = {NAME: [Lab.ALLOWED]}
        with self.lab.inside("target"):
            self.dns = NameServer(self.table)
        self.addCleanup(self.close_dns)
        folder = f"/etc/netns/{self.lab.name_of('target')}"
        os.makedirs(folder)
        self.addCleanup(shutil.rmtree, folder)
        for file, text in (("resolv.conf", f"nameserver 127.0.0.1:{self.dns.port}\n"),
                           ("hosts", "127.0.0.1 localhost\n")):
            with open(os.path.join(folder, file), "w", encoding="ascii") as out:
                out.write(text)
        self.dns.ttls[NAME] = TTL

    def close_dns(self):
        with self.lab.inside("target"):
            self.dns.close()

    def test_follows_what_the_name_stands_for(self):
        self.daemon = self.lab.daemon(self.config_of(allow_from=[NAME])).start()
        self.wait_open()
        self.wait_refused(Lab.STRANGER)
        self.assertTrue(self.passes())
        self.assertEqual((self.source(NAME)["state"], self.source(NAME)["addresses"]),
                         ("good", [Lab.ALLOWED]))
        self.assertEqual(self.daemon.metric("pprofwall_allow_sources", rule="default",
                                            source=NAME, state="good"), 1)
        self.table[NAME] = [Lab.ALLOWED, Lab.STRANGER, Lab.ALLOWED6]
        self.wait_passes(Lab.STRANGER, TTL + 10)
        self.assertEqual(set(self.source(NAME)["addresses"]),
                         {Lab.ALLOWED, Lab.STRANGER, Lab.ALLOWED6})
        self.table[NAME] = [Lab.STRANGER]
        self.wait_refused(Lab.ALLOWED, TTL + 10)

    def test_failures_and_empty_answers_keep_the_last_good(self):
        self.daemon = self.lab.daemon(self.config_of(allow_from=[NAME])).start()
        self.wait_refused(Lab.STRANGER)
        hammer = self.hammer()
        for breaks, mends in ((lambda: self.dns.failing.add(NAME),
                               lambda: self.dns.failing.discard(NAME)),
                              (lambda: self.table.update({NAME: []}),
                               lambda: self.table.update({NAME: [Lab.ALLOWED]}))):
            breaks()
            event = self.hook.wait_event("source_failed", timeout=60 * SLOW)
            self.assertEqual((event["source"], event["rules"], event["endpoint"]),
                             (NAME, ["default"], None))
            self.assertIn("stays in force", event["reason"])
            source = self.source(NAME)
            self.assertEqual((source["state"], source["addresses"]), ("stale", [Lab.ALLOWED]))
            mends()
            self.hook.wait_event("source_recovered", timeout=30 * SLOW)
            self.assertEqual(self.source(NAME)["state"], "good")
        hammer.stop()
        self.assertEqual(hammer.failures, [], f"of {hammer.tries}")

    def test_one_that_never_resolved_is_told_and_stops_nobody(self):
        config = self.config_of(allow_from=["nowhere.example", Lab.ALLOWED])
        self.daemon = self.lab.daemon(config).start(ready=False)
        self.wait_refused(Lab.STRANGER, 30)
        self.assertTrue(self.passes())
        event = self.hook.wait_event("source_failed", timeout=60 * SLOW)
        self.assertEqual(event["source"], "nowhere.example")
        self.assertIn("no such name", event["reason"])
        status, text = self.daemon.http("/readyz")
        self.assertEqual(status, 503)
        self.assertIn("allow_from: nowhere.example: no such name", text)
        self.assertEqual(self.source("nowhere.example")["state"], "unknown")

    def test_no_scraper_is_cut_at_start_reload_and_restart(self):
        """The name's answer takes a second; until then there is no block, and after it no cut."""
        answer, late = self.dns._answer, threading.Event()
        self.dns._answer = lambda query: (late.wait(30), answer(query))[1]
        hammer = self.hammer()
        self.daemon = self.lab.daemon(self.config_of(allow_from=[NAME], trip_after=1))
        self.daemon.start(ready=False)
        self.daemon.process.wait_line("ready", 20 * SLOW)
        self.daemon.wait_metric("pprofwall_breaker_state", 1, 10 * SLOW, endpoint=ENDPOINT,
                                state="open")
        hammer.wait(100)
        self.assertFalse(self.refused(), "nobody is cut before the name is known")
        late.set()
        self.wait_refused(Lab.STRANGER)
        hammer.wait(100)

        config = self.config_of(allow_from=[NAME], trip_after=1)
        config["breakers"].insert(0, {**config["breakers"][0], "name": "first"})
        fewer = self.config_of(allow_from=[NAME, "10.91.0.99"], trip_after=1)
        fewer["breakers"][0]["name"] = "first"
        for changed in (config, fewer):
            self.daemon.write_config(changed)
            self.daemon.ctl("reload")
            self.wait_refused(Lab.STRANGER)
            hammer.wait(100)

        self.dns._answer = lambda query: None  # DNS is out, and stays so
        for end in (self.daemon.stop, self.daemon.kill_everything):
            end()
            self.daemon.start(ready=False)
            self.daemon.process.wait_line("ready", 20 * SLOW)
            wait_until(lambda: self.probes() > 0, 20 * SLOW, "a probe by the new service")
            self.assertEqual(self.source(NAME)["addresses"], [Lab.ALLOWED])
            hammer.wait(100)
            self.assertTrue(self.refused())
        hammer.stop()
        self.assertEqual(hammer.failures, [], f"of {hammer.tries}")


class Files(AllowTest):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.lab.directory, "lists")
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "scrapers.txt")
        self.write(f"# who scrapes\n{Lab.ALLOWED}  # the first\n\n{Lab.ALLOWED6}/128\n")
        self.text = "@" + self.path

    def write(self, text, mode=0o644):
        """As deployments do: a new file takes the place of the old."""
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(self.path + ".new", mode)
        os.rename(self.path + ".new", self.path)

    def begin(self):
        self.daemon = self.lab.daemon(self.config_of(allow_from=[self.text])).start()
        self.wait_refused(Lab.STRANGER)
        self.assertTrue(self.passes())

    def test_a_changed_file_is_followed(self):
        self.begin()
        self.assertEqual(self.source(self.text)["prefixes"], 2)
        self.write("10.91.0.0/24\n")
        self.wait_passes(Lab.STRANGER)
        with open(self.path, "w", encoding="ascii") as file:  # in place, as some editors do
            file.write(Lab.ALLOWED + "\n")
        self.wait_refused(Lab.STRANGER)
        self.assertTrue(self.passes())

    def test_a_link_that_turns_is_followed(self):
        """A ConfigMap: the file is a link through a directory that is a link itself."""
        for name, text in (("one", Lab.ALLOWED), ("two", "10.91.0.0/24")):
            os.mkdir(os.path.join(self.folder, name))
            with open(os.path.join(self.folder, name, "scrapers.txt"), "w") as file:
                file.write(text + "\n")
        os.symlink("one", os.path.join(self.folder, "..data"))
        os.unlink(self.path)
        os.symlink("..data/scrapers.txt", self.path)
        self.begin()
        os.symlink("two", os.path.join(self.folder, "..tmp"))
        os.rename(os.path.join(self.folder, "..tmp"), os.path.join(self.folder, "..data"))
        self.wait_passes(Lab.STRANGER)

    def test_bad_missing_and_unreadable_ones_keep_the_last_good(self):
        self.begin()
        hammer = self.hammer()
        good = f"{Lab.ALLOWED}\n"
        for breaks, why in (
                (lambda: self.write(f"{Lab.STRANGER}\n  10.0.0.300\n"), f"{self.path}:2:3: "),
                (lambda: self.write(""), "0 prefixes"),
                (lambda: os.unlink(self.path), "No such file"),
                (lambda: self.write(good, 0o600),
                 f"the agent, uid {Lab.USERS['agent']}, must be able to read it")):
            breaks()
            event = self.hook.wait_event("source_failed", timeout=20 * SLOW)
            self.assertIn(why, event["reason"])
            self.assertEqual(event["source"], self.text)
            self.assertEqual(self.source(self.text)["state"], "stale")
            self.assertTrue(self.refused() and self.passes())
            self.assertIn(why, self.daemon.output)

            # A reload takes no list that it cannot read, and says where it stands.
            done = self.daemon.ctl("reload", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)
            self.assertRegex(done.stderr, r"pprofwall\.yaml:\d+:\d+: breakers\[\]\.allow_from: ")

            self.write(good)
            self.hook.wait_event("source_recovered", timeout=20 * SLOW)
            self.assertEqual(self.source(self.text)["state"], "good")
        hammer.stop()
        self.assertEqual(hammer.failures, [], f"of {hammer.tries}")

    def test_a_file_written_in_pieces_cuts_nobody(self):
        """Its own writer has closed it before it is read; another file of the folder changes."""
        self.begin()
        hammer = self.hammer()
        for i in range(5):
            with open(self.path, "w", encoding="ascii") as file:
                for line in (f"{Lab.TARGET}\n", f"{Lab.ALLOWED}\n"):
                    file.write(line)
                    file.flush()
                    with open(os.path.join(self.folder, "other"), "w", encoding="ascii") as other:
                        other.write(f"{i}\n")
                    hammer.wait(10)
        hammer.stop()
        self.assertEqual(hammer.failures, [], f"of {hammer.tries}")
        wait_until(lambda: self.source(self.text)["addresses"] == [Lab.TARGET, Lab.ALLOWED],
                   10 * SLOW, "the last list is known")

    def test_a_file_that_was_never_good_is_told_and_stops_nobody(self):
        os.unlink(self.path)
        config = self.config_of(allow_from=[self.text, Lab.ALLOWED])
        self.daemon = self.lab.daemon(config).start(ready=False)
        self.wait_refused(Lab.STRANGER, 30)
        self.assertTrue(self.passes())
        self.assertIn("No such file", self.daemon.http("/readyz")[1])
        self.assertIn("never", self.hook.wait_event("source_failed", timeout=20 * SLOW)["reason"])
        self.write("10.91.0.0/24\n")
        self.wait_passes(Lab.STRANGER, 20)
        self.assertNotIn("allow_from", self.daemon.http("/readyz")[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
