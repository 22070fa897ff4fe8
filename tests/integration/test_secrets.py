#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What only the sender may know is looked for everywhere else: on the daemon's command lines, in
its logs, answers and files, and in the memory of the other processes."""
import glob
import os
import re
import signal
import unittest

from lab import IS_ASAN, Lab, descendants, program, run, wait_until
from test_daemon import ENDPOINT, SLOW, DaemonTest, read_status

# Each in a place of its own, so that a leak says which one it is; none of them is in clear in this
# process's arguments.
IN_PLACE = {"url": "s3cret-inplace-url", "secret": "s3cret-inplace-key",
            "headers": "s3cret-inplace-header", "pager": "s3cret-inplace-pager"}
OUTSIDE = {"url": "s3cret-outside-url", "secret": "s3cret-outside-key",
           "headers": "s3cret-outside-header"}
WORDS = [*IN_PLACE.values(), *OUTSIDE.values()]


def writable(pid):
    """What a process may have written to: [(first, last)]."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match and "[vvar" not in line:
                yield int(match[1], 16), int(match[2], 16)


def words_in_memory(pid):
    found = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, last in writable(pid):
            try:
                memory.seek(first)
                content = memory.read(last - first)
            except OSError:
                continue
            found |= {word for word in WORDS if word.encode() in content}
    return found


class Secrets(DaemonTest):
    def secret_file(self, folder, name, content, uid=int(Lab.USERS["sender"])):
        path = os.path.join(self.lab.directory, folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o400)
            os.fchown(file.fileno(), uid, -1)
            file.write(content + "\n")
        return path

    def alerts(self):
        here = "http://127.0.0.1:9999"
        nobody = "http://127.0.0.1:9/"
        outside = {
            "url": f"{here}/file?{OUTSIDE['url']}", "secret": OUTSIDE["secret"],
            "headers": f"Authorization: Bearer {OUTSIDE['headers']}"}
        files = {f"{key}_file": self.secret_file("secrets", key, value)
                 for key, value in outside.items()}
        for key, value in outside.items():
            self.secret_file("credentials", f"hook-{key}", value, uid=0)
        in_place = {"secret": IN_PLACE["secret"],
                    "headers": [f"Authorization: Bearer {IN_PLACE['headers']}"]}
        pager = {"type": "pagerduty", "secret": IN_PLACE["pager"]}
        return [
            {"name": "inplace", "type": "webhook", "url": f"{here}/?{IN_PLACE['url']}", **in_place},
            {"name": "dead", "type": "webhook", "url": f"{nobody}?{IN_PLACE['url']}", **in_place},
            {"name": "files", "type": "webhook", **files},
            {"name": "credentials", "type": "webhook",
             **{f"{key}_credential": f"hook-{key}" for key in outside}},
            {"name": "pager", "url": f"{here}/{IN_PLACE['url']}", **pager},
            {"name": "deadpager", "url": f"{nobody}{IN_PLACE['url']}", **pager}]

    def start_all(self):
        self.lab.serve_node_exporter()
        self.hook = self.lab.webhook()
        config = self.lab.config(alerts=self.alerts())
        self.daemon = self.lab.daemon(config)
        self.daemon.environment = {
            "CREDENTIALS_DIRECTORY": os.path.join(self.lab.directory, "credentials")}
        self.daemon.start()
        self.wait_open()
        for sink in ("inplace", "files", "credentials", "pager"):
            self.wait_result(sink, "delivered")
        for sink in ("dead", "deadpager"):
            self.wait_result(sink, "retry")
        return self.daemon

    def wait_result(self, sink, result):
        def counted():
            return self.daemon.metric("pprofwall_alerts_total", sink=sink, result=result) or 0
        wait_until(lambda: counted() > 0, 30 * SLOW, f"{sink}: {result}")

    def assert_clean(self, what, text):
        if isinstance(text, str):
            text = text.encode()
        self.assertEqual([w for w in WORDS if w.encode() in text], [], what)

    def test_arrive_where_they_belong(self):
        """What is searched for below is really in use."""
        self.start_all()
        heads = "".join(str(head) for _, head, _ in self.hook.requests)
        for word in (IN_PLACE["headers"], OUTSIDE["headers"]):
            self.assertIn(word, heads)
        keys = {body.get("routing_key") for _, _, body in self.hook.requests}
        self.assertIn(IN_PLACE["pager"], keys)

    def test_credentials_are_there_after_a_restart(self):
        """The parent that starts the next sender can no longer read everything."""
        daemon = self.start_all()
        os.kill(daemon.child("sender"), signal.SIGKILL)
        daemon.wait_metric("pprofwall_process_restarts_total", 1, 10 * SLOW,
                           process="sender")
        daemon.ctl("unblock", ENDPOINT, "--for", "1m", "--reason", "a test")

        def told(word):
            return [head.get("Authorization") for _, head, body in self.hook.requests
                    if body.get("event") == "manual_unblock"].count(f"Bearer {word}")
        wait_until(lambda: told(OUTSIDE["headers"]) == 2, 20 * SLOW,
                   "by the file, and by the credential")

    def test_a_sender_that_is_restarted_does_not_need_all(self):
        """A file that is gone costs its own sink, until it is there again and a reload reads it;
        a reload without it is refused."""
        daemon = self.start_all()
        path = os.path.join(self.lab.directory, "secrets", "url")
        os.rename(path, path + ".away")
        refused = daemon.ctl("reload", check=False)
        self.assertIn("alerts[].url_file: No such file", refused.stdout + refused.stderr)
        os.kill(daemon.child("sender"), signal.SIGKILL)
        daemon.wait_metric("pprofwall_process_restarts_total", 1, 10 * SLOW,
                           process="sender")
        before = {sink: self.delivered(sink) for sink in ("credentials", "files")}
        daemon.ctl("unblock", ENDPOINT, "--for", "1m", "--reason", "a test")
        wait_until(lambda: self.delivered("credentials") > before["credentials"], 20 * SLOW,
                   "the others")
        wait_until(lambda: "alert files does not work" in daemon.output, 10 * SLOW, "why")
        self.assertEqual(self.delivered("files"), before["files"])
        self.assertIn("a secret of it cannot be read", daemon.ctl("status", "--json").stdout)
        os.rename(path + ".away", path)
        daemon.ctl("reload")
        wait_until(lambda: self.delivered("files") > before["files"], 20 * SLOW, "it works again")

    def delivered(self, sink):
        return self.daemon.metric("pprofwall_alerts_total", sink=sink, result="delivered") or 0

    def test_are_nowhere_else(self):
        daemon = self.start_all()
        # Every way to be told of something, a configuration that is refused included.
        bad = self.lab.config(alerts=[*self.alerts(), {
            "name": "bad", "type": "webhook", "url": f"ftp://{IN_PLACE['url']}/",
            "secret": f"{IN_PLACE['secret']}\n"}])
        daemon.write_config(bad)
        refused = daemon.ctl("reload", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assert_clean("reload", refused.stdout + refused.stderr)
        daemon.write_config(self.lab.config(alerts=self.alerts()))
        daemon.ctl("reload")
        for verb in (["status"], ["status", "--json"], ["status", "--all"], ["blocks"],
                     ["explain", ENDPOINT], ["impact"]):
            said = daemon.ctl(*verb, check=False)
            self.assert_clean(verb, said.stdout + said.stderr)
        for path in ("/metrics", "/healthz", "/readyz"):
            self.assert_clean(path, daemon.http(path)[1])
        for argv in ([program("pprofwalld"), "--dump-config"], [program("pprofwalld"), "--check"]):
            said = run(*argv, "--config", daemon.config_path)
            self.assert_clean(argv, said.stdout + said.stderr)
        said = run(program("pprofwall"), "check-config", "--dump", daemon.config_path)
        self.assert_clean("check-config", said.stdout + said.stderr)
        self.assertIn("***", said.stdout)
        for name, pid in {"parent": daemon.pid, **daemon.children()}.items():
            for file in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{file}", "rb") as content:
                    self.assert_clean(f"{name}: {file}", content.read())
        state = glob.glob(os.path.join(self.lab.directory, "state", "**"), recursive=True)
        state += glob.glob(os.path.join(self.lab.directory, "run", "**"), recursive=True)
        files = [path for path in state if os.path.isfile(path)]
        self.assertTrue(any(path.endswith(".db") or "sqlite" in path for path in files), files)
        for path in files:
            with open(path, "rb") as content:
                self.assert_clean(path, content.read())
        daemon.stop()
        self.assert_clean("log", daemon.output)
        self.assertIn("alert", daemon.output)

    @unittest.skipIf(IS_ASAN, "what is freed stays, to be looked at")
    def test_are_in_no_other_memory(self):
        daemon = self.start_all()
        daemon.write_config(self.lab.config(alerts=self.alerts(), scan={"interval": "600ms"},
                                            filters=[{"name": "f", "match": {"ports": [1]}}]))
        daemon.ctl("reload")
        daemon.child("filter")  # of which the parent has read in the file, as the filter has
        self.assertEqual(words_in_memory(daemon.child("sender")), set(WORDS))
        # The spawner is a copy of the parent; it has no name of its own.
        others = [daemon.pid, *(pid for pid, _ in descendants(daemon.pid)
                                if pid != daemon.child("sender"))]
        self.assertGreater(len(others), len(Lab.USERS))
        found = {f"{read_status(pid)['Name']} {pid}": words_in_memory(pid) for pid in others}
        self.assertEqual(found, dict.fromkeys(found, set()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
