#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`pprofwall status --html`: what people see of a real daemon, once and again and again."""
import html.parser
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import unittest

from lab import Lab, environment, program, wait_until

BROWSER = shutil.which("chromium")
ENDPOINT = f"{Lab.TARGET}:9100"


class Page(html.parser.HTMLParser):
    """The text of each heading's section and of each banner, and the tags that occur."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sections, self.banners, self.refresh = [], {}, [], None
        self.heading, self.inside = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        if found.get("http-equiv") == "refresh":
            self.refresh = found["content"]
        if tag in ("h1", "h2"):
            self.heading = ""
        if found.get("role") == "alert":
            self.banners.append("")
        self.inside.append((tag, found.get("role")))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if any(tag in ("h1", "h2") for tag, _ in self.inside):
            self.heading += data
        elif any(role == "alert" for _, role in self.inside):
            self.banners[-1] += data
        else:
            self.sections[self.heading] = self.sections.get(self.heading, "") + data + " "


class StatusPage(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.lab.serve_node_exporter()
        self.hook = self.lab.webhook()
        self.daemon = self.lab.daemon(self.lab.config())
        self.path = pathlib.Path(self.lab.directory, "status.html")

    def start(self):
        # Whom it knows before the wall stands.
        self.lab.get(Lab.TARGET, 9100, "/metrics", source=Lab.ALLOWED)
        self.daemon.start()
        self.hook.wait_event("opened")
        wait_until(lambda: self.lab.is_refused(Lab.TARGET, 9100, source=Lab.STRANGER), 10,
                   "the wall")

    def page(self):
        return Page(self.daemon.ctl("status", "--html").stdout)

    def test_says_what_a_person_needs(self):
        self.start()
        wait_until(lambda: "a stranger is refused" in str(self.page().sections), 10,
                   "the wall was tried")
        page = self.page()
        walls = page.sections["Exposures, breakers and walls"]
        for word in (ENDPOINT, "node-exporter", "HIGH_RISK", "confirmed", "default", "open",
                     "probed again in", "blocked", "for another", "held off",
                     "a stranger is refused", "1 cut off"):
            self.assertIn(word, walls)
        self.assertIn("hook", page.sections["Alerts"])
        self.assertIn("answers", page.sections["Health"])
        self.assertEqual(page.banners, [])
        self.assertIsNone(page.refresh)
        # It loads nothing, runs nothing and submits nothing.
        self.assertEqual({"script", "img", "link", "iframe", "form", "input"} & set(page.tags),
                         set())
        for scheme in ("http:", "https:", "url("):
            self.assertNotIn(scheme, self.daemon.ctl("status", "--html").stdout)

    def test_banners(self):
        self.start()
        self.daemon.ctl("panic", "--reason", "<b>drill</b>")
        self.daemon.write_config(self.lab.config(scan={"interval": "3x"}))
        self.daemon.ctl("reload", check=False)
        reload, panic = sorted(self.page().banners, key=lambda text: text.startswith("Panic"))
        self.assertIn("3x", reload)
        self.assertIn("<b>drill</b>", panic)

    def test_file_is_replaced_whole_and_keeps_its_rights(self):
        self.start()
        self.daemon.ctl("status", "--html", "--output", self.path)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.path.chmod(0o644)
        inode = self.path.stat().st_ino
        self.daemon.ctl("status", "--html", "--output", self.path)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o644)
        self.assertNotEqual(self.path.stat().st_ino, inode)
        self.assertEqual([name for name in os.listdir(self.lab.directory)
                          if name.startswith("status.html")], ["status.html"])
        done = self.daemon.ctl("status", "--html", "--output", "/nonexistent/x.html", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("/nonexistent/x.html: No such file", done.stderr)

    def test_rights_that_a_stranger_has_set_are_not_kept(self):
        self.start()
        shared = pathlib.Path(self.lab.directory, "shared")
        shared.mkdir()
        shared.chmod(0o1777)
        target = shared / "target"
        target.touch()
        target.chmod(0o666)
        for name, lay in (("file", lambda path: path.touch()),
                          ("link", lambda path: path.symlink_to(target))):
            with self.subTest(name):
                path = shared / name
                lay(path)
                os.chown(path, 65534, 65534, follow_symlinks=False)
                if not path.is_symlink():
                    path.chmod(0o666)
                self.daemon.ctl("status", "--html", "--output", path)
                status = path.lstat()
                self.assertEqual((stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)),
                                 (stat.S_IFREG, 0o600))
                self.assertEqual((status.st_uid, status.st_gid), (0, 0))
        self.assertEqual(target.stat().st_size, 0)

    def watch(self):
        process = self.lab.process("target", program("pprofwall"), "status", "--socket",
                                   self.daemon.socket, "--html", "--watch=1s", "--output",
                                   self.path)
        wait_until(self.path.exists, 10, "a first page")
        return process

    def read(self):
        return Page(self.path.read_text(encoding="utf-8"))

    def test_watch(self):
        self.start()
        process = self.watch()
        self.assertEqual(self.read().refresh, "1")
        self.daemon.ctl("unblock", "--reason", "a test", ENDPOINT)
        wait_until(lambda: "by hand: unblock" in
                   " ".join(self.read().sections["Exposures, breakers and walls"].split()), 10,
                   "the decision on the page")
        # A daemon that is gone is said so, and what was known stays.
        self.assertEqual(self.daemon.stop(), 0)
        wait_until(lambda: self.read().banners, 10, "a banner")
        page = self.read()
        self.assertIn("does not answer", page.banners[0])
        self.assertIn(ENDPOINT, page.sections["Exposures, breakers and walls"])
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(), 0)

    def test_usage(self):
        for words, complaint in (
                (["--html", "--json"], "--json and --html: one of them"),
                (["--html", "--watch"], "--html --watch wants --output FILE"),
                (["--watch", "--json"], "--watch is for people"),
                (["--html", "--watch=0s"], "--watch wants a duration in 1s..1h: 0s"),
                (["--watch", "--output", "x"], "--output and --watch: only with --html")):
            done = subprocess.run([program("pprofwall"), "status", *words], capture_output=True,
                                  text=True, timeout=10, check=False, env=environment())
            self.assertEqual(done.returncode, 2)
            self.assertIn(complaint, done.stderr)

    @unittest.skipUnless(BROWSER, "chromium is not installed")
    def test_in_a_browser(self):
        self.start()
        self.daemon.ctl("status", "--html", "--output", self.path)
        picture = pathlib.Path(self.lab.directory, "page.png")
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", f"--user-data-dir={self.lab.directory}/profile",
             "--enable-logging=stderr",
             "--window-size=1400,900", f"--screenshot={picture}", self.path.as_uri()],
            capture_output=True, text=True, timeout=120, check=True)
        self.assertNotIn("Content Security Policy", done.stderr)
        data = picture.read_bytes()
        self.assertEqual(struct.unpack(">II", data[16:24]), (1400, 900))
        # An empty page of that size takes a few KB.
        self.assertGreater(len(data), 30000)
        if "PW_KEEP_PICTURE" in os.environ:
            shutil.copy(picture, os.environ["PW_KEEP_PICTURE"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
