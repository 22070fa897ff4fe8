#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents say what the program has: keys, metrics, links."""
import glob
import os
import re
import unittest

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*path):
    with open(os.path.join(SOURCE_DIR, *path), encoding="utf-8") as file:
        return file.read()


class Documents(unittest.TestCase):
    def test_every_key_of_the_schema_is_in_the_manual(self):
        schema = read("conf", "conf_schema.c")
        manual = read("docs", "man", "pprofwall.yaml.5")
        words = set(re.findall(r"[\w-]+", manual))
        keys = re.findall(r'^\s+(?:\{|SECTION\()"([a-z_.\[\]]+)"', schema, re.M)
        self.assertGreater(len(keys), 40)
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

    def test_links_lead_somewhere(self):
        pages = [os.path.join(SOURCE_DIR, "README.md"), os.path.join(SOURCE_DIR, "CHANGELOG.md"),
                 *glob.glob(os.path.join(SOURCE_DIR, "docs", "*.md"))]
        for page in pages:
            with open(page, encoding="utf-8") as file:
                text = file.read()
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
                if "://" not in link:
                    target = os.path.join(os.path.dirname(page), link)
                    self.assertTrue(os.path.exists(target), f"{page}: {link}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
