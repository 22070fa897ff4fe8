#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents say what the program has: keys, metrics, options, links."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def program():
    build = os.environ.get("PW_BUILD_DIR", os.path.join(SOURCE_DIR, "build", "test"))
    return os.path.join(build, "bin", "pprofwall")


def read(*path):
    with open(os.path.join(SOURCE_DIR, *path), encoding="utf-8") as file:
        return file.read()


def anchors(page):
    """Of its headings, as the forges make them."""
    with open(page, encoding="utf-8") as file:
        headings = re.findall(r"^#+ (.*)$", file.read(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def schema_keys():
    """Every key of the configuration, as the schema's rows have it; not what a key may be."""
    rows = re.findall(r'^\s+(?:\{"([a-z_.\[\]]+)",\s+[A-Z]+\(|SECTION\("([a-z_.\[\]]+)")',
                      read("conf", "conf_schema.c"), re.M)
    return [key or section for key, section in rows]


class Documents(unittest.TestCase):
    def test_every_key_of_the_schema_is_in_the_manual(self):
        manual = read("docs", "man", "pprofwall.yaml.5")
        words = set(re.findall(r"[\w-]+", manual))
        keys = schema_keys()
        self.assertGreater(len(keys), 90)
        for key in keys:
            self.assertIn(key.replace("[]", "").rpartition(".")[2], words, key)

    def test_every_key_in_the_manual_is_in_the_schema(self):
        schema = read("conf", "conf_schema.c")
        names = {k.rpartition(".")[2] for k in re.findall(r'"([a-z_.\[\]]+)"', schema)}
        for line in read("docs", "man", "pprofwall.yaml.5").splitlines():
            match = re.match(r"\.It Cm ([a-z_]+)", line)
            if match:
                self.assertIn(match[1], names)

    def test_every_metric_is_documented(self):
        code = "".join(read(path) for path in glob.glob(os.path.join(SOURCE_DIR,
                                                                     "daemon/agent/*.c")))
        names = set(re.findall(r'"(pprofwall_[a-z_]+)"', code))
        self.assertGreater(len(names), 10)
        operations = read("docs", "operations.md")
        self.assertEqual({n for n in names if n not in operations}, set())

    def test_the_manual_has_every_option_of_the_help_and_no_other(self):
        manual = read("docs", "man", "pprofwall.1").partition(".Sh ENVIRONMENT")[0]
        scan, merge = manual.split(".Ss Merging")
        scan = scan.partition(".Ss Scanning")[2]
        # diff's and report's own synopsis names options that they share with scan
        options = re.compile(r"^\.It (Fl -.*)$", re.M)
        block = manual.partition(".Ss Blocking")[2].partition(".Ss Scanning")[0]
        for verb, text in (("scan", scan), ("merge", merge), ("block", block)):
            described = set(re.findall(r"Fl -([\w-]+)", " ".join(options.findall(text))))
            said = subprocess.run([program(), verb, "--help"], check=True, text=True,
                                  capture_output=True).stdout
            lines = re.findall(r"^  (--.*?)(?:  |$)", said, re.M)
            offered = set(re.findall(r"--([\w-]+)", " ".join(lines)))
            self.assertGreater(len(offered), 4, verb)
            self.assertEqual(described | {"help"}, offered | {"help"}, verb)

    def test_the_help_has_every_option_that_the_program_takes(self):
        code = read("scanner", "scan_options.c") + read("scanner", "scan_options_sweep.h")
        taken = set(re.findall(r'"([a-z-]+)", (?:no|required)_argument', code))
        said = subprocess.run([program(), "scan", "--help"], check=True, text=True,
                              capture_output=True).stdout
        self.assertGreater(len(taken), 40)
        self.assertEqual({name for name in taken if f"--{name}" not in said}, set())

    def test_the_manual_pages_are_clean(self):
        if not shutil.which("mandoc"):
            self.skipTest("no mandoc here")
        for page in glob.glob(os.path.join(SOURCE_DIR, "docs", "man", "*.[0-9]")):
            lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], text=True,
                                  capture_output=True)
            self.assertEqual(lint.stdout + lint.stderr, "", page)

    def test_every_metric_of_a_sweep_is_documented(self):
        names = set(re.findall(r'(?:head|put_count|put_seconds)\(to, "([a-z_]+)"',
                               read("scanner", "sweep_metrics.c")))
        self.assertGreater(len(names), 10)
        scaling = read("docs", "scaling.md")
        self.assertEqual({n for n in names if not re.search(rf"_{n}\b", scaling)}, set())

    def test_examples_of_the_configuration_load(self):
        """Those that begin with a key of the schema: others are of other files."""
        keys = {key for key in schema_keys() if "." not in key}
        self.assertGreater(len(keys), 10)
        checked = 0
        for page in glob.glob(os.path.join(SOURCE_DIR, "docs", "*.md")):
            with open(page, encoding="utf-8") as file:
                blocks = re.findall(r"^```yaml\n(.*?)^```", file.read(), re.M | re.S)
            for block in blocks:
                if block.partition(":")[0] not in keys:
                    continue
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                    file.write(block)
                    file.flush()
                    said = subprocess.run([program(), "check-config", file.name], text=True,
                                          capture_output=True)
                self.assertEqual(said.returncode, 0, f"{page}:\n{block}{said.stderr}")
                checked += 1
        self.assertGreater(checked, 5)

    def test_every_event_can_be_asked_for(self):
        """But those that are for one sink alone."""
        table = read("docs", "alerts.md").partition("| `event` | when |")[2].partition("\n\n")[0]
        rows = re.findall(r"^\| (`.*?) \|", table, re.M)
        events = set(re.findall(r"`(\w+)`", " ".join(rows))) - {"alerts_lost", "test"}
        self.assertGreater(len(events), 12)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("alerts: [{name: a, type: webhook, url: 'http://h', match: {events: "
                       f"[{', '.join(events)}]}}}}]\n")
            file.flush()
            said = subprocess.run([program(), "check-config", file.name], text=True,
                                  capture_output=True)
        self.assertEqual(said.returncode, 0, said.stderr)

    def test_links_lead_somewhere(self):
        pages = [os.path.join(SOURCE_DIR, "README.md"), os.path.join(SOURCE_DIR, "CHANGELOG.md"),
                 *glob.glob(os.path.join(SOURCE_DIR, "docs", "*.md"))]
        for page in pages:
            with open(page, encoding="utf-8") as file:
                text = file.read()
            for link, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
                if "://" in link:
                    continue
                target = os.path.join(os.path.dirname(page), link) if link else page
                self.assertTrue(os.path.exists(target), f"{page}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page}: {link}#{anchor}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
