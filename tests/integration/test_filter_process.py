#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The filter process alone, with real clients and servers that tproxy brings together."""
import unittest

import lab
from filter_process import FilterProcess


class Requests(unittest.TestCase):
    def test_what_passes_and_what_does_not(self):
        with lab.Lab() as place:
            place.serve_plain(9100)
            with FilterProcess(place) as filtering:
                filtering.catch(9100)
                for path, status in (("/metrics", 200), ("/nothing", 404), ("/debug/pprof/", 403),
                                     ("/debug/pprof/heap?debug=1", 403), ("/%64ebug/vars", 403),
                                     ("//metrics", 400)):
                    with self.subTest(path):
                        self.assertEqual(place.get(place.TARGET, 9100, path)[0], status)
                denied = filtering.wait_denied()
                self.assertEqual((denied.reason, denied.endpoint, denied.count, denied.rule,
                                  denied.path),
                                 ("path", f"{place.TARGET}:9100", 1, "exporters", "/debug/pprof/"))
                filtering.wait_stats(lambda s: s.passed == 2 and s.denied["path"] == 3
                                     and s.denied["syntax"] == 1 and s.open == 0)
                filtering.parent.stop()
                self.assertEqual(filtering.end(), (0, ""))


if __name__ == "__main__":
    unittest.main()
